package recipe

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hcled"
	"github.com/zclconf/go-cty/cty"

	"github.com/Ruihan11/tiny-infra/stages"
)

// restoredSame fails where a recipe that was loaded without mistakes is another one after it was written down and restored.
// It is false for one that cannot be written down.
func restoredSame(t *testing.T, r *Recipe, catalog *stages.Catalog) bool {
	t.Helper()
	packed, ok := r.Snapshot()
	if !ok {
		return false
	}
	got, err := Restore(string(packed), catalog)
	if err != nil {
		t.Fatalf("%s: %v", r.Source, err)
	}
	texts := got.Texts()
	for i, s := range r.Stages {
		if z := got.Stages[i]; !reflect.DeepEqual(s, z) {
			t.Fatalf("%+v becomes %+v", s, z)
		}
	}
	for name, f := range texts {
		was := r.Files[name]
		if was == nil || string(was.Bytes) != string(f.Bytes) || !reflect.DeepEqual(was.Body, f.Body) {
			t.Fatalf("%s is another file", name)
		}
		for at := 0; at < len(f.Bytes); at += 1 + len(f.Bytes)/16 {
			if a, b := hcled.ContextString(was, at), hcled.ContextString(f, at); a != b {
				t.Fatalf("%s: offset %d is in %q, not %q", name, at, b, a)
			}
		}
	}
	want, have := *r, *got
	want.Files, want.texts, have.texts = nil, nil, nil
	if !reflect.DeepEqual(want, have) {
		t.Fatalf("%+v becomes %+v", want, have)
	}
	return true
}

// TestSnapshotHasAllFields fails where a field was added that a snapshot does not know.
func TestSnapshotHasAllFields(t *testing.T) {
	for of, want := range map[reflect.Type]int{
		reflect.TypeFor[Recipe](): 12, reflect.TypeFor[Stage](): 14, reflect.TypeFor[Param](): 3, reflect.TypeFor[Input](): 3, reflect.TypeFor[Ref](): 3,
		reflect.TypeFor[Files](): 3, reflect.TypeFor[SecretRef](): 2, reflect.TypeFor[Output](): 5, reflect.TypeFor[Report](): 6,
		reflect.TypeFor[ReportRow](): 3, reflect.TypeFor[Lock](): 2, reflect.TypeFor[Source](): 3, reflect.TypeFor[Pin](): 3,
		reflect.TypeFor[stages.Needs](): 6, reflect.TypeFor[hcl.Range](): 3, reflect.TypeFor[hcl.Pos](): 3,
	} {
		if n := of.NumField(); n != want {
			t.Errorf("%s has %d fields: write them down in a snapshot, and count them here", of, n)
		}
	}
}

// snapshotCatalog has params of types that the usual kinds do not have.
func snapshotCatalog() *stages.Catalog {
	c := testCatalog()
	optional := func(name string, typ cty.Type) stages.Param {
		return stages.Param{Name: name, Type: typ, Optional: true}
	}
	c.Kinds["odd"] = &stages.Kind{
		Name: "odd",
		Params: []stages.Param{
			optional("any", cty.String), optional("map", cty.Map(cty.List(cty.Bool))), optional("list", cty.List(cty.Set(cty.Number))),
			optional("set", cty.Set(cty.Number)), optional("flag", cty.Bool), optional("text", cty.String), optional("number", cty.Number),
			optional("object", cty.Object(map[string]cty.Type{"a": cty.String, "b": cty.List(cty.Number)})),
			optional("pair", cty.Tuple([]cty.Type{cty.Number, cty.String})), optional("texts", cty.Map(cty.String)),
			{Name: "filled", Type: cty.List(cty.Number), Default: cty.ListVal([]cty.Value{cty.NumberIntVal(1), cty.NumberFloatVal(0.1)})},
		},
		Inputs:  []stages.Input{{Name: "inputs", Types: []string{"*"}, Map: true, Optional: true}, {Name: "one", Types: []string{"*"}, Optional: true}},
		Outputs: []stages.Output{{Name: "files", Type: "files"}},
	}
	return c
}

