package plan_test

import (
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages"
)

// edit is one change of the world that must change the target's key.
type edit struct {
	name   string
	mutate func(t *testing.T, w *world)
	action string // the one field of Action that it alters
	field  string // what Explain must name: this path, or paths below it
	attr   string // whose recipe line it must point at; "" for the block's header
}

// TestEveryEditIsNamed generates the edits of every kind from its schema. Each must change the key, alter one field of
// the Action, and be told with the recipe line that decides it; there and back.
func TestEveryEditIsNamed(t *testing.T) {
	covered := map[string]bool{"Format": true} // TestFormatIsNamed
	for _, base := range targets(t) {
		p0, _ := base.build(t)
		for _, e := range edits(t, base) {
			t.Run(base.target.kind+"/"+e.name, func(t *testing.T) { checkEdit(t, base, p0, e) })
			covered[e.action] = true
		}
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[artifacts.Action]()) {
		if !covered[f.Name] {
			t.Errorf("no edit alters Action.%s: extend edits()", f.Name)
		}
	}
}

func checkEdit(t *testing.T, before *world, p0 *plan.Plan, e edit) {
	after := before.clone()
	e.mutate(t, after)
	p1, _ := after.build(t)
	s0, s1 := p0.Step(before.target.address()), p1.Step(after.target.address())
	if s0.Key == s1.Key {
		t.Fatalf("the key stayed\n%s\nbecame\n%s", before.text(), after.text())
	}
	if got := altered(s0.Action, s1.Action); !slices.Equal(got, []string{e.action}) {
		t.Errorf("it altered %v of the Action, want %s alone", got, e.action)
	}
	checkChanges(t, "there", after, s0, s1, e)
	if before.target.address() == after.target.address() {
		checkChanges(t, "back", before, s1, s0, e)
	}
}

func checkChanges(t *testing.T, way string, w *world, from, to *plan.Step, e edit) {
	t.Helper()
	changes, err := plan.Explain(t.Context(), w.cache, artifacts.Step{Key: from.Key}, to)
	if err != nil {
		t.Fatalf("%s: %v", way, err)
	}
	if len(changes) == 0 {
		t.Errorf("%s: nothing is explained", way)
	}
	line := e.attr
	if !slices.ContainsFunc(w.target.attrs, func(a attr) bool { return a.name == line }) {
		line = ""
	}
	for _, c := range changes {
		rest, ok := strings.CutPrefix(c.Field, e.field)
		if !ok || rest != "" && !strings.ContainsAny(rest[:1], ".[:") {
			t.Errorf("%s: it names %s, want %s", way, c.Field, e.field)
		}
		if line := w.line(line); c.Range.Start.Line != line || filepath.Base(c.Range.Filename) != w.file {
			t.Errorf("%s: %s points at %s, want line %d of\n%s", way, c.Field, c.Range, line, w.text())
		}
		if c.Old == c.New {
			t.Errorf("%s: %s says %q → %q", way, c.Field, c.Old, c.New)
		}
	}
}

// altered names the fields in which two Actions differ.
func altered(a, b *artifacts.Action) []string {
	var out []string
	va, vb := reflect.ValueOf(*a), reflect.ValueOf(*b)
	for _, f := range reflect.VisibleFields(va.Type()) {
		if !reflect.DeepEqual(va.FieldByIndex(f.Index).Interface(), vb.FieldByIndex(f.Index).Interface()) {
			out = append(out, f.Name)
		}
	}
	return out
}

// targets is a world for each kind, hand-made and built in, with a stage of it that is wired to producers.
func targets(t *testing.T) []*world {
	t.Helper()
	var out []*world
	for _, c := range []*stages.Catalog{nil, builtin(t)} {
		first := newWorld(t)
		if c != nil {
			first.builtin, first.loaded = true, c
		}
		kinds := first.catalog(t).Kinds
		for _, name := range slices.Sorted(maps.Keys(kinds)) {
			if first.builtin && strings.HasPrefix(name, makePrefix) {
				continue
			}
			w := newWorld(t)
			w.builtin, w.loaded = first.builtin, first.loaded
			w.wire(t, kinds[name])
			out = append(out, w.clone())
		}
	}
	return out
}

