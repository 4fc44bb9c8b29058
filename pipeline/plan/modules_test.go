package plan_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/pipeline/plan"
)

// TestModulesAreInNoKey: whatever the kind, a stage that moves into a module, or whose module gets another name, instance
// or caller, is the same.
func TestModulesAreInNoKey(t *testing.T) {
	for _, base := range targets(t) {
		if base.builtin {
			continue
		}
		p0, _ := base.build(t)
		for call, prefix := range map[string]string{
			"module \"m\" {\n  source = \"./all.hcl\"\n}\n":                                     "module.m.",
			"module \"n\" {\n  source = \"all.hcl\"\n}\n":                                       "module.n.",
			"module \"m\" {\n  for_each = { \"a.b\" = 1 }\n  source = \"./all.hcl\"\n}\n":       `module.m["a.b"].`,
			"module \"m\" {\n  for_each = toset([\"x\", \"y\"])\n  source = \"./all.hcl\"\n}\n": `module.m["y"].`,
			"module \"m\" {\n  source = \"./calls.hcl\"\n}\n":                                   "module.m.module.inner.",
		} {
			w := base.clone()
			w.write(t, "all.hcl", base.text())
			w.write(t, "calls.hcl", "module \"inner\" {\n  source = \"./all.hcl\"\n}\n")
			w.recipe, w.target = call, block{}
			p := w.plan(t)
			if len(p.Steps) < len(p0.Steps) {
				t.Fatalf("%d steps of %d", len(p.Steps), len(p0.Steps))
			}
			for _, s := range p0.Steps {
				moved := p.Step(prefix + s.Node.Stage.Address)
				if moved == nil || moved.Key != s.Key || moved.State != plan.Hit {
					t.Errorf("%s: %s%s has another key", base.target.kind, prefix, s.Node.Stage.Address)
				}
			}
		}
	}
}

// TestEqualModulesAreOneRun: the same file called twice with the same variables runs once.
func TestEqualModulesAreOneRun(t *testing.T) {
	w := chainWorld(t)
	w.write(t, "m.hcl", "variable \"text\" {}\nstage \"count\" \"c\" {\n  text = var.text\n}\n")
	w.recipe = "stage \"fetch\" \"a\" {\n  source = \"https://example.com/a\"\n}\n" +
		"module \"x\" {\n  source = \"./m.hcl\"\n  text = fetch.a.files\n}\n" +
		"module \"y\" {\n  source = \"./m.hcl\"\n  text = fetch.a.files\n}\n"
	w.build(t)
	w.force["module.x.count.c"], w.force["module.y.count.c"] = true, true
	p := w.plan(t)
	if x, y := p.Step("module.x.count.c"), p.Step("module.y.count.c"); x.Key != y.Key || y.Same != x {
		t.Errorf("%s and %s, the same as %v", x.Key, y.Key, y.Same)
	}
}

// TestChangesInModules: a change is told with the line of the module's file, or of the call that decides it.
func TestChangesInModules(t *testing.T) {
	w := newWorld(t)
	w.kinds["make_files/stage.hcl"] = makeKind("make_files", "files")
	module := "variable \"seed\" {\n  type = number\n}\nstage \"make_files\" \"m\" {\n\n  seed = var.seed\n  salt = \"a\"\n}\n"
	w.write(t, "in/m.hcl", module)
	w.recipe = "module \"m\" {\n  source = \"./in/m.hcl\"\n  seed = 1\n}\n"
	w.build(t)
	w.recipe = strings.Replace(w.recipe, "1", "2", 1)
	w.write(t, "in/m.hcl", strings.Replace(module, `"a"`, `"b"`, 1))
	p := w.plan(t)
	cause, err := p.Why(t.Context(), p.Step("module.m.make_files.m"))
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]int{}
	for _, c := range cause.Changes {
		if c.Range.Filename != filepath.Join(w.dir, "in", "m.hcl") {
			t.Errorf("%s is said to be in %s", c.Field, c.Range.Filename)
		}
		lines[c.Field] = c.Range.Start.Line
	}
	if len(lines) != 2 || lines["params.seed"] != 6 || lines["salt"] != 7 {
		t.Errorf("changes %v", lines)
	}
}
