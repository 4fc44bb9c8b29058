package run_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// base makes a file, a program and one below a folder.
const base = `mkdir out/files/deep; echo weights > out/files/deep/w; echo hello > out/files/greeting; printf '#!/bin/sh\n' > out/files/program
chmod 500 out/files/program
` + done

// reusing makes what its script says, and reuses what it is told: "out/path in/path", one a line.
func reusing(script, list string) kind {
	var named []string
	for line := range strings.Lines(list) {
		to, from, _ := strings.Cut(strings.TrimSpace(line), " ")
		named = append(named, fmt.Sprintf("%q:%q", to, from))
	}
	return kind{`
input "model" {
  type = "files"
  doc = "x"
}
input "more" {
  type = "files"
  map = true
  optional = true
  doc = "x"
}
output "files" {
  type = "files"
  doc = "x"
}
output "maybe" {
  type = "files"
  optional = true
  doc = "x"
}
`, script + `
echo '{"protocol":1,"labels":{"by":"us"},"reused":{` + strings.Join(named, ",") + `}}' > tmp/r; mv tmp/r result.json
`}
}

const reusingRecipe = `
stage "base" "m" {}
stage "graph" "g" {
  model = base.m.files
  more  = { "ab" = base.m.files }
}
`

// files lists an output: each path, a star for a program, and its bytes' digest.
func (b *bench) files(d artifacts.Digest) map[string]string {
	b.t.Helper()
	m, err := b.cache.Manifest(b.t.Context(), d)
	if err != nil {
		b.t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range m.Files {
		star := ""
		if f.Exec {
			star = "*"
		}
		text, err := b.cache.GetBytes(b.t.Context(), f.Digest)
		if err != nil || f.Size != int64(len(text)) {
			b.t.Errorf("%s of %d bytes: %v", f.Path, f.Size, err)
		}
		out[f.Path+star] = artifacts.Sum(text).String()
	}
	return out
}

func TestReusedFilesAreOutputs(t *testing.T) {
	weights, program := artifacts.Sum([]byte("weights\n")).String(), artifacts.Sum([]byte("#!/bin/sh\n")).String()
	own, zeros := artifacts.Sum([]byte("graph\n")).String(), artifacts.Sum(make([]byte, 300000)).String()
	for name, c := range map[string]struct {
		script, list string
		files, maybe map[string]string
	}{
		"beside small ones": {"echo graph > out/files/model.onnx", "files/w model/deep/w\nfiles/bin/p model/program",
			map[string]string{"bin/p*": program, "model.onnx": own, "w": weights}, nil},
		"beside a large one": {"head -c 300000 /dev/zero > out/files/z", "files/deep/w model/deep/w\nfiles/zz more[ab]/deep/w",
			map[string]string{"deep/w": weights, "z": zeros, "zz": weights}, nil},
		"alone": {"", "files/w model/deep/w", map[string]string{"w": weights}, nil},
		"in an optional output": {"echo graph > out/files/model.onnx", "maybe/w model/deep/w",
			map[string]string{"model.onnx": own}, map[string]string{"w": weights}},
		"without the folder": {"rmdir out/files", "files/w model/deep/w", map[string]string{"w": weights}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, kinds{"base": {"", base}, "graph": reusing(c.script, c.list)}, reusingRecipe)
			out := b.record(b.ok()["graph.g"]).Outputs
			for port, want := range map[string]map[string]string{"files": c.files, "maybe": c.maybe} {
				if d, made := out[port]; made != (want != nil) {
					t.Errorf("outputs %v", out)
				} else if made && fmt.Sprint(b.files(d)) != fmt.Sprint(want) {
					t.Errorf("%s holds %v, want %v", port, b.files(d), want)
				}
			}
			if m, err := b.cache.Manifest(t.Context(), out["files"]); err != nil || m.Labels["by"] != "us" || m.Type != "files" {
				t.Errorf("%+v, %v", m, err)
			}
			b.states(map[string]artifacts.State{"base.m": "hit", "graph.g": "hit"}, b.ok())
		})
	}
}

func TestReusedMustBeAnInputs(t *testing.T) {
	for name, c := range map[string]struct {
		script, list string
		says         []string
	}{
		"no such file":        {"", "files/w model/w", []string{"reuses model/w for files/w", "no input has that file"}},
		"a folder":            {"", "files/w model/deep", []string{"no input has that file"}},
		"no such input":       {"", "files/w base/deep/w", []string{"no input has that file"}},
		"no key":              {"", "files/w more/deep/w", []string{"no input has that file"}},
		"another key":         {"", "files/w more[b]/deep/w", []string{"no input has that file"}},
		"its sources":         {"", "files/w worker/graph/worker.sh", []string{"no input has that file"}},
		"undeclared output":   {"", "other/w model/deep/w", []string{"other/w", "does not declare"}},
		"written too":         {"echo x > out/files/w", "files/w model/deep/w", []string{"both wrote and reused w"}},
		"a folder of its own": {"mkdir out/files/w", "files/w model/deep/w", []string{"both wrote and reused w"}},
		"below its own file":  {"echo x > out/files/w", "files/w/x model/deep/w", []string{"w", "both a file and a folder"}},
		"other letters":       {"echo x > out/files/w", "files/W model/deep/w", []string{"only by letter case"}},
		"an unsafe name":      {"", `files/a\b model/deep/w`, []string{"unsafe path", "control character"}},
		"of a changed input":  {"chmod -R u+w in; echo x > in/model/deep/w", "files/w model/deep/w", []string{"changed", "deep/w"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, kinds{"base": {"", base}, "graph": reusing(c.script, c.list)}, reusingRecipe)
			got := b.fails(run.ExitStage, c.says...)
			b.noRecord(got["graph.g"].Key)
			b.kinds["graph"] = reusing("", "files/w model/deep/w")
			b.ok() // the cache is sound, or heals
		})
	}
}

