package plan

import (
	"bytes"
	"fmt"
	"math/big"
	"slices"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"golang.org/x/text/unicode/norm"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages"
)

// maxInteger is where float64, and so JSON, stops telling neighbouring integers apart.
const maxInteger = 1 << 53

// params is the JSON of a stage's params as its Action holds it: defaults written out, nulls left out, the source
// left out (its pins stand for it).
func params(st *recipe.Stage, lookup func(string) (string, bool)) (map[string]any, hcl.Diagnostics) {
	out := map[string]any{}
	var diags hcl.Diagnostics
	for i := range st.Kind.Params {
		p := &st.Kind.Params[i]
		if p.Source {
			continue
		}
		v, at := value(st, p)
		if v == cty.NilVal || v.IsNull() {
			continue
		}
		got, err := paramJSON(p, v, lookup)
		if err != nil {
			diags = append(diags, problem(at, "Value cannot be recorded", "%s of %s: %s.", p.Name, st.Address, err))
			continue
		}
		out[p.Name] = got
	}
	return out, diags
}

// value is a param as set, else its default; of the declared type, so that a default and the same value written out
// are one.
func value(st *recipe.Stage, p *stages.Param) (cty.Value, hcl.Range) {
	set, ok := st.Params[p.Name]
	v, at := set.Value, set.Range
	if !ok || v == cty.NilVal || v.IsNull() {
		v = p.Default
	}
	if !ok {
		at = st.Range
	}
	if v == cty.NilVal || p.Type == cty.NilType {
		return v, at
	}
	if as, err := convert.Convert(v, p.Type); err == nil {
		v = as
	}
	return v, at
}

func paramJSON(p *stages.Param, v cty.Value, lookup func(string) (string, bool)) (any, error) {
	if !p.Environ {
		return toJSON(v)
	}
	if !v.CanIterateElements() {
		return nil, fmt.Errorf("it must be a list of names of environment variables")
	}
	env := map[string]any{}
	for it := v.ElementIterator(); it.Next(); {
		_, name := it.Element()
		if name.IsNull() || name.Type() != cty.String {
			return nil, fmt.Errorf("names of environment variables must be strings")
		}
		val, ok := lookup(name.AsString())
		if !ok {
			continue
		}
		if !utf8.ValidString(val) || !norm.NFC.IsNormalString(val) {
			return nil, fmt.Errorf("the value of environment variable %s is not UTF-8 in normal form C", name.AsString())
		}
		env[name.AsString()] = val
	}
	return env, nil
}

// toJSON gives the values that JCS takes: map[string]any, []any, string, float64, bool.
func toJSON(v cty.Value) (any, error) {
	ty := v.Type()
	switch {
	case v.IsMarked() || !v.IsKnown():
		return nil, fmt.Errorf("the value is not known before the run")
	case v.IsNull():
		return nil, fmt.Errorf("null cannot be an element of a list")
	case ty == cty.String:
		return stringJSON(v.AsString())
	case ty == cty.Number:
		return numberJSON(v.AsBigFloat())
	case ty == cty.Bool:
		return v.True(), nil
	case ty.IsSetType():
		return setJSON(v)
	case ty.IsListType() || ty.IsTupleType():
		return listJSON(v)
	case ty.IsMapType() || ty.IsObjectType():
		return objectJSON(v)
	}
	return nil, fmt.Errorf("a %s cannot be a param", ty.FriendlyName())
}

func stringJSON(s string) (any, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("text is not UTF-8")
	}
	return norm.NFC.String(s), nil
}

func numberJSON(f *big.Float) (any, error) {
	if f.IsInf() {
		return nil, fmt.Errorf("a number must be finite")
	}
	if new(big.Float).Abs(f).Cmp(big.NewFloat(maxInteger)) > 0 {
		return nil, fmt.Errorf("%s is beyond ±2^53, where JSON numbers are no longer exact; write it as a string",
			f.Text('g', 20))
	}
	n, _ := f.Float64()
	return n, nil
}

func listJSON(v cty.Value) (any, error) {
	out := []any{}
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		j, err := toJSON(e)
		if err != nil {
			return nil, err
		}
		out = append(out, j)
	}
	return out, nil
}

// setJSON sorts by the elements' encoding: cty's own order of a set is not promised to stay.
func setJSON(v cty.Value) (any, error) {
	type element struct {
		value any
		code  []byte
	}
	var all []element
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		j, err := toJSON(e)
		if err != nil {
			return nil, err
		}
		code, err := artifacts.JCS(j)
		if err != nil {
			return nil, err
		}
		all = append(all, element{j, code})
	}
	slices.SortFunc(all, func(a, b element) int { return bytes.Compare(a.code, b.code) })
	all = slices.CompactFunc(all, func(a, b element) bool { return bytes.Equal(a.code, b.code) })
	out := make([]any, len(all))
	for i, e := range all {
		out[i] = e.value
	}
	return out, nil
}

func objectJSON(v cty.Value) (any, error) {
	out := map[string]any{}
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		if e.IsNull() {
			continue
		}
		name, err := stringJSON(k.AsString())
		if err != nil {
			return nil, err
		}
		j, err := toJSON(e)
		if err != nil {
			return nil, err
		}
		out[name.(string)] = j
	}
	return out, nil
}
