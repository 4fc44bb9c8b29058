package run_test

import (
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// chain is a producer and a user, who both note that they ran.
func chain(dir string) kinds {
	return kinds{
		"make": {`
param "text" { 
  type = string
  doc = "x"
}
`, `echo make >> ` + dir + `/ran
grep -o '"text":"[^"]*"' request.json | tr a-z A-Z | cut -c1-3 > out/files/text
echo '{"type":"progress","time":1,"done":1,"total":2,"unit":"lines"}' >> events.jsonl
echo '{"type":"log","time":1,"message":"half way"}' >> events.jsonl
echo printed; echo complained >&2
` + done},
		"use": {`
input "files" { 
  type = "files"
  doc = "x"
}
metric "size" { 
  unit = "byte"
  doc = "x"
}
`, `echo use >> ` + dir + `/ran
cp in/files/text out/files/copy
echo '{"protocol":1,"metrics":{"size":4},"observed":{"mood":"good"}}' > tmp/r; mv tmp/r result.json
`},
	}
}

const chainRecipe = `
stage "make" "a" { text = "one" }
stage "use" "b" { files = make.a.files }
`

func TestABuildRunsThenHits(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, chain(dir), chainRecipe)
	got := b.ok()
	b.states(map[string]artifacts.State{"make.a": "ran", "use.b": "ran"}, got)
	rec := b.record(got["use.b"])
	if rec.Metrics["size"] != 4 || rec.Observed["mood"] != "good" || rec.Observed["attempts"] != "1" || rec.Builder != "test" {
		t.Errorf("record %+v", rec)
	}
	for _, name := range []string{"peak_memory_bytes", "cpu_seconds", "isolation"} {
		if rec.Observed[name] == "" {
			t.Errorf("%s was not observed", name)
		}
	}
	if !rec.Started.Before(rec.Ended) {
		t.Errorf("started %v, ended %v", rec.Started, rec.Ended)
	}
	for _, text := range []string{"half way", "printed", "complained", `"stream":"stderr"`, `"progress"`} {
		if log := b.log(got["make.a"]); !strings.Contains(log, text) {
			t.Errorf("the log lacks %q:\n%s", text, log)
		}
	}
	again := b.ok()
	b.states(map[string]artifacts.State{"make.a": "hit", "use.b": "hit"}, again)
	if again["use.b"].Record != got["use.b"].Record || again["use.b"].Log != rec.Log {
		t.Errorf("a hit is step %+v, was %+v", again["use.b"], got["use.b"])
	}
	if ran := b.read("ran"); ran != "make\nuse\n" {
		t.Errorf("ran %q", ran)
	}
}

func TestTheEventsOfABuild(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, chain(dir), chainRecipe)
	b.ok()
	all, _ := b.seen.all()
	var order []string
	for _, e := range all {
		if e.Build == "" || e.Time.IsZero() {
			t.Errorf("event without build or time: %+v", e)
		}
		if e.Type != event.Log && e.Type != event.Progress {
			order = append(order, string(e.Type)+" "+e.Stage+" "+e.State)
		}
	}
	want := "planned make.a run, planned use.b pending, started make.a , stored make.a , finished make.a ran, " +
		"started use.b , stored use.b , finished use.b ran, finished  "
	if got := strings.Join(order, ", "); got != want {
		t.Errorf("events\n%s\nwant\n%s", got, want)
	}
}

func TestEqualBytesEndTheWork(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, chain(dir), chainRecipe)
	first := b.ok()
	b.recipe = strings.Replace(chainRecipe, `"one"`, `"two"`, 1) // the worker makes the same of it
	got := b.ok()
	b.states(map[string]artifacts.State{"make.a": "ran", "use.b": "hit"}, got)
	if got["make.a"].Key == first["make.a"].Key || got["use.b"].Key != first["use.b"].Key {
		t.Error("keys are wrong")
	}
	if ran := b.read("ran"); ran != "make\nuse\nmake\n" {
		t.Errorf("ran %q", ran)
	}
}

