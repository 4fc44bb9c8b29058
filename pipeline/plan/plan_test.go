package plan_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
)

// chain is fetch → count → a native step over its table, and another count that nothing depends on.
const chain = `
stage "fetch" "a" {
  source = "https://example.com/a"
}
stage "count" "c" {
  text = fetch.a.files
}
stage "exec" "e" {
  command = ["tool", "x"]
  inputs  = { table = count.c.table }
}
`

func chainWorld(t testing.TB) *world {
	w := newWorld(t)
	w.recipe = chain
	w.sources["https://example.com/a"] = pinsFor("https://example.com/a")
	return w
}

func states(p *plan.Plan) string {
	var out []string
	for _, s := range p.Steps {
		out = append(out, fmt.Sprintf("%s %s: %s", s.Node.Stage.Address, s.State, s.Reason))
	}
	return strings.Join(out, "\n")
}

func expect(t *testing.T, got string, want ...string) {
	t.Helper()
	if got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestColdThenWarm(t *testing.T) {
	w := chainWorld(t)
	expect(t, states(w.plan(t)),
		"fetch.a run: first build",
		"count.c pending: waits for fetch.a",
		"exec.e pending: waits for count.c")
	w.build(t)
	expect(t, states(w.plan(t)),
		"fetch.a hit: in the cache",
		"count.c hit: in the cache",
		"exec.e hit: in the cache")
}

func TestPlanningStoresNothing(t *testing.T) {
	w := chainWorld(t)
	store := mem.New()
	w.cache = artifacts.NewCache(store, store)
	w.plan(t)
	for b, err := range store.All(t.Context()) {
		t.Errorf("planning stored %s, %v", b.Digest, err)
	}
	for name, err := range store.List(t.Context(), "", "") {
		t.Errorf("planning set %s, %v", name, err)
	}
}

func TestUnlockedSource(t *testing.T) {
	w := chainWorld(t)
	clear(w.sources)
	p := w.plan(t)
	expect(t, states(p),
		"fetch.a pending: not locked yet: https://example.com/a",
		"count.c pending: waits for fetch.a",
		"exec.e pending: waits for count.c")
	s := p.Step("fetch.a")
	if s.Action != nil || !s.Key.IsZero() {
		t.Error("a pending step has a key")
	}
	draft, err := p.Draft(s)
	if err != nil || string(draft.Params) != `{"unpack":false}` || draft.Worker.IsZero() {
		t.Errorf("its draft is %+v, %v", draft, err)
	}
	if _, err := p.Draft(p.Step("exec.e")); err == nil || !strings.Contains(err.Error(), "waits for count.c") {
		t.Errorf("a step without inputs has a draft: %v", err)
	}
	if err := p.SettlePins(t.Context(), s, pinsFor(s.Source)); err != nil {
		t.Fatal(err)
	}
	if s.State != plan.Run {
		t.Errorf("with pins it is %s: %s", s.State, s.Reason)
	}
	want := `{"pins":[{"path":"a.bin","sha256":"` + pinsFor(s.Source)[0].SHA256 + `","size":21}],"unpack":false}`
	if got := string(s.Action.Params); got != want {
		t.Errorf("params are %s, want %s", got, want)
	}
}

func TestPinsKnownElsewhereAreAHit(t *testing.T) {
	w := chainWorld(t)
	w.build(t)
	clear(w.sources)
	p := w.plan(t)
	s := p.Step("fetch.a")
	if err := p.SettlePins(t.Context(), s, pinsFor(s.Source)); err != nil {
		t.Fatal(err)
	}
	if err := p.Settle(t.Context(), p.Step("count.c")); err != nil {
		t.Fatal(err)
	}
	expect(t, states(p), "fetch.a hit: in the cache", "count.c hit: in the cache", "exec.e pending: waits for count.c")
}

func TestEarlyCutoff(t *testing.T) {
	w := chainWorld(t)
	w.salt["count.c"] = "always the same bytes"
	w.build(t)
	w.kinds["count/count.sh"].Data = append(w.kinds["count/count.sh"].Data, "# a comment\n"...)
	p, became := w.build(t)
	if became["count.c"] != artifacts.Ran || became["exec.e"] != artifacts.Hit {
		t.Errorf("%v", became)
	}
	expect(t, states(p),
		"fetch.a hit: in the cache",
		"count.c run: worker: count/count.sh changed",
		"exec.e hit: in the cache")
}

func TestReasons(t *testing.T) {
	w := chainWorld(t)
	w.build(t)
	w.sources["https://example.com/a"] = pinsFor("other")
	p, _ := w.build(t)
	sum := func(s string) string { return artifacts.Sum([]byte(s)).Hex() }
	clipped := func(s string) string { return `"` + s[:58] + "…" }
	expect(t, states(p),
		"fetch.a run: params.pins[\"a.bin\"].sha256 changed: "+clipped(sum("https://example.com/a"))+" → "+clipped(sum("other"))+"; and 1 more",
		"count.c run: input text changed (fetch.a ran)",
		"exec.e run: input inputs[table] changed (count.c ran)")

	w.program(t, "tool", "#!/bin/sh\necho 2\n")
	p = w.plan(t)
	if got := p.Step("exec.e").Reason; !strings.HasPrefix(got, "worker.sha256 changed: ") {
		t.Error(got)
	}
}

func TestOutputsGone(t *testing.T) {
	w := chainWorld(t)
	p, _ := w.build(t)
	m, err := w.cache.Manifest(t.Context(), p.Step("count.c").Record.Outputs["table"])
	if err != nil {
		t.Fatal(err)
	}
	store := w.cache.Store.(*mem.Store)
	if err := store.Delete(t.Context(), "blobs/sha256/"+m.Files[0].Digest.Hex()); err != nil {
		t.Fatal(err)
	}
	expect(t, states(w.plan(t)),
		"fetch.a hit: in the cache",
		"count.c run: its outputs are not in the cache any more",
		"exec.e pending: waits for count.c")
}

func TestForce(t *testing.T) {
	w := chainWorld(t)
	w.build(t)
	w.force["count.c"] = true
	expect(t, states(w.plan(t)),
		"fetch.a hit: in the cache",
		"count.c run: forced",
		"exec.e pending: waits for count.c")
	_, became := w.build(t)
	if became["count.c"] != artifacts.Ran || became["exec.e"] != artifacts.Hit {
		t.Error(became)
	}
}

func TestEqualActionsAreOne(t *testing.T) {
	w := chainWorld(t)
	w.recipe += `
stage "count" "again" {
  text = fetch.a.files
}
`
	w.recipe = strings.Replace(w.recipe, "count.c.table", "count.again.table", 1)
	p, became := w.build(t)
	s := p.Step("count.again")
	if s.Same != p.Step("count.c") || s.Key != p.Step("count.c").Key {
		t.Errorf("count.again stands alone: %s", s.Reason)
	}
	if became["exec.e"] != artifacts.Ran {
		t.Error(became)
	}

	w.force["count.c"], w.force["count.again"] = true, true
	p, _ = w.build(t)
	if p.Step("count.c").Reason != "forced" || p.Step("count.again").Same != p.Step("count.c") {
		t.Error(states(p))
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	w := chainWorld(t)
	w.recipe += `
stage "exec" "missing" {
  command = ["no-such-program"]
}
stage "score" "s" {
  model = shape.q.model
}
stage "shape" "q" {
  name  = "a"
  model = shape.r.model
}
stage "shape" "r" {
  name  = "a"
  model = shape.q2.model
}
stage "shape" "q2" {
  name  = "a"
  model = exec.m.files
}
`
	w.recipe = strings.Replace(w.recipe, "model = exec.m.files", "model = make.m.out", 1)
	w.kinds["make/worker.py"] = w.kinds["fetch/worker.py"]
	w.kinds["make/stage.hcl"] = makeKind("make", "model/hf")
	w.recipe += "stage \"make\" \"m\" {\n}\n"
	delete(w.facts, "gpu.arch")
	_, err := w.make(t)
	var diags plan.Diagnostics
	if !errors.As(err, &diags) {
		t.Fatalf("got %v", err)
	}
	text := err.Error()
	for _, want := range []string{
		"this executor does not state gpu.arch",
		`"no-such-program" is not on PATH`,
		fmt.Sprintf("r.hcl:%d: Program not found", strings.Count(w.recipe[:strings.Index(w.recipe, "no-such-program")], "\n")+1),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if len(diags.Diagnostics) != 5 {
		t.Errorf("%d diagnostics, want 5:\n%s", len(diags.Diagnostics), text)
	}
}

func TestSupportHoldsWhatTheActionNames(t *testing.T) {
	w := chainWorld(t)
	w.write(t, "notes/a.txt", "a")
	w.recipe += `
stage "count" "local" {
  text = path("notes/**")
}
`
	for _, s := range w.plan(t).Steps {
		held := map[artifacts.Digest]bool{}
		for _, sup := range s.Support {
			r, err := sup.Open()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			r.Close()
			if err != nil || artifacts.Sum(b) != sup.Blob.Digest || int64(len(b)) != sup.Blob.Size {
				t.Errorf("%s: support %s is not what it says", s.Node.Stage.Address, sup.Blob.Digest.Short())
			}
			held[sup.Blob.Digest] = true
		}
		if s.Action == nil {
			continue
		}
		for what, d := range map[string]artifacts.Digest{"worker": s.Action.Worker, "env": s.Action.Env} {
			if !d.IsZero() && !held[d] {
				t.Errorf("%s: the %s is not among its support", s.Node.Stage.Address, what)
			}
		}
		if d, ok := s.Action.Inputs["text"]; ok && !held[d] {
			t.Errorf("%s: its local files are not among its support", s.Node.Stage.Address)
		}
	}
}

func TestOptionalOutputNotMade(t *testing.T) {
	w := newWorld(t)
	w.kinds["make_model_hf/stage.hcl"] = makeKind("make_model_hf", "model/hf")
	w.recipe = `
stage "make_model_hf" "m" {
}
stage "shape" "s" {
  name  = "a"
  model = make_model_hf.m.out
}
`
	w.unmade["shape.s.notes"] = true
	w.build(t)
	w.recipe += "stage \"count\" \"n\" {\n  text = shape.s.notes\n}\n"
	_, err := w.make(t)
	if want := "r.hcl:9: Output was not made: shape.s made no notes"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

// TestSettleAtOnce: steps whose producers have ended are settled from many goroutines.
func TestSettleAtOnce(t *testing.T) {
	w := thousand(t)
	w.recipe = strings.Replace(w.recipe, "500", "50", 1)
	w.build(t)
	w.force = map[string]bool{}
	o := w.options(t)
	o.Force = func(address string) bool { return strings.HasPrefix(address, "make_") }
	p, err := plan.Make(t.Context(), w.graph(t), o)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, s := range p.Steps {
		if s.State == plan.Run {
			w.run(t, s)
		}
	}
	for _, s := range p.Steps {
		all.Go(func() {
			if err := p.Settle(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, s := range p.Steps {
		if s.State == plan.Pending || s.Record == nil {
			t.Errorf("%s is %s: %s", s.Node.Stage.Address, s.State, s.Reason)
		}
	}
}
