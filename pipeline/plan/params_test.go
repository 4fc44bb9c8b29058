package plan

import (
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/zclconf/go-cty/cty"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages"
)

func TestToJSON(t *testing.T) {
	for name, c := range map[string]struct {
		value cty.Value
		want  string
	}{
		"integer":        {cty.NumberIntVal(4), `4`},
		"zero":           {cty.MustParseNumberVal("-0"), `0`},
		"2^53":           {cty.NumberIntVal(1 << 53), `9007199254740992`},
		"-2^53":          {cty.NumberIntVal(-1 << 53), `-9007199254740992`},
		"decimal":        {cty.MustParseNumberVal("0.1"), `0.1`},
		"quotient":       {cty.NumberIntVal(1).Divide(cty.NumberIntVal(3)), `0.3333333333333333`},
		"exact quotient": {cty.NumberIntVal(8).Divide(cty.NumberIntVal(2)), `4`},
		"small":          {cty.MustParseNumberVal("1e-7"), `1e-7`},
		"nfc":            {cty.StringVal("e\u0301"), "\"\u00e9\""},
		"control":        {cty.StringVal("a\u0001\n\"</"), `"a\u0001\n\"</"`},
		"bool":           {cty.True, `true`},
		"list":           {cty.ListVal([]cty.Value{cty.StringVal("b"), cty.StringVal("a")}), `["b","a"]`},
		"empty list":     {cty.ListValEmpty(cty.String), `[]`},
		"set":            {cty.SetVal([]cty.Value{cty.NumberIntVal(10), cty.NumberIntVal(9), cty.NumberIntVal(10)}), `[10,9]`},
		"map":            {cty.MapVal(map[string]cty.Value{"b": cty.Zero, "a": cty.Zero}), `{"a":0,"b":0}`},
		"object with null": {cty.ObjectVal(map[string]cty.Value{"a": cty.NullVal(cty.String), "b": cty.True}),
			`{"b":true}`},
		"tuple": {cty.TupleVal([]cty.Value{cty.True, cty.StringVal("x")}), `[true,"x"]`},
	} {
		j, err := toJSON(c.value)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		b, err := artifacts.JCS(j)
		if err != nil || string(b) != c.want {
			t.Errorf("%s: %s %v, want %s", name, b, err, c.want)
		}
	}
}

func TestToJSONRefuses(t *testing.T) {
	beyond := new(big.Float).SetInt64(1<<53 + 1)
	for name, c := range map[string]struct {
		value cty.Value
		want  string
	}{
		"2^53+1":    {cty.NumberVal(beyond), "beyond ±2^53"},
		"-2^60":     {cty.NumberIntVal(-1 << 60), "beyond ±2^53"},
		"1e300":     {cty.MustParseNumberVal("1e300"), "beyond ±2^53"},
		"infinity":  {cty.PositiveInfinity, "finite"},
		"unknown":   {cty.UnknownVal(cty.String), "not known"},
		"list null": {cty.ListVal([]cty.Value{cty.NullVal(cty.String)}), "null"},
		"no utf-8":  {cty.ListVal([]cty.Value{cty.StringVal("\xff")}), "not UTF-8"},
		"a capsule": {cty.CapsuleVal(cty.Capsule("c", nilType), new(int)), "cannot be a param"},
	} {
		if j, err := toJSON(c.value); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %q", name, j, err, c.want)
		}
	}
}

func TestParams(t *testing.T) {
	kind := &stages.Kind{Name: "k", Params: []stages.Param{
		{Name: "bits", Type: cty.Number, Default: cty.NumberIntVal(4)},
		{Name: "tags", Type: cty.Set(cty.String), Default: cty.SetValEmpty(cty.String)},
		{Name: "limit", Type: cty.Number, Optional: true},
		{Name: "from", Type: cty.String, Source: true},
		{Name: "env", Type: cty.Set(cty.String), Environ: true},
	}}
	st := &recipe.Stage{Address: "k.a", Kind: kind, Params: map[string]recipe.Param{
		"bits": {Value: cty.NullVal(cty.Number)},
		"tags": {Value: cty.TupleVal([]cty.Value{cty.StringVal("b"), cty.StringVal("a"), cty.StringVal("b")})},
		"from": {Value: cty.StringVal("https://example.com/x")},
		"env":  {Value: cty.SetVal([]cty.Value{cty.StringVal("SET"), cty.StringVal("UNSET")})},
	}}
	lookup := func(name string) (string, bool) { return "v", name == "SET" }
	got, diags := params(st, lookup)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	b, err := artifacts.JCS(got)
	if want := `{"bits":4,"env":{"SET":"v"},"tags":["a","b"]}`; err != nil || string(b) != want {
		t.Errorf("%s %v, want %s", b, err, want)
	}
}

var nilType = reflect.TypeFor[int]()
