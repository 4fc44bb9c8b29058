package stages

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// expected are the `# ERROR: text` comments of a fixture, by line. A line may have several.
func expected(text string) map[int][]string {
	all := map[int][]string{}
	for i, line := range strings.Split(text, "\n") {
		for _, found := range strings.Split(line, "# ERROR: ")[1:] {
			all[i+1] = append(all[i+1], strings.TrimSpace(found))
		}
	}
	return all
}

func TestMistakesInAStageFileComeAllAtOnce(t *testing.T) {
	fixtures, err := filepath.Glob("testdata/wrong/*.hcl")
	if err != nil || len(fixtures) < 7 {
		t.Fatalf("%d fixtures, %v", len(fixtures), err)
	}
	for _, name := range fixtures {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			kind, diags := Decode(text, name, strings.TrimSuffix(filepath.Base(name), ".hcl"))
			if kind != nil {
				t.Errorf("decoded to a kind all the same")
			}
			want := expected(string(text))
			for _, d := range diags {
				said := d.Summary + ": " + d.Detail
				if d.Subject == nil || d.Subject.Filename != name {
					t.Errorf("no place: %s", said)
					continue
				}
				line := d.Subject.Start.Line
				i := slices.IndexFunc(want[line], func(w string) bool { return strings.Contains(said, w) })
				if i < 0 {
					t.Errorf("line %d: not expected: %s", line, said)
					continue
				}
				want[line] = slices.Delete(want[line], i, i+1)
			}
			for line, rest := range want {
				for _, text := range rest {
					t.Errorf("line %d: nobody said %q", line, text)
				}
			}
		})
	}
}

// TestTheGuideDecodes keeps the example in docs/stage-kinds.md true.
func TestTheGuideDecodes(t *testing.T) {
	guide, err := os.ReadFile("../docs/stage-kinds.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindSubmatch(guide)
	if block == nil {
		t.Fatal("the guide has no HCL")
	}
	k, diags := Decode(block[1], "stage.hcl", "prune")
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	if k.Needs != (Needs{CPUs: 2, MemoryGiB: 4, GPUsMax: 1}) || len(k.Params) != 4 || len(k.Metrics) != 1 || !k.Input("extra").Map {
		t.Errorf("decoded to %+v", k)
	}
	if p := k.Param("sparsity"); p.Default.RawEquals(cty.NumberIntVal(0)) || *p.Max != 0.95 || p.Required() {
		t.Errorf("sparsity is %+v", p)
	}
	if p := k.Param("layers"); !p.Optional || !p.Type.Equals(cty.List(cty.Number)) {
		t.Errorf("layers is %+v", p)
	}
}

func TestParserIsGuarded(t *testing.T) {
	for name, text := range map[string]string{
		"too large": "doc = \"" + strings.Repeat("x", maxKindFile) + "\"",
		"brackets":  "doc = " + strings.Repeat("[", 20000),
		"templates": "doc = " + strings.Repeat(`"${`, 10000),
		"numbers":   "doc = 1e-0099999999",
		"signs":     "doc = " + strings.Repeat("!", 60000) + "true",
	} {
		if _, diags := Decode([]byte(text), "stage.hcl", "x"); !diags.HasErrors() {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestCheck(t *testing.T) {
	low, high := 0.1, 1.0
	number := func(f string) cty.Value { v, _ := cty.ParseNumberVal(f); return v }
	for _, c := range []struct {
		param Param
		val   cty.Value
		want  string // "" for allowed
	}{
		{Param{Type: cty.Number, Min: &low, Max: &high}, number("0.1"), ""},
		{Param{Type: cty.Number, Min: &low, Max: &high}, number("0.09"), "at least 0.1, not 0.09"},
		{Param{Type: cty.Number}, cty.PositiveInfinity, "must be finite"},
		{Param{Type: cty.Number}, number("9007199254740992"), ""},
		{Param{Type: cty.Number}, number("-9007199254740993"), "within ±2^53"},
		{Param{Type: cty.Number, OneOf: []cty.Value{number("0.3")}}, number("0.1").Add(number("0.2")), ""},
		{Param{Type: cty.Number, OneOf: []cty.Value{number("2"), number("8")}}, number("6"), "one of 2, 8, not 6; did you mean 8?"},
		{Param{Type: cty.String, Pattern: "a|b"}, cty.StringVal("ab"), "must match"},
		{Param{Type: cty.String, Pattern: "a|b"}, cty.StringVal("b"), ""},
		{Param{Type: cty.String}, cty.NullVal(cty.String), "must have a value"},
		{Param{Type: cty.String}, cty.UnknownVal(cty.String), "not known"},
		{Param{Type: cty.String}, cty.True, "must be a string, not a bool"},
		{Param{Type: cty.Map(cty.Number), Integer: true}, cty.MapVal(map[string]cty.Value{"k": number("1.5")}), `x["k"] must be a whole number`},
		{Param{Type: cty.Set(cty.Number), Integer: true}, cty.SetVal([]cty.Value{number("1.5")}), "an element of x"},
		{Param{Type: cty.List(cty.String)}, cty.ListVal([]cty.Value{cty.NullVal(cty.String)}), "x[0] must not be null"},
		{Param{Type: cty.Object(map[string]cty.Type{"a": cty.Number})}, cty.ObjectVal(map[string]cty.Value{"a": cty.NegativeInfinity}), "x.a must be finite"},
	} {
		c.param.Name = "x"
		err := c.param.Check(c.val)
		if c.want == "" && err != nil {
			t.Errorf("%#v is refused: %v", c.val, err)
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%#v: %v, which does not say %q", c.val, err, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	fixtures, _ := filepath.Glob("testdata/wrong/*.hcl")
	kinds, _ := filepath.Glob("*/stage.hcl")
	for _, name := range append(fixtures, kinds...) {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, filepath.Base(filepath.Dir(name)))
	}
	f.Fuzz(func(t *testing.T, text []byte, dir string) {
		kind, diags := Decode(text, "stage.hcl", dir)
		if (kind == nil) != diags.HasErrors() {
			t.Fatalf("%v, %v", kind, diags)
		}
		for _, d := range diags {
			if d.Severity == hcl.DiagError && d.Subject == nil {
				t.Fatalf("no place: %v", d)
			}
		}
		if kind == nil {
			return
		}
		for i := range kind.Params {
			if p := &kind.Params[i]; p.Default != cty.NilVal && p.Check(p.Default) != nil {
				t.Fatalf("the default of %s is not allowed", p.Name)
			}
		}
	})
}
