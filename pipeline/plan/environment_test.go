package plan_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

func TestEnvironmentByType(t *testing.T) {
	for name, c := range map[string]struct {
		model, beside string // inputs of weigh
		env           string
	}{
		"the kind's own":                  {"make_model_hf.m.out", "{}", "tools"},
		"of a file":                       {`path("f.txt")`, "{}", "tools"},
		"of the type":                     {"make_engine_x.m.out", "{}", "gpu"},
		"beside one that asks for none":   {"make_engine_x.m.out", "{ a = make_model_hf.m.out }", "gpu"},
		"of an element of a map":          {"make_model_hf.m.out", "{ a = make_model_hf.m.out, b = make_engine_x.m.out }", "gpu"},
		"the same of both":                {"make_engine_x.m.out", "{ b = make_engine_x.m.out }", "gpu"},
		"another one of a map's elements": {"make_model_hf.m.out", "{ a = make_model_y.m.out }", "other"},
	} {
		t.Run(name, func(t *testing.T) {
			w := weighWorld(t)
			w.target = block{"weigh", "w", []attr{{"model", c.model}, {"beside", c.beside}}}
			p, _ := w.build(t)
			if s := p.Step("weigh.w"); s.Action.Env != artifacts.Sum([]byte(w.envs[c.env])) {
				t.Errorf("it runs in %s", s.Action.Env)
			}
			again, became := w.build(t)
			for address, state := range became {
				if state != artifacts.Hit {
					t.Errorf("a second build: %s %s (%s)", address, state, again.Step(address).Reason)
				}
			}
			w.recipe = strings.Replace(w.recipe, "\"m\" {}", "\"m\" { salt = \"again\" }", 1) // of make_model_hf
			_, became = w.build(t)
			for address, state := range became {
				runs := address == "make_model_hf.m" || address == "weigh.w" && strings.Contains(c.model+c.beside, "make_model_hf")
				if runs != (state == artifacts.Ran) {
					t.Errorf("after an edit of make_model_hf.m: %s %s", address, state)
				}
			}
		})
	}
	w := weighWorld(t)
	w.target = block{"weigh", "w", []attr{{"model", "make_engine_x.m.out"}, {"beside", "{ a = make_model_y.m.out }"}}}
	w.write(t, w.file, w.text())
	_, diags := recipe.Load(filepath.Join(w.dir, w.file), recipe.Options{Catalog: w.catalog(t)})
	if want := "weigh.w: beside[a] of type model/y needs environment other, and model of type engine/x needs gpu"; !strings.Contains(diags.Error(), want) {
		t.Errorf("%v, want %s", diags, want)
	}
}

// weighWorld has what can be weighed, and an environment for each.
func weighWorld(t *testing.T) *world {
	w := newWorld(t)
	w.write(t, "f.txt", "f")
	for _, typ := range []string{"model/hf", "engine/x", "model/y"} {
		name := makePrefix + strings.ReplaceAll(typ, "/", "_")
		w.kinds[name+"/stage.hcl"] = makeKind(name, typ)
		w.recipe += fmt.Sprintf("stage %q \"m\" {}\n", name)
	}
	w.envs["gpu"], w.envs["other"] = `{"lock":["a==1"]}`, `{"lock":["a==2"]}`
	return w
}
