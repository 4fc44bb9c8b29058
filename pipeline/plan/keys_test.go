package plan_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
)

var update = flag.Bool("update", false, "write testdata/keys.golden anew")

// TestGoldenKeys holds the key of a stage of each hand-made kind. A change of this file throws every cache away: raise
// artifacts.ActionFormat with it, and say so in CHANGELOG.md.
func TestGoldenKeys(t *testing.T) {
	var lines []string
	for _, w := range targets(t) {
		if w.builtin {
			continue // their workers change as they are worked on
		}
		p, _ := w.build(t)
		s := p.Step(w.target.address())
		b, key, err := s.Action.Encode()
		if err != nil || key != s.Key {
			t.Fatalf("%s: %v, key %s against %s", w.target.kind, err, key, s.Key)
		}
		lines = append(lines, fmt.Sprintf("%s %s\n%s\n", w.target.kind, key, b))
	}
	got := strings.Join(lines, "\n")
	name := filepath.Join("testdata", "keys.golden")
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("keys are not those of %s (write it with -update, if they are meant to change)\n%s", name, got)
	}
}

func fullAction() artifacts.Action {
	return artifacts.Action{
		Format:  artifacts.ActionFormat,
		Kind:    "shape",
		Command: []string{"a", "b"},
		Params:  json.RawMessage(`{"bits":4}`),
		Inputs:  map[string]artifacts.Digest{"model": artifacts.Sum([]byte("m"))},
		Outputs: map[string]string{"model": "model/hf"},
		Worker:  artifacts.Sum([]byte("w")),
		Env:     artifacts.Sum([]byte("e")),
		Facts:   map[string]string{"gpu.arch": "sm_90"},
		Salt:    "s",
	}
}

// alterations are the ways to alter a field, by its type. A field of a new type has none, and the test below fails.
var alterations = map[reflect.Type][]func(reflect.Value){
	reflect.TypeFor[int]():    {func(v reflect.Value) { v.SetInt(v.Int() + 1) }},
	reflect.TypeFor[string](): {func(v reflect.Value) { v.SetString(v.String() + "x") }},
	reflect.TypeFor[[]string](): {
		func(v reflect.Value) { v.Set(reflect.ValueOf([]string{"b", "a"})) },
		func(v reflect.Value) { v.Set(reflect.ValueOf([]string{"a b"})) },
		func(v reflect.Value) { v.Set(reflect.ValueOf([]string(nil))) },
	},
	reflect.TypeFor[json.RawMessage](): {
		func(v reflect.Value) { v.Set(reflect.ValueOf(json.RawMessage(`{"bits":5}`))) },
		func(v reflect.Value) { v.Set(reflect.ValueOf(json.RawMessage(`{"bits":"4"}`))) },
		func(v reflect.Value) { v.Set(reflect.ValueOf(json.RawMessage(`{"bits":4,"more":[]}`))) },
	},
	reflect.TypeFor[map[string]artifacts.Digest](): {
		func(v reflect.Value) {
			v.Set(reflect.ValueOf(map[string]artifacts.Digest{"model": artifacts.Sum([]byte("n"))}))
		},
		func(v reflect.Value) {
			v.Set(reflect.ValueOf(map[string]artifacts.Digest{"other": artifacts.Sum([]byte("m"))}))
		},
		func(v reflect.Value) { v.SetZero() },
	},
	reflect.TypeFor[map[string]string](): {
		func(v reflect.Value) { v.Set(reflect.ValueOf(map[string]string{"model": "files", "gpu.arch": "x"})) },
		func(v reflect.Value) { v.Set(reflect.ValueOf(map[string]string{"other": "model/hf"})) },
	},
	reflect.TypeFor[artifacts.Digest](): {
		func(v reflect.Value) { v.Index(0).SetUint(v.Index(0).Uint() ^ 1) },
		func(v reflect.Value) { v.Index(31).SetUint(v.Index(31).Uint() ^ 1) },
	},
}