// builtin is the binary's catalogue, and a kind to make each type of artifact that its ports take.
func builtin(t *testing.T) *stages.Catalog {
	t.Helper()
	c, err := stages.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Kinds) == 0 {
		t.Fatal("the binary has no kinds")
	}
	more := fstest.MapFS{}
	for _, k := range c.Kinds {
		for i := range k.Inputs {
			name, file := maker(&k.Inputs[i])
			more[name+"/stage.hcl"] = file
		}
	}
	if diags := c.Add(more, "kinds"); diags.HasErrors() {
		t.Fatal(diags)
	}
	return c
}

const makePrefix = "make_"

// maker is a kind that makes what fits a port.
func maker(in *stages.Input) (string, *fstest.MapFile) {
	typ := in.Types[0]
	if typ == "*" {
		typ = "files"
	}
	name := makePrefix + strings.NewReplacer("/", "_", ".", "_", "-", "_").Replace(typ)
	return name, makeKind(name, typ)
}

// wire writes the target's block: required params, every input, and the producers that they need.
func (w *world) wire(t *testing.T, k *stages.Kind) {
	t.Helper()
	w.target = block{kind: k.Name, name: "target"}
	for _, f := range slices.Concat(k.Facts, k.OptionalFacts) {
		if _, ok := w.facts[f]; !ok {
			w.facts[f] = "some " + f
		}
	}
	for _, name := range k.Environments() {
		w.envs[name] = toolsBlob
		if name != k.Env {
			w.envs[name] = strings.Replace(toolsBlob, `"native":[]`, `"native":["`+name+`"]`, 1)
		}
	}
	for i := range k.Params {
		p := &k.Params[i]
		if p.Source {
			w.target.set(p.Name, `"https://example.com/a"`)
			w.sources["https://example.com/a"] = pinsFor("a")
			w.sources["https://example.com/b"] = pinsFor("b")
		} else if p.Required() || p.Environ {
			w.target.set(p.Name, values(t, p)[0])
		}
	}
	for i := range k.Inputs {
		in := &k.Inputs[i]
		if in.Map {
			w.target.set(in.Name, fmt.Sprintf("{ one = %s }", w.producer(in, 1)))
		} else {
			w.target.set(in.Name, w.producer(in, 1))
		}
	}
}

// producer is a reference to an artifact that fits the port; another n, another artifact.
func (w *world) producer(in *stages.Input, n int) string {
	kind, file := maker(in)
	w.kinds[kind+"/stage.hcl"] = file
	name := fmt.Sprintf("%s_%d", in.Name, n)
	if text := fmt.Sprintf("stage %q %q {\n  seed = %d\n}\n", kind, name, seed(in, n)); !strings.Contains(w.recipe, text) {
		w.recipe += text
	}
	return fmt.Sprintf("%s.%s.out", kind, name)
}

// seed keeps the producers of different ports apart: equal ones would be one.
func seed(in *stages.Input, n int) int { return int(crc32.ChecksumIEEE([]byte(in.Name)))/100*10 + n }

// values are expressions that the param allows, at least two where its schema has two, the first one not its default.
func values(t *testing.T, p *stages.Param) []string {
	t.Helper()
	var out []string
	seen := []cty.Value{p.Default}
	for _, text := range candidates(p, p.Type) {
		expr, diags := hclsyntax.ParseExpression([]byte(text), "candidate", hcl.InitialPos)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		v, diags := expr.Value(nil)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		v, err := convert.Convert(v, p.Type)
		if err != nil || p.Check(v) != nil || slices.ContainsFunc(seen, func(s cty.Value) bool { return s != cty.NilVal && s.RawEquals(v) }) {
			continue
		}
		seen, out = append(seen, v), append(out, text)
	}
	if len(out) == 0 || p.Required() && len(out) < 2 && len(p.OneOf) != 1 {
		t.Fatalf("param %s: no value found that its schema allows; extend candidates()", p.Name)
	}
	return out
}

func candidates(p *stages.Param, ty cty.Type) []string {
	switch {
	case p.Environ:
		return []string{`["A_VAR"]`, `["A_VAR", "B_VAR"]`}
	case p.Name == "command" && ty.Equals(cty.List(cty.String)):
		return []string{`["tool", "a"]`, `["tool", "b"]`}
	case ty == cty.Bool:
		return []string{"true", "false"}
	case ty == cty.Number:
		return numbers(p)
	case ty == cty.String:
		return texts(p)
	case ty.IsObjectType():
		return objects(p, ty)
	case ty.IsCollectionType():
		return collections(p, ty)
	}
	return nil
}

