package run_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

const pythonHead = `env = "python"
param "times" {
  type = number
  integer = true
  default = 3
  doc = "x"
}
input "files" {
  type = "files"
  doc = "x"
}
output "files" {
  type = "files"
  doc = "x"
}
metric "length" {
  unit = "byte"
  doc = "x"
}
`

const pythonWorker = `
import os, sys
from tinfra_worker import BadInput, BadParam, Job, run

def main(job: Job) -> None:
    times = job.param("times", int)
    if times > 9:
        raise BadParam("times", "that is too often", hint="say 9")
    text = (job.input("files") / "greeting").read_text()
    job.progress(1, 2, "lines", what="copying")
    (job.output("files") / "copy").write_text(text * times)
    job.metric("length", len(text) * times)
    print(sys.flags.safe_path, sys.flags.no_user_site, os.getcwd() == os.environ["TINFRA_WORKSPACE"])

if __name__ == "__main__":
    run(main)
`

const pythonRecipe = `
stage "good" "a" {}
stage "copy" "b" {
  files = good.a.files
  times = 2
}
`

func TestAWorkerInPython(t *testing.T) {
	b := newBench(t, kinds{"good": {"", hello}, "copy": {pythonHead, pythonWorker}}, pythonRecipe)
	got := b.ok()
	if rec := b.record(got["copy.b"]); rec.Metrics["length"] != 12 {
		t.Errorf("metrics %v", rec.Metrics)
	}
	for _, text := range []string{"True 1 True", "installed python", `"what":"copying"`} {
		if !strings.Contains(b.log(got["copy.b"]), text) {
			t.Errorf("%q is not in the log: %s", text, b.log(got["copy.b"]))
		}
	}
	b.recipe = strings.Replace(pythonRecipe, "times = 2", "times = 10", 1)
	b.fails(run.ExitStage, "r.hcl:5: Worker refused a param: copy.b refuses times: that is too often (say 9)")
}

func TestAnEnvironmentThatCannotBeInstalled(t *testing.T) {
	b := newBench(t, kinds{"good": {"", hello}, "copy": {pythonHead, pythonWorker}}, pythonRecipe)
	b.envs.fail = errors.New("there is no Python 3.11 to be found")
	got := b.fails(run.ExitStage, "copy.b: there is no Python 3.11")
	b.states(map[string]artifacts.State{"good.a": "ran", "copy.b": "failed"}, got)
}