// TestEveryFieldIsInTheKey: whatever is altered, and however, the encoding is another one. A field with a json tag "-",
// or of a type that nobody thought of here, is found.
func TestEveryFieldIsInTheKey(t *testing.T) {
	whole := fullAction()
	code, err := artifacts.JCS(&whole)
	if err != nil {
		t.Fatal(err)
	}
	if b, _, err := whole.Encode(); err != nil || string(b) != string(code) {
		t.Fatalf("Encode is not the JCS of the Action: %v", err)
	}
	seen := map[string]string{string(code): "nothing"}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[artifacts.Action]()) {
		if reflect.ValueOf(whole).FieldByIndex(f.Index).IsZero() {
			t.Errorf("fullAction leaves %s empty", f.Name)
		}
		ways := alterations[f.Type]
		if len(ways) == 0 {
			t.Errorf("nothing here alters Action.%s, a %s", f.Name, f.Type)
		}
		for i, alter := range ways {
			a := fullAction()
			alter(reflect.ValueOf(&a).Elem().FieldByIndex(f.Index))
			b, err := artifacts.JCS(&a)
			if err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
			name := fmt.Sprintf("%s, way %d", f.Name, i)
			if other, ok := seen[string(b)]; ok {
				t.Errorf("altering %s gives the key of altering %s", name, other)
			}
			seen[string(b)] = name
		}
	}
}

// TestFormatIsNamed: an action that another version wrote cannot be decoded; why still says what changed.
func TestFormatIsNamed(t *testing.T) {
	w := chainWorld(t)
	p, _ := w.build(t)
	s := p.Step("count.c")
	old := *s.Action
	old.Format--
	b, err := artifacts.JCS(&old)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := w.cache.PutBytes(t.Context(), artifacts.ActionMediaType, b)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := plan.Explain(t.Context(), w.cache, artifacts.Step{Key: artifacts.Key(blob.Digest)}, s)
	if err != nil || len(changes) != 1 || changes[0].Field != "format" {
		t.Fatalf("%v, %v", changes, err)
	}
	if got, want := changes[0].String(), fmt.Sprintf("format changed: %d → %d", artifacts.ActionFormat-1, artifacts.ActionFormat); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if changes[0].Range != s.Node.Stage.Range {
		t.Errorf("it points at %s", changes[0].Range)
	}
}

// same is an edit that must leave the key alone.
type same struct {
	name   string
	mutate func(t *testing.T, w *world)
}

