package plan_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/stages/env"
)

func why(t *testing.T, p *plan.Plan, address string) *plan.Cause {
	t.Helper()
	c, err := p.Why(t.Context(), p.Step(address))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// tell is a cause as indented lines.
func tell(c *plan.Cause) string {
	var out []string
	var walk func(c *plan.Cause, indent string)
	walk = func(c *plan.Cause, indent string) {
		line := indent + c.Step.Node.Stage.Address + ":"
		for _, change := range c.Changes {
			line += " [" + change.String() + "]"
		}
		if c.Note != "" {
			line += " (" + c.Note + ")"
		}
		out = append(out, line)
		for _, b := range c.Because {
			walk(b, indent+"  ")
		}
	}
	walk(c, "")
	return strings.Join(out, "\n")
}

func TestWhyGoesToTheRoot(t *testing.T) {
	w := chainWorld(t)
	w.build(t)
	w.recipe = strings.Replace(w.recipe, `example.com/a"`, "example.com/a\"\n  unpack = true", 1)

	p := w.plan(t)
	expect(t, tell(why(t, p, "exec.e")),
		"exec.e: [input inputs[table] is not known yet (count.c comes first)]",
		"  count.c: [input text is not known yet (fetch.a comes first)]",
		"    fetch.a: [params.unpack changed: false → true]")
	roots := why(t, p, "exec.e").Roots()
	if len(roots) != 1 || roots[0].Step != p.Step("fetch.a") {
		t.Errorf("%d roots", len(roots))
	}
	if line := roots[0].Changes[0].Range.Start.Line; line != 4 {
		t.Errorf("the root is told at line %d, want that of unpack", line)
	}

	before := w.previous
	p, _ = w.build(t)
	p2 := w.clone()
	p2.previous = before
	expect(t, tell(why(t, p, "exec.e")),
		"exec.e: [input inputs[table] changed (count.c ran)]",
		"  count.c: [input text changed (fetch.a ran)]",
		"    fetch.a: [params.unpack changed: false → true]")
	expect(t, tell(why(t, p2.plan(t), "exec.e")),
		"exec.e: [input inputs[table] changed (now from count.c, in the cache)]",
		"  count.c: [input text changed (now from fetch.a, in the cache)]",
		"    fetch.a: [params.unpack changed: false → true]")
	expect(t, tell(why(t, w.plan(t), "exec.e")), "exec.e: (nothing changed since the last build)")
}

func TestWhyWithoutHistory(t *testing.T) {
	w := chainWorld(t)
	expect(t, tell(why(t, w.plan(t), "fetch.a")), "fetch.a: (no earlier build of this recipe holds it)")

	// A build with --target left count.c out: an older one still holds it.
	w.build(t)
	b := *w.previous
	b.ID, b.Steps = "20300102T000000Z-000009", b.Steps[:1]
	if _, err := w.cache.PutBuild(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	w.previous = &b
	w.recipe = strings.Replace(w.recipe, "text = fetch.a.files", "text = fetch.a.files\n  salt = \"1\"", 1)
	expect(t, states(w.plan(t)),
		"fetch.a hit: in the cache",
		"count.c run: salt added: 1",
		"exec.e pending: waits for count.c")
}

func TestReasonsAfterAFailedBuild(t *testing.T) {
	w := chainWorld(t)
	p := w.plan(t)
	s := p.Step("fetch.a")
	for state, want := range map[artifacts.State]string{
		artifacts.Failed:  "it failed in the last build",
		artifacts.Blocked: "it did not run in the last build",
		artifacts.Ran:     "its outputs are not in the cache any more",
	} {
		w.previous = &artifacts.Build{ID: "x", Steps: []artifacts.Step{{Address: "fetch.a", Key: s.Key, State: state}}}
		if got := w.plan(t).Step("fetch.a").Reason; got != want {
			t.Errorf("after %s: %q, want %q", state, got, want)
		}
	}
	w.previous = &artifacts.Build{ID: "x", Steps: []artifacts.Step{{Address: "fetch.a", State: artifacts.Blocked}}}
	if got := w.plan(t).Step("fetch.a").Reason; got != "first build" {
		t.Errorf("without a key: %q", got)
	}
	w.previous = &artifacts.Build{ID: "x", Steps: []artifacts.Step{{Address: "fetch.a", Key: artifacts.Key{1}, State: artifacts.Ran}}}
	if got := w.plan(t).Step("fetch.a").Reason; !strings.Contains(got, "not in the cache any more") {
		t.Errorf("without its action: %q", got)
	}
}

// A build that was ended before a stage began noted the stage's key, and nobody stored what the key stands for.
func TestWhyLooksPastABuildThatDidNotComeToTheStage(t *testing.T) {
	ended := func(w *world) {
		b := *w.previous
		b.ID, b.Steps = "20300102T000000Z-000009", slices.Clone(b.Steps)
		for i := range b.Steps {
			if b.Steps[i].Address == "count.c" {
				b.Steps[i] = artifacts.Step{Address: "count.c", Key: artifacts.Key{1}, State: artifacts.Blocked, Reason: "interrupted"}
			}
		}
		if _, err := w.cache.PutBuild(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		w.previous = &b
	}
	w := chainWorld(t)
	w.build(t)
	ended(w)
	w.recipe = strings.Replace(w.recipe, "text = fetch.a.files", "text = fetch.a.files\n  salt = \"1\"", 1)
	p := w.plan(t)
	if got := p.Step("count.c").Reason; got != "salt added: 1" {
		t.Errorf("after one that was ended: %q", got)
	}
	expect(t, tell(why(t, p, "count.c")), "count.c: [salt added: 1]")

	// No earlier one came to it either.
	w = chainWorld(t)
	w.previous = &artifacts.Build{ID: "20300102T000000Z-000008", RecipePath: "x"}
	w.previous.Steps = []artifacts.Step{{Address: "fetch.a", Key: artifacts.Key{1}, State: artifacts.Blocked, Reason: "interrupted"}}
	p = w.plan(t)
	if got := p.Step("fetch.a").Reason; got != "it did not run in the last build" {
		t.Errorf("where it never ran: %q", got)
	}
	expect(t, tell(why(t, p, "fetch.a")), "fetch.a: (it did not run in the last build)")
}

// TestRealEnvironment holds Explain against the blobs that stages/env writes.
func TestRealEnvironment(t *testing.T) {
	declared := `doc = "For tests."
python = ["3.14", "3.13", "3.12", "3.11", "3.10"]
`
	blob := func(lock string) string {
		root := fstest.MapFS{
			"tools/env.hcl":           {Data: []byte(declared)},
			"tools/requirements.lock": {Data: []byte(lock)},
		}
		b, err := env.NewSet(root, t.TempDir(), true).Blob(t.Context(), "tools")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	hash := " --hash=sha256:" + strings.Repeat("a", 64) + "\n"
	w := chainWorld(t)
	w.envs["tools"] = blob("numpy==2.4.5" + hash + "scipy==1.0" + hash)
	w.build(t)
	w.envs["tools"] = blob("scipy==1.0" + hash + "numpy==2.4.6" + hash)
	expect(t, states(w.plan(t)),
		"fetch.a run: env.packages.numpy changed: 2.4.5 → 2.4.6",
		"count.c pending: waits for fetch.a",
		"exec.e pending: waits for count.c")
}
