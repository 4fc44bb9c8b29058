package run_test

import (
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// measuring kinds read what they shall say from their script.
func measure(dir, metric, labels, observed string) kind {
	return kind{`
input "files" {
  type = "files"
  optional = true
  doc = "x"
}
metric "perplexity" {
  unit = "1"
  quality = true
  doc = "x"
}
metric "seconds" {
  unit = "s"
  doc = "x"
}
`, `echo ran >> ` + dir + `/ran; echo x > out/files/x
echo '{"protocol":1,"metrics":{"perplexity":` + metric + `,"seconds":1},"labels":` + labels + `,"observed":` + observed + `}' > tmp/r; mv tmp/r result.json
`}
}

const requireRecipe = `
variable "most" {
  type = number
}
stage "base" "m" {}
stage "quant" "m" {
  require {
    condition = metrics.perplexity <= base.m.metrics.perplexity + var.most
    message   = "lost too much: ${metrics.perplexity}"
  }
}
stage "good" "user" { files = quant.m.files }
stage "good" "aside" { salt = "x" }
`

func requireKinds(dir string) kinds {
	return kinds{
		"base": measure(dir, "20", "{}", "{}"), "quant": measure(dir, "25", "{}", "{}"),
		"good": {`
input "files" {
  type = "files"
  optional = true
  doc = "x"
}
`, hello},
	}
}

func TestARequireWithholdsAndItsThresholdCostsNoRun(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, requireKinds(dir), requireRecipe)
	b.vars = map[string]string{"most": "1"}
	for range 2 { // measured, then from the cache
		got := b.fails(run.ExitRequire, "r.hcl:7", "lost too much: 25")
		b.states(map[string]artifacts.State{"quant.m": "failed", "good.user": "blocked", "good.aside": "ran"}, withHit(got))
		if got["quant.m"].Record.IsZero() || got["good.user"].Reason != "a require of quant.m failed" {
			t.Errorf("steps %+v", got)
		}
	}
	b.vars["most"] = "6"
	got := b.ok()
	b.states(map[string]artifacts.State{"base.m": "hit", "quant.m": "hit", "good.user": "ran"}, got)
	if b.read("ran") != "ran\nran\n" {
		t.Errorf("ran %q", b.read("ran"))
	}
}

// withHit counts a hit as a run: which of both it is, is not the point.
func withHit(steps map[string]artifacts.Step) map[string]artifacts.Step {
	for a, s := range steps {
		if s.State == artifacts.Hit {
			s.State = artifacts.Ran
			steps[a] = s
		}
	}
	return steps
}

func TestAFailureIsGraverThanARequire(t *testing.T) {
	dir := t.TempDir()
	ks := requireKinds(dir)
	ks["good"] = kind{ks["good"].head, "exit 1"}
	b := benchAt(t, dir, ks, requireRecipe)
	b.vars, b.options.KeepGoing = map[string]string{"most": "1"}, true
	b.fails(run.ExitStage, "lost too much", "good.aside: ")
}

func TestNumbersOfDifferentProtocolsAreNotCompared(t *testing.T) {
	dir := t.TempDir()
	ks := requireKinds(dir)
	ks["base"] = measure(dir, "20", `{"protocol":"aa"}`, `{"protocol":"{\"window\":1024,\"bos\":true}"}`)
	ks["quant"] = measure(dir, "21", `{"protocol":"bb"}`, `{"protocol":"{\"window\":512,\"bos\":true,\"stride\":9}"}`)
	b := benchAt(t, dir, ks, requireRecipe)
	b.vars = map[string]string{"most": "6"}
	b.fails(run.ExitRequire, "measured differently", "window is ", "1024", "512", "stride is ", "absent")
	if _, err := b.build(t.Context()); strings.Contains(err.Error(), "bos is") {
		t.Errorf("it names what is equal: %v", err)
	}
}

func TestTheQualityOfASyntheticModelIsNoNumber(t *testing.T) {
	dir := t.TempDir()
	ks := kinds{
		"fake":  {"", `echo x > out/files/x; echo '{"protocol":1,"labels":{"synthetic":"seed 1","colour":"red"}}' > result.json`},
		"quant": measure(dir, "25", "{}", "{}"),
	}
	b := benchAt(t, dir, ks, `
stage "fake" "f" {}
stage "quant" "m" {
  files = fake.f.files
  require {
    condition = metrics.perplexity < 100
    message   = "no"
  }
}
`)
	got := b.fails(run.ExitRequire, "r.hcl:5: Quality of a synthetic model", "perplexity")
	m, err := b.cache.Manifest(t.Context(), b.record(got["quant.m"]).Outputs["files"])
	if err != nil || m.Labels["synthetic"] != "seed 1" || m.Labels["colour"] != "" {
		t.Errorf("labels %v, %v", m.Labels, err)
	}
	b.recipe = strings.Replace(b.recipe, "metrics.perplexity < 100", "metrics.seconds < 100", 1)
	b.ok()
}