func numbers(p *stages.Param) []string {
	var out []string
	for _, v := range p.OneOf {
		if v.Type() == cty.Number {
			out = append(out, v.AsBigFloat().Text('g', -1))
		}
	}
	for _, bound := range []*float64{p.Min, p.Max} {
		if bound != nil {
			out = append(out, fmt.Sprint(*bound), fmt.Sprint(*bound+1), fmt.Sprint(*bound-1))
		}
	}
	return append(out, "1", "2", "3", "0.5", "0.25", "64", "1024")
}

func texts(p *stages.Param) []string {
	var out []string
	for _, v := range p.OneOf {
		if v.Type() == cty.String {
			out = append(out, fmt.Sprintf("%q", v.AsString()))
		}
	}
	return append(out, `"a"`, `"b"`, `"a/b.txt"`, `"c.json"`, `"https://example.com/x"`, `"1"`, `"2"`, `"A"`, `"B"`)
}

func objects(p *stages.Param, ty cty.Type) []string {
	var out []string
	for i := range 2 {
		var members []string
		for _, name := range slices.Sorted(maps.Keys(ty.AttributeTypes())) {
			all := candidates(&stages.Param{}, ty.AttributeType(name))
			members = append(members, fmt.Sprintf("%s = %s", name, all[min(i, len(all)-1)]))
		}
		out = append(out, "{ "+strings.Join(members, ", ")+" }")
	}
	_ = p
	return out
}

func collections(p *stages.Param, ty cty.Type) []string {
	var out []string
	elements := candidates(p, ty.ElementType())
	for i := range elements {
		if ty.IsMapType() {
			out = append(out, fmt.Sprintf("{ k = %s }", elements[i]))
			continue
		}
		out = append(out, "["+strings.Join(elements[:i+1], ", ")+"]", "["+elements[i]+"]")
	}
	return out
}

// edits are all that can happen to a stage of this kind.
func edits(t *testing.T, base *world) []edit {
	t.Helper()
	k := base.catalog(t).Kinds[base.target.kind]
	out := []edit{
		{"salt", func(_ *testing.T, w *world) { w.target.set("salt", `"again"`) }, "Salt", "salt", "salt"},
	}
	for i := range k.Params {
		out = append(out, paramEdits(t, &k.Params[i])...)
	}
	for i := range k.Inputs {
		out = append(out, inputEdits(&k.Inputs[i])...)
	}
	for _, f := range slices.Concat(k.Facts, k.OptionalFacts) {
		out = append(out, edit{"fact " + f, func(_ *testing.T, w *world) { w.facts[f] = "another" }, "Facts", "facts." + f, ""})
	}
	for _, f := range k.OptionalFacts {
		out = append(out, edit{"no fact " + f, func(_ *testing.T, w *world) { delete(w.facts, f) }, "Facts", "facts." + f, ""})
	}
	if name := wiredEnv(t, k); name != "" {
		out = append(out, envEdits(name)...)
		if name != k.Env && !base.builtin {
			out = append(out, edit{"environment by type", func(_ *testing.T, w *world) {
				f := w.kinds[k.Dir+"/stage.hcl"]
				w.kinds[k.Dir+"/stage.hcl"] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(string(f.Data), fmt.Sprintf("%q", name), fmt.Sprintf("%q", k.Env)))}
			}, "Env", "env.native", ""})
		}
	}
	if k.Native {
		out = append(out, edit{"program's bytes", func(t *testing.T, w *world) {
			w.program(t, "tool", "#!/bin/sh\necho other\n")
		}, "Worker", "worker.sha256", "command"})
	}
	if !base.builtin { // the binary's own folders cannot be edited
		out = append(out, kindEdits(k)...)
	}
	return out
}