// One run leaves one record, whole, wherever abuild dies that publishes what reuses a file of an input.
func TestKilledWhilePublishingReusedFiles(t *testing.T) {
	for _, step := range slices.Concat(artifacts.Steps, artifacts.WorkSteps) {
		if step == artifacts.StepWorkPinned {
			continue // of downloads, which have no inputs
		}
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			script := "echo ran >> " + dir + "/ran; head -c 300000 /dev/zero > out/files/z"
			b := benchAt(t, dir, kinds{"base": {"", base}, "graph": reusing(script, "files/w model/deep/w\nmaybe/w model/deep/w")}, `stage "base" "m" {}`)
			b.ok()
			b.recipe = reusingRecipe
			b.killed(b.startDoomed(step))
			made := b.ok()["graph.g"]
			out := b.record(made).Outputs
			if len(b.files(out["files"])) != 2 || len(b.files(out["maybe"])) != 1 {
				t.Errorf("outputs %v", out)
			}
			if n := strings.Count(b.read("ran"), "ran"); n != 1 && step != artifacts.StepWorkLaid {
				t.Errorf("the worker ran %d times", n)
			}
			b.states(map[string]artifacts.State{"base.m": "hit", "graph.g": "hit"}, b.ok())
			b.nothingLeft()
		})
	}
}

// The blob went while nobody held it: the stage runs once more, on inputs that are laid anew.
func TestAReusedFileThatWasCollectedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	wait := `echo ran >> ` + dir + `/ran; while ! [ -e ` + dir + `/go ]; do sleep 0.01; done`
	b := benchAt(t, dir, kinds{"base": {"", base}, "graph": reusing(wait, "files/w model/deep/w")}, `stage "base" "m" {}`)
	b.options.Clock = &instant{}
	b.ok() // by a build of its own: its workspace is gone when the next one is killed
	b.recipe = reusingRecipe
	b.orphan()
	b.options.Executor = watched{b.options.Executor, func() {
		blob := artifacts.BlobsFolder + artifacts.Sum([]byte("weights\n")).Hex()
		if err := b.store.Delete(t.Context(), blob); err != nil && !errors.Is(err, artifacts.ErrMissing) {
			t.Error(err)
		}
		b.write("go", "")
	}}
	b.fails(run.ExitCache, "build again, and what made it runs anew")
	b.options.Executor = b.options.Executor.(watched).Executor
	if out := b.files(b.record(b.ok()["graph.g"]).Outputs["files"]); len(out) != 1 {
		t.Errorf("outputs %v", out)
	}
}

// readSoFar is how many bytes this process has read by system calls.
func readSoFar(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	n, err := strconv.ParseInt(strings.TrimPrefix(first, "rchar: "), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestReusedFilesAreNotRead(t *testing.T) {
	const large = 1 << 30
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{
		"base":  {"", fmt.Sprintf("truncate -s %d out/files/w\n", int64(large)) + done},
		"graph": reusing("echo graph > out/files/model.onnx", "files/w model/w"),
	}, `stage "base" "m" {}`)
	b.ok()
	b.recipe = strings.Replace(reusingRecipe, `more  = { "ab" = base.m.files }`, "", 1)
	before := readSoFar(t)
	made := b.ok()["graph.g"]
	if n := readSoFar(t) - before; n > 64<<20 {
		t.Errorf("%d bytes were read", n)
	}
	m, err := b.cache.Manifest(t.Context(), b.record(made).Outputs["files"])
	if err != nil || m.Size() < large {
		t.Fatalf("%+v, %v", m, err)
	}
	blob := filepath.Join(b.store.Dir(), filepath.FromSlash(artifacts.BlobsFolder), m.Files[1].Digest.Hex())
	var st unix.Stat_t
	if err := unix.Stat(blob, &st); err != nil || st.Blocks > 1<<16 {
		t.Errorf("%d blocks, %v", st.Blocks, err)
	}
}

// Stages that take turns, as those of one GPU do, find the times of their large inputs as they were laid: nobody hashes a model again.
func TestLargeInputsAreNotHashedByEachStageInTurn(t *testing.T) {
	const large = heavyInput
	dir := t.TempDir()
	graph := reusing("echo graph > out/files/model.onnx", "files/w model/w")
	graph.head += "needs {\n  exclusive = true\n}\n"
	b := benchAt(t, dir, kinds{
		"base": {"", fmt.Sprintf("truncate -s %d out/files/w\n", int64(large)) + done}, "graph": graph,
	}, "stage \"base\" \"m\" {}\n")
	b.ok()
	for i := range 4 {
		b.recipe += fmt.Sprintf("stage \"graph\" \"g%d\" {\n  model = base.m.files\n  salt  = \"%d\"\n}\n", i, i)
	}
	before := readSoFar(t)
	b.ok()
	if n := readSoFar(t) - before; n > large/2 {
		t.Errorf("%d bytes were read", n)
	}
}

const heavyInput = 64 << 20 // bytes; of what is larger run waits for the end of its links
