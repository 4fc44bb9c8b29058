package stages

import (
	"math"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// attributes are those of one body; reading one that is wrong adds a diagnostic and gives the zero value.
type attributes struct {
	d     *decoder
	body  *hclsyntax.Body
	where string // "a param block"
	head  hcl.Range
}

// attributes refuses names that are not among the known.
func (d *decoder) attributes(body *hclsyntax.Body, head hcl.Range, where string, known ...string) attributes {
	for _, name := range sortedAttributes(body) {
		if !slices.Contains(known, name) {
			d.add(body.Attributes[name].NameRange, "Unknown attribute", "There is no %q in %s.%s", name, where, didYouMean(name, known))
		}
	}
	return attributes{d: d, body: body, where: where, head: head}
}

func sortedAttributes(body *hclsyntax.Body) []string {
	names := make([]string, 0, len(body.Attributes))
	for name := range body.Attributes {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return body.Attributes[a].SrcRange.Start.Byte - body.Attributes[b].SrcRange.Start.Byte
	})
	return names
}

func (a attributes) has(name string) bool { return a.body.Attributes[name] != nil }

// at is the place of an attribute's value, or of the block's header when it is not there.
func (a attributes) at(name string) hcl.Range {
	if attribute := a.body.Attributes[name]; attribute != nil {
		return attribute.Expr.Range()
	}
	return a.head
}

// value reads a constant of any type; ok is false when there is none.
func (a attributes) value(name string) (cty.Value, bool) {
	attribute := a.body.Attributes[name]
	if attribute == nil {
		return cty.NilVal, false
	}
	val, diags := attribute.Expr.Value(nil)
	a.d.diags = append(a.d.diags, diags...)
	if diags.HasErrors() {
		return cty.NilVal, false
	}
	if val.IsNull() || !val.IsWhollyKnown() {
		a.d.add(a.at(name), "No value", "%s has no value; leave the line out instead.", name)
		return cty.NilVal, false
	}
	return val, true
}

// as reads a constant that must convert to ty.
func (a attributes) as(name string, ty cty.Type) (cty.Value, bool) {
	val, ok := a.value(name)
	if !ok {
		return cty.NilVal, false
	}
	got, err := convert.Convert(val, ty)
	if err != nil {
		a.d.add(a.at(name), "Wrong type", "%s must be %s: %s.", name, friendly(ty), err)
		return cty.NilVal, false
	}
	return got, true
}

func (a attributes) text(name string, required bool) string {
	if val, ok := a.value(name); ok {
		if val.Type() != cty.String {
			a.d.add(a.at(name), "Wrong type", "%s must be a string.", name)
		} else if s := val.AsString(); s != "" || !required {
			return s
		} else {
			a.d.add(a.at(name), "Empty", "%s must not be empty.", name)
		}
	} else if required && !a.has(name) {
		a.d.add(a.head, "Missing attribute", "%s must have %s.", capital(a.where), name)
	}
	return ""
}

func (a attributes) oneOf(name string, required bool, names ...string) string {
	s := a.text(name, required)
	if s != "" && !slices.Contains(names, s) {
		a.d.add(a.at(name), "Unknown value", "%s must be one of %s, not %q.%s", name, strings.Join(names, ", "), s, didYouMean(s, names))
	}
	return s
}

func (a attributes) flag(name string) bool {
	val, ok := a.value(name)
	if ok && val.Type() != cty.Bool {
		a.d.add(a.at(name), "Wrong type", "%s must be true or false.", name)
		return false
	}
	return ok && val.True()
}

func (a attributes) number(name string) *float64 {
	val, ok := a.value(name)
	if !ok {
		return nil
	}
	if val.Type() != cty.Number {
		a.d.add(a.at(name), "Wrong type", "%s must be a number.", name)
		return nil
	}
	f, _ := val.AsBigFloat().Float64()
	if math.IsInf(f, 0) {
		a.d.add(a.at(name), "Out of range", "%s does not fit a 64-bit float.", name)
		return nil
	}
	return &f
}

// texts reads a list of strings; an empty list is not nil.
func (a attributes) texts(name string) []string {
	val, ok := a.as(name, cty.List(cty.String))
	if !ok {
		return nil
	}
	all := []string{}
	for _, element := range val.AsValueSlice() {
		if element.IsNull() || element.AsString() == "" {
			a.d.add(a.at(name), "Empty", "%s holds an empty string.", name)
			continue
		}
		if s := element.AsString(); !slices.Contains(all, s) || name == "command" {
			all = append(all, s)
		} else {
			a.d.add(a.at(name), "Twice", "%s names %q twice.", name, s)
		}
	}
	return all
}

func friendly(ty cty.Type) string {
	switch {
	case ty.IsListType():
		return "a list of " + ty.ElementType().FriendlyName() + "s"
	default:
		return "a " + ty.FriendlyName()
	}
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