func TestEqualActionsRunOnce(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, chain(dir), `
stage "make" "a" { text = "one" }
stage "make" "again" { text = "one" }
stage "use" "b" { files = make.again.files }
`)
	got := b.ok()
	b.states(map[string]artifacts.State{"make.a": "ran", "make.again": "hit", "use.b": "ran"}, got)
	if got["make.a"].Record != got["make.again"].Record || got["make.again"].Record.IsZero() {
		t.Error("they have different records")
	}
	if ran := b.read("ran"); ran != "make\nuse\n" {
		t.Errorf("ran %q", ran)
	}
}

// The first of two equal stages waits for a gate that never opens; the other one need not.
func TestAnEqualActionDoesNotWaitForAnothersGate(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"good": {"", `echo ran >> ` + dir + `/ran` + "\n" + hello}, "gate": {`
metric "x" {
  unit = "1"
  doc = "x"
}
`, `exit 1`}}, `
stage "gate" "g" {}
stage "good" "a" {
  require {
    condition = gate.g.metrics.x < 5
    message   = "x"
  }
}
stage "good" "b" {}
`)
	b.options.KeepGoing = true
	got := b.fails(run.ExitStage)
	b.states(map[string]artifacts.State{"gate.g": "failed", "good.a": "blocked", "good.b": "ran"}, got)

	// Force of the first is none of the second's, unless that runs in its place.
	b.force = []string{"good.a"}
	b.fails(run.ExitStage)
	if b.read("ran") != "ran\nran\n" {
		t.Errorf("ran %q", b.read("ran"))
	}
}

func TestEqualActionsFailOnce(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"bad": {"", `echo ran >> ` + dir + `/ran; exit 1`}}, `
stage "bad" "a" {}
stage "bad" "again" {}
`)
	b.options.KeepGoing = true
	got := b.fails(run.ExitStage, "bad.a: the worker crashed with exit code 1", "bad.again: the same as bad.a")
	b.states(map[string]artifacts.State{"bad.a": "failed", "bad.again": "failed"}, got)
	if b.read("ran") != "ran\n" {
		t.Errorf("ran %q", b.read("ran"))
	}
}

func TestALocalFileIsAnInput(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, chain(dir), `stage "use" "b" { files = path("text") }`)
	b.write("text", "mine")
	b.states(map[string]artifacts.State{"use.b": "ran"}, b.ok())
	b.write("text", "other")
	b.states(map[string]artifacts.State{"use.b": "ran"}, b.ok())
	b.write("text", "mine")
	b.states(map[string]artifacts.State{"use.b": "hit"}, b.ok())
}

const bad = `
stage "good" "before" {}
stage "bad" "one" { files = good.before.files }
stage "use" "after" { files = bad.one.files }
stage "good" "aside" { salt = "x" }
`

func badKinds(script string) kinds {
	port := `
input "files" { 
  type = "files"
  doc = "x"
}
`
	return kinds{"good": {"", hello}, "bad": {port, script}, "use": {port, hello}}
}

func TestAFileThatChangesAfterThePlanIsNotTaken(t *testing.T) {
	b := newBench(t, kinds{"use": {`
input "files" {
  type = "files"
  doc = "x"
}
`, hello}}, `stage "use" "a" { files = path("data") }`)
	b.write("data", "one")
	p := b.makePlan()
	b.write("data", "two")
	made, err := b.execute(t.Context(), p)
	if made.Exit != run.ExitStage || !strings.Contains(err.Error(), b.path("data")+" has changed since the build was planned") {
		t.Errorf("exit %d, %v", made.Exit, err)
	}
	b.noRecord(made.Steps[0].Key)
	b.states(map[string]artifacts.State{"use.a": "ran"}, b.ok())
}