// recipeText is a recipe that no two numbers give alike: most of them are right.
func recipeText(n uint64) (main, module string) {
	rng := rand.New(rand.NewPCG(n, 1))
	pick := func(all ...string) string { return all[rng.IntN(len(all))] }
	value := func() string {
		return pick("1", "-0.1", "1e30", "3.00000000000000000000000000001", "true", `"text"`, `"n${1 + 2}"`, "null", "[]", "{}", "[1, \"a\", null]",
			"{ a = 1, b = [true] }", "toset([3, 1, 2])", "[for i in range(3) : i * 0.5]", "{ for k in [\"x\", \"y\"] : k => { k = k } }",
			"var.number / 3", "local.some", "jsondecode(\"{\\\"a\\\": [1, {}]}\")", "tomap({ a = 1 })", "\"é\\u0000\\n\"", "<<E\nlong\n}\nE\n", "1/0")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "recipe {\n  description = %q\n}\nvariable \"number\" {\n  default = %d\n}\nvariable \"hidden\" {\n  sensitive = true\n  default = \"x\"\n}\nlocals {\n  some = [var.number, %d]\n}\n",
		pick("a", ""), rng.IntN(9), n)
	names := []string{}
	stage := func(b *strings.Builder, name string, inside bool) {
		fmt.Fprintf(b, "stage \"odd\" %q {\n", name)
		each := rng.IntN(3) == 0
		if each {
			fmt.Fprintf(b, "  for_each = %s\n", pick("toset([\"a\", \"b c\"])", "{ x = 1, y = 2 }", "{}"))
		}
		for _, p := range []string{"any", "map", "list", "set", "flag", "text", "number", "object", "pair", "texts", "filled"} {
			switch rng.IntN(5) {
			case 0:
				fits := map[string]string{"set": "[1, 2.5, 1]", "flag": "true", "text": "\"t\"", "number": "7", "any": "\"any\"", "list": "[[1], [2]]", "map": "{ a = [true], b = [] }",
					"object": "{ a = \"x\", b = [1, null] }", "pair": "[1, \"x\"]", "texts": "{ z = \"1\", a = \"2\" }", "filled": "[1]"}[p]
				if rng.IntN(60) == 0 {
					fits = value()
				}
				fmt.Fprintf(b, "  %s = %s\n", p, fits)
			case 1:
				if each && (p == "text" || p == "any") {
					fmt.Fprintf(b, "  %s = each.key\n", p)
				}
			}
		}
		if len(names) > 0 && rng.IntN(2) == 0 {
			fmt.Fprintf(b, "  inputs = { a = try(odd.%s.files, path(\"texts/*\")) }\n", names[rng.IntN(len(names))])
		} else if !inside {
			fmt.Fprintf(b, "  one = %s\n", pick("path(\"texts/a.txt\")", "path(\"**/*.txt\")"))
		}
		fmt.Fprint(b, pick("", "", "  salt = \"s\"\n", "  timeout = \"90s\"\n", "  retries = 0\n", "  needs {\n    cpus = 0.5\n    gpus = \"0-1\"\n  }\n", "  needs {\n    exclusive = true\n    memory_gib = 1.5\n  }\n", "  needs {\n    gpus = 1\n    gpu_memory_gib = 20.5\n  }\n"))
		b.WriteString("}\n")
		if !each {
			names = append(names, name)
		}
	}
	for i := range 1 + rng.IntN(6) {
		stage(&b, fmt.Sprint("s", i), false)
	}
	plain := names
	names = nil
	var m strings.Builder
	m.WriteString("variable \"given\" {\n  default = null\n}\n")
	for i := range 1 + rng.IntN(3) {
		stage(&m, fmt.Sprint("m", i), true)
	}
	fmt.Fprintf(&m, "output \"what\" { value = var.given }\n")
	if rng.IntN(2) == 0 {
		fmt.Fprintf(&b, "module \"q\" {\n  source = \"./modules/quantize.hcl\"\n  given = %s\n%s}\n", value(), pick("", "  for_each = toset([\"k\"])\n"))
	}
	fmt.Fprintf(&b, "output \"v\" {\n  description = \"d\"\n  value = %s\n}\n", value())
	if len(plain) > 0 {
		fmt.Fprintf(&b, "output \"f\" { value = odd.%s.files }\nreport \"r\" {\n  title = \"T\"\n  row \"one\" { stages = [odd.%s] }\n}\n", plain[0], plain[0])
	}
	return b.String(), m.String()
}

// TestSnapshot writes down and restores all recipes that there are, and many made up ones.
func TestSnapshot(t *testing.T) {
	catalog := snapshotCatalog()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "texts"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.txt", "b.txt"} {
		if err := os.WriteFile(filepath.Join(dir, "texts", name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	restored := 0
	for n := range uint64(600) {
		src, module := recipeText(n)
		o := Options{Catalog: catalog}
		if n%3 == 0 {
			o.Set, o.Vars = []string{"odd.s0.text=set"}, map[string]string{"hidden": "a secret thing"}
		}
		r, diags := loadTexts(t, dir, src, module, o)
		if diags.HasErrors() {
			continue
		}
		restored++
		if !restoredSame(t, r, catalog) {
			t.Fatalf("%s cannot be written down", r.Source)
		}
		if packed, _ := r.Snapshot(); strings.Contains(string(packed), "a secret thing") {
			t.Fatal("a sensitive value was written down")
		}
	}
	if restored < 200 {
		t.Errorf("only %d made up recipes were without mistakes", restored)
	}
	r, diags := loadTexts(t, dir, callingRecipe, quantizeModule, Options{Catalog: catalog})
	if diags.HasErrors() {
		t.Fatal(show(r, diags))
	}
	if _, ok := r.Snapshot(); ok {
		t.Error("a recipe with requirements is written down: who would evaluate them?")
	}
	paths, err := filepath.Glob("../../recipes/*.hcl")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	builtin, err := stages.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		r, diags := Load(path, Options{Catalog: builtin})
		if diags.HasErrors() {
			continue // a lock
		}
		if requires := strings.Contains(fmt.Sprintf("%s%s", r.Source, r.Modules), "require "); restoredSame(t, r, builtin) == requires {
			t.Errorf("%s has requirements: %v", path, requires)
		}
	}
}

// FuzzRestore: what is no snapshot is refused, and nothing panics over it.
func FuzzRestore(f *testing.F) {
	catalog := snapshotCatalog()
	dir := f.TempDir()
	for n := range uint64(8) {
		src, _ := recipeText(n)
		path := filepath.Join(dir, fmt.Sprint(n, ".hcl"))
		if err := os.WriteFile(path, []byte(src), 0o644); err != nil {
			f.Fatal(err)
		}
		if r, diags := Load(path, Options{Catalog: catalog}); !diags.HasErrors() {
			packed, _ := r.Snapshot()
			f.Add(string(packed))
		}
	}
	f.Fuzz(func(t *testing.T, packed string) {
		if r, err := Restore(packed, catalog); err == nil {
			r.Texts()
		}
	})
}