// wiredEnv is the environment of the target, whose inputs are of the first type that each takes.
func wiredEnv(t *testing.T, k *stages.Kind) string {
	t.Helper()
	types := map[string]string{}
	for i := range k.Inputs {
		types[k.Inputs[i].Name] = k.Inputs[i].Types[0]
	}
	name, err := k.EnvOf(types)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func paramEdits(t *testing.T, p *stages.Param) []edit {
	t.Helper()
	if p.Source {
		return []edit{
			{"source", func(_ *testing.T, w *world) { w.target.set(p.Name, `"https://example.com/b"`) }, "Params", "params.pins", p.Name},
			{"pin", func(_ *testing.T, w *world) { w.sources["https://example.com/a"] = pinsFor("moved") }, "Params", `params.pins["a.bin"]`, p.Name},
			{"pinned file added", func(_ *testing.T, w *world) {
				src := "https://example.com/a"
				w.sources[src] = append([]recipe.Pin{{Path: "0.bin", SHA256: artifacts.Sum(nil).Hex()}}, w.sources[src]...)
			}, "Params", `params.pins["0.bin"]`, p.Name},
		}
	}
	all := values(t, p)
	if p.Required() || p.Environ {
		all = all[1:]
	}
	var out []edit
	for _, text := range all {
		out = append(out, edit{"param " + p.Name + " " + text, func(_ *testing.T, w *world) { w.target.set(p.Name, text) },
			"Params", "params." + p.Name, p.Name})
	}
	if p.Environ {
		out = append(out, edit{"environment variable", func(_ *testing.T, w *world) {
			w.environ["A_VAR"] = "other"
		}, "Params", "params." + p.Name + ".A_VAR", p.Name})
	}
	return out
}

func inputEdits(in *stages.Input) []edit {
	if in.Map {
		at := "inputs." + in.Name
		return []edit{
			{"input " + in.Name + " swapped", func(_ *testing.T, w *world) {
				w.target.set(in.Name, fmt.Sprintf("{ one = %s }", w.producer(in, 2)))
			}, "Inputs", at + "[one]", in.Name},
			{"input " + in.Name + " added", func(_ *testing.T, w *world) {
				w.target.set(in.Name, fmt.Sprintf("{ one = %s, two = %s }", w.producer(in, 1), w.producer(in, 2)))
			}, "Inputs", at + "[two]", in.Name},
		}
	}
	at := "inputs." + in.Name
	out := []edit{
		{"input " + in.Name + " swapped", func(_ *testing.T, w *world) { w.target.set(in.Name, w.producer(in, 2)) }, "Inputs", at, in.Name},
		{"input " + in.Name + " made of other bytes", func(_ *testing.T, w *world) {
			w.producer(in, 1)
			w.recipe = strings.Replace(w.recipe, fmt.Sprintf("seed = %d\n", seed(in, 1)), fmt.Sprintf("seed = %d\n", seed(in, 5)), 1)
		}, "Inputs", at, in.Name},
	}
	if in.Optional {
		out = append(out, edit{"input " + in.Name + " left out", func(_ *testing.T, w *world) {
			w.target.attrs = slices.DeleteFunc(slices.Clone(w.target.attrs), func(a attr) bool { return a.name == in.Name })
		}, "Inputs", at, in.Name})
	}
	return out
}

func envEdits(name string) []edit {
	env := func(from, to string) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			if !strings.Contains(w.envs[name], from) {
				t.Fatalf("no %s in %s", from, w.envs[name])
			}
			w.envs[name] = strings.Replace(w.envs[name], from, to, 1)
		}
	}
	return []edit{
		{"package version", env("numpy==2.4.5", "numpy==2.4.6"), "Env", "env.packages.numpy", ""},
		{"package hash", env("sha256:aa", "sha256:bb"), "Env", "env.packages.numpy", ""},
		{"package added", env(`"scipy`, `"uv==1 --hash=sha256:dd","scipy`), "Env", "env.packages.uv", ""},
		{"package marker", env("3.14", "3.15"), "Env", "env.packages.scipy", ""},
		{"python", env("3.13", "3.12"), "Env", "env.python", ""},
		{"package of an own interpreter", env(`"lock":[`, `"distributions":["own==1"],"lock":[`), "Env", "env.packages.own", ""},
	}
}

