package plan_test

import (
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
)

func TestHitsAreMadeAgain(t *testing.T) {
	w := chainWorld(t)
	w.recipe += `
stage "count" "d" {
  text = fetch.a.files
}
`
	w.build(t)
	p := w.plan(t)
	c, d, e := p.Step("count.c"), p.Step("count.d"), p.Step("exec.e")
	was := e.Key
	p.Remake([]*plan.Step{c, d}, "gone")
	expect(t, states(p),
		"fetch.a hit: in the cache",
		"count.c run: gone",
		"exec.e hit: in the cache",
		"count.d run: gone")
	if c.Record != nil || d.Same != c || c.Same != nil {
		t.Errorf("count.c has %v, and count.d runs with %v", c.Record, d.Same)
	}
	settle := func(key artifacts.Key, state plan.State) {
		t.Helper()
		p.Reconsider(e)
		if e.State != plan.Pending || e.Record != nil {
			t.Errorf("exec.e is %s with %v", e.State, e.Record)
		}
		if err := p.Settle(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if e.State != state || (e.Key == key) != (state == plan.Hit) {
			t.Errorf("exec.e is %s: %s", e.State, e.Reason)
		}
	}
	rec, digest, err := w.cache.Lookup(t.Context(), c.Key)
	if err != nil {
		t.Fatal(err)
	}
	p.Made(c, rec, digest)
	settle(was, plan.Hit)
	other := *rec
	other.Outputs = p.Step("fetch.a").Record.Outputs
	other.Outputs = map[string]artifacts.Digest{"table": other.Outputs["files"]}
	p.Made(c, &other, digest)
	settle(was, plan.Run)
}

// What runs with a step that is settled anew does so no more: that one may have another key by then.
func TestWhoRunsWithAStepThatIsSettledAnew(t *testing.T) {
	w := chainWorld(t)
	w.recipe += `
stage "exec" "f" {
  command = ["tool", "x"]
  inputs  = { table = count.c.table }
}
`
	w.build(t)
	p := w.plan(t)
	e, f := p.Step("exec.e"), p.Step("exec.f")
	p.Remake([]*plan.Step{e, f}, "gone")
	p.Reconsider(e)
	if f.Same != nil || f.State != plan.Run || e.State != plan.Pending {
		t.Errorf("exec.f is %s with %v, exec.e is %s", f.State, f.Same, e.State)
	}
	if err := p.Settle(t.Context(), e); err != nil || e.State != plan.Hit {
		t.Errorf("exec.e is %s, %v", e.State, err)
	}
}