func TestAnInputThatIsGoneSinceThePlanIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, chain(dir), `stage "make" "a" { text = "one" }`)
	made := b.record(b.ok()["make.a"])
	b.recipe = chainRecipe
	p := b.makePlan()
	m, err := b.cache.Manifest(t.Context(), made.Outputs["files"])
	if err != nil {
		t.Fatal(err)
	}
	if err := b.store.Delete(t.Context(), artifacts.BlobsFolder+m.Files[0].Digest.Hex()); err != nil {
		t.Fatal(err)
	}
	built, err := b.execute(t.Context(), p)
	if built.Exit != run.ExitCache || !strings.Contains(err.Error(), "build again") {
		t.Errorf("exit %d, %v", built.Exit, err)
	}
	b.states(map[string]artifacts.State{"make.a": "ran", "use.b": "ran"}, b.ok())
}

func TestAFailureStopsWhatHasNotBegun(t *testing.T) {
	b := newBench(t, badKinds("exit 9"), bad)
	b.options.Jobs = 1
	got := b.fails(run.ExitStage, "bad.one: the worker crashed with exit code 9")
	b.states(map[string]artifacts.State{"good.before": "ran", "bad.one": "failed", "use.after": "blocked"}, got)
	if got["use.after"].Reason != "bad.one failed" {
		t.Errorf("reason %q", got["use.after"].Reason)
	}
	if got["bad.one"].Log.IsZero() || !strings.Contains(b.log(got["bad.one"]), "exit code 9") {
		t.Error("the log of the failure is not stored")
	}
}

func TestKeepGoingMakesWhatCanBeMade(t *testing.T) {
	b := newBench(t, badKinds("exit 9"), bad+`
stage "bad" "two" { 
  files = good.before.files 
  salt = "y" 
}
stage "use" "last" { files = good.aside.files }
`)
	b.options.Jobs, b.options.KeepGoing = 1, true
	got := b.fails(run.ExitStage, "bad.one: ", "bad.two: ")
	b.states(map[string]artifacts.State{
		"good.before": "ran", "bad.one": "failed", "bad.two": "failed", "use.after": "blocked", "good.aside": "ran", "use.last": "ran",
	}, got)
}

func TestWithoutKeepGoingHitsAreStillShown(t *testing.T) {
	b := newBench(t, badKinds("exit 9"), `stage "good" "aside" { salt = "x" }`)
	b.ok()
	b.recipe = `
stage "good" "before" {}
stage "bad" "one" { files = good.before.files }
stage "use" "late" { files = good.late.files }
stage "good" "late" { salt = "y" }
stage "good" "aside" { salt = "x" }
`
	b.options.Jobs = 1
	got := b.fails(run.ExitStage)
	b.states(map[string]artifacts.State{"good.aside": "hit", "bad.one": "failed"}, got)
}

func TestNativeCommands(t *testing.T) {
	exec := kind{`
native = true
param "command" { 
  type = list(string)
  doc = "x" 
}
param "env" { 
  type = list(string)
  default = []
  environ = true
  doc = "x"
}
input "inputs" { 
  type = "*"
  map = true
  optional = true
  doc = "x"
}
output "files" { 
  type = "files"
  doc = "x"
}
`, ""}
	b := newBench(t, kinds{"exec": exec, "good": {"", hello}}, `
stage "good" "a" {}
stage "exec" "b" {
  command = ["sh", "-c", "cat in/inputs/first/greeting > out/files/copy; echo $LANG $HOME >> out/files/copy"]
  inputs  = { first = good.a.files }
}
`)
	got := b.ok()
	b.states(map[string]artifacts.State{"exec.b": "ran"}, got)
	m, err := b.cache.Manifest(t.Context(), b.record(got["exec.b"]).Outputs["files"])
	if err != nil {
		t.Fatal(err)
	}
	text, err := b.cache.GetBytes(t.Context(), m.Files[0].Digest)
	if err != nil || !strings.HasPrefix(string(text), "hello\nC.UTF-8 ") || !strings.HasSuffix(string(text), "/home\n") {
		t.Errorf("made %q, %v", text, err)
	}
	b.states(map[string]artifacts.State{"exec.b": "hit"}, b.ok())
}