func kindEdits(k *stages.Kind) []edit {
	file := k.Dir + "/stage.hcl"
	rewrite := func(from, to string) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			text := string(w.kinds[file].Data)
			if !strings.Contains(text, from) {
				t.Fatalf("no %q in %s", from, file)
			}
			w.kinds[file] = &fstest.MapFile{Data: []byte(strings.Replace(text, from, to, 1))}
		}
	}
	out := []edit{
		{"output added", func(_ *testing.T, w *world) {
			more := "output \"extra\" {\n  type = \"files\"\n  doc  = \"More.\"\n}\n"
			w.kinds[file] = &fstest.MapFile{Data: append(slices.Clone(w.kinds[file].Data), more...)}
		}, "Outputs", "outputs.extra", ""},
		{"output's type", func(_ *testing.T, w *world) {
			i := strings.LastIndex(string(w.kinds[file].Data), "output ")
			head, tail := string(w.kinds[file].Data[:i]), string(w.kinds[file].Data[i:])
			tail = regexp.MustCompile(`type\s*= ".*"`).ReplaceAllString(tail, `type = "another/type"`)
			w.kinds[file] = &fstest.MapFile{Data: []byte(head + tail)}
		}, "Outputs", "outputs." + k.Outputs[len(k.Outputs)-1].Name, ""},
	}
	if k.Native {
		return append(out, edit{"kind", func(_ *testing.T, w *world) {
			w.kinds["run/stage.hcl"] = &fstest.MapFile{Data: []byte(execKind("run"))}
			w.target.kind = "run"
		}, "Kind", "kind", ""})
	}
	worker := func(name string) edit {
		return edit{"worker " + name, func(_ *testing.T, w *world) {
			var old []byte
			if f := w.kinds[name]; f != nil {
				old = f.Data
			}
			w.kinds[name] = &fstest.MapFile{Data: append(slices.Clone(old), "# more\n"...)}
		}, "Worker", "worker: " + name, ""}
	}
	out = append(out, worker(k.Dir+"/new.py"))
	for _, use := range k.Uses {
		out = append(out, worker(use+"/new.py"))
	}
	if k.Python() {
		return append(out, worker(k.Dir+"/worker.py"), edit{"sdk", func(_ *testing.T, w *world) {
			w.sdk["tinfra_worker/more.py"] = &fstest.MapFile{Data: []byte("MORE = 1\n")}
		}, "Worker", "worker: sdk/tinfra_worker/more.py", ""})
	}
	for i, word := range k.Command {
		if !strings.Contains(word, "{dir}") {
			out = append(out, edit{"command", rewrite(`"`+word+`"`, `"-other"`), "Command", fmt.Sprintf("command[%d]", i), ""})
		}
	}
	return out
}

// TestLocalFiles covers what path() can do to an input.
func TestLocalFiles(t *testing.T) {
	base := newWorld(t)
	base.write(t, "in/a.txt", "a")
	base.write(t, "in/b.txt", "b")
	base.target = block{"count", "target", []attr{{"text", `path("in/**")`}}}
	for name, c := range map[string]struct {
		mutate func(t *testing.T, w *world)
		file   string
	}{
		"changed": {func(t *testing.T, w *world) { w.write(t, "in/a.txt", "A") }, "a.txt"},
		"added":   {func(t *testing.T, w *world) { w.write(t, "in/c/d.txt", "c") }, "c/d.txt"},
		"removed": {func(t *testing.T, w *world) {
			if err := os.Remove(filepath.Join(w.dir, "in", "b.txt")); err != nil {
				t.Fatal(err)
			}
		}, "b.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			w := base.clone()
			w.dir = t.TempDir()
			w.write(t, "in/a.txt", "a")
			w.write(t, "in/b.txt", "b")
			p0, _ := w.build(t)
			after := w.clone()
			c.mutate(t, after)
			p1, _ := after.build(t)
			s0, s1 := p0.Step("count.target"), p1.Step("count.target")
			changes, err := plan.Explain(t.Context(), w.cache, artifacts.Step{Key: s0.Key}, s1)
			if err != nil || len(changes) != 1 {
				t.Fatalf("%v %v", changes, err)
			}
			if got := changes[0]; !strings.HasPrefix(got.Field, "inputs.text: ") || !strings.HasSuffix(got.Field, c.file) ||
				!strings.HasSuffix(got.String(), name) || got.Range.Start.Line != after.line("text") {
				t.Errorf("%s at %s", got, got.Range)
			}
		})
	}
}