func sames() []same {
	replace := func(from, to string) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			if !strings.Contains(w.recipe, from) {
				t.Fatalf("no %q in the recipe", from)
			}
			w.recipe = strings.Replace(w.recipe, from, to, -1)
		}
	}
	attrs := func(edit func(b *block)) func(*testing.T, *world) {
		return func(_ *testing.T, w *world) { edit(&w.target) }
	}
	kind := func(from, to string) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			f := *w.kinds["shape/stage.hcl"]
			if !strings.Contains(string(f.Data), from) {
				t.Fatalf("no %q in the kind", from)
			}
			f.Data = []byte(strings.Replace(string(f.Data), from, to, 1))
			w.kinds["shape/stage.hcl"] = &f
		}
	}
	return []same{
		{"comment", func(_ *testing.T, w *world) { w.recipe = "# a comment\n" + w.recipe }},
		{"comment in the block", attrs(func(b *block) { b.set("fast", "true # it is") })},
		{"order of attributes", attrs(func(b *block) { slices.Reverse(b.attrs) })},
		{"white space", attrs(func(b *block) { b.set("name", "  \t \"a\"   ") })},
		{"another name", attrs(func(b *block) { b.name = "renamed" })},
		{"defaults written out", attrs(func(b *block) {
			b.set("bits", "4")
			b.set("damp", "0.01")
			b.set("ignore", "[]")
			b.set("tags", `["x"]`)
			b.set("scales", "{}")
			b.set("grid", `{ rows = 2, cols = 3, label = "l" }`)
			b.set("fast", "true")
		})},
		{"other spellings of numbers", attrs(func(b *block) { b.set("bits", "8 / 2"); b.set("damp", "1e-2") })},
		{"element of a set twice", attrs(func(b *block) { b.set("tags", `["x", "x"]`) })},
		{"a variable for a literal", func(_ *testing.T, w *world) {
			w.recipe += "variable \"n\" {\n  type = string\n  default = \"a\"\n}\n"
			w.target.set("name", "var.n")
		}},
		{"a local for a literal", func(_ *testing.T, w *world) {
			w.recipe += "locals {\n  n = lower(\"A\")\n}\n"
			w.target.set("name", "local.n")
		}},
		{"needs, timeout, retries", attrs(func(b *block) {
			b.set("timeout", `"30m"`)
			b.set("retries", "1\n  needs {\n    cpus = 2\n  }\n  require {\n    condition = metrics.ppl < 3\n    message = \"m\"\n  }")
		})},
		{"secret", attrs(func(b *block) { b.set("token", `secret("TOKEN")`) })},
		{"stages in another order", func(_ *testing.T, w *world) {
			all := strings.SplitAfter(w.recipe, "}\n")
			slices.Reverse(all)
			w.recipe = strings.Join(all, "\n")
		}},
		{"producer renamed", func(t *testing.T, w *world) {
			replace(`"model_1"`, `"base"`)(t, w)
			w.target.set("model", "make_model_hf.base.out")
		}},
		{"a stage more", func(_ *testing.T, w *world) { w.recipe += "stage \"make_files\" \"more\" {\n  seed = 77\n}\n" }},
		{"another folder", func(t *testing.T, w *world) { w.dir = t.TempDir() }},
		{"another recipe file", func(_ *testing.T, w *world) { w.file = "other.hcl" }},
		{"another user", func(_ *testing.T, w *world) { w.environ["HOME"], w.environ["USER"] = "/home/b", "b" }},
		{"facts that the kind does not name", func(_ *testing.T, w *world) { w.facts["unused"] = "2"; w.facts["host"] = "b" }},
		{"kind's doc", kind(`doc         = "Shapes."`, `doc = "Shapes things."`)},
		{"kind's needs", kind("memory_gib = 4", "memory_gib = 8\n  gpu_memory_gib = 20")},
		{"kind's checks", kind("one_of  = [2, 3, 4, 8]", "one_of = [4]")},
		{"kind's metrics", kind(`better = "lower"`, `better = "higher"`)},
		{"kind's determinism", kind(`"statistical"`, `"exact"`)},
		{"order in the kind", kind("type    = bool\n  default = true", "default = true\n  type = bool")},
		{"an environment for a type that is not given", kind(`types    = ["files", "dataset/text"]`, "types    = [\"files\", \"dataset/text\"]\n  envs     = { \"dataset/text\" = \"other\" }")},
		{"kind's tests", func(_ *testing.T, w *world) { w.kinds["shape/test_worker.py"] = w.kinds["shape/worker.py"] }},
		{"kind's caches", func(_ *testing.T, w *world) { w.kinds["shape/__pycache__/worker.pyc"] = w.kinds["shape/worker.py"] }},
	}
}

// TestSameKeys: what does not decide the bytes is not in the key.
func TestSameKeys(t *testing.T) {
	for _, base := range targets(t) {
		if base.target.kind != "shape" || base.builtin {
			continue
		}
		p0, _ := base.clone().build(t)
		for _, e := range sames() {
			t.Run(e.name, func(t *testing.T) {
				w := base.clone()
				e.mutate(t, w)
				p1 := w.plan(t)
				s0, s1 := p0.Step(base.target.address()), p1.Step(w.target.address())
				if s1.State != plan.Hit || s1.Key != s0.Key {
					t.Errorf("%s: %s\n%s", s1.State, s1.Reason, w.text())
				}
			})
		}
	}
}

// TestInstanceKeysAreNotInKeys: for_each and its keys only name instances.
func TestInstanceKeysAreNotInKeys(t *testing.T) {
	keys := map[string]bool{}
	for _, text := range []string{
		"stage \"make_files\" \"m\" {\n  for_each = { a = 3 }\n  seed = each.value\n}\n",
		"stage \"make_files\" \"m\" {\n  for_each = { b = 3, }\n  seed = each.value\n}\n",
		"stage \"make_files\" \"m\" {\n  seed = 3\n}\n",
	} {
		w := newWorld(t)
		w.kinds["make_files/stage.hcl"] = makeKind("make_files", "files")
		w.recipe = text
		keys[w.plan(t).Steps[0].Key.Hex()] = true
	}
	if len(keys) != 1 {
		t.Errorf("%d keys, want one", len(keys))
	}
}
