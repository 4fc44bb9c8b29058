package stages

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

// leaf is the primitive that the checks of a param are about: its type, or the element type of a list, set or map.
// It is cty.NilType for objects and tuples.
func (p *Param) leaf() cty.Type {
	ty := p.Type
	for ty.IsCollectionType() {
		ty = ty.ElementType()
	}
	if ty.IsPrimitiveType() {
		return ty
	}
	return cty.NilType
}

// Required says whether a recipe must give the param.
func (p *Param) Required() bool { return p.Default == cty.NilVal && !p.Optional }

// Check says whether a value of the declared type is allowed. In a list, set or map it holds for each element.
// Its error is a clause that a sentence can end with, and names the nearest right value.
func (p *Param) Check(val cty.Value) error {
	if val == cty.NilVal || val.IsNull() {
		return fmt.Errorf("%s must have a value", p.Name)
	}
	if !val.IsWhollyKnown() {
		return fmt.Errorf("%s is not known when the recipe is read", p.Name)
	}
	if !val.Type().Equals(p.Type) {
		return fmt.Errorf("%s must be a %s, not a %s", p.Name, p.Type.FriendlyName(), val.Type().FriendlyName())
	}
	return p.each(p.Name, val)
}

func (p *Param) each(name string, val cty.Value) error {
	if val.IsNull() {
		if val.Type().IsPrimitiveType() || val.Type().IsCollectionType() {
			return fmt.Errorf("%s must not be null", name)
		}
		return nil
	}
	if val.Type().IsCollectionType() || val.Type().IsObjectType() || val.Type().IsTupleType() {
		for key, element := range val.Elements() {
			if err := p.each(elementName(name, val.Type(), key), element); err != nil {
				return err
			}
		}
		return nil
	}
	if val.Type() == cty.Number {
		if err := representable(name, val); err != nil {
			return err
		}
	}
	if p.leaf() == cty.NilType {
		return nil
	}
	return p.one(name, val)
}

func elementName(name string, ty cty.Type, key cty.Value) string {
	switch {
	case ty.IsSetType():
		return "an element of " + name
	case key.Type() == cty.Number:
		return fmt.Sprintf("%s[%s]", name, key.AsBigFloat().Text('f', 0))
	case ty.IsObjectType():
		return name + "." + key.AsString()
	default:
		return fmt.Sprintf("%s[%q]", name, key.AsString())
	}
}

// representable refuses numbers that JSON readers would not agree on; a key holds them as RFC 8785 writes them.
func representable(name string, val cty.Value) error {
	f := val.AsBigFloat()
	if f.IsInf() {
		return fmt.Errorf("%s must be finite", name)
	}
	if most := big.NewFloat(1 << 53); f.IsInt() && new(big.Float).Abs(f).Cmp(most) > 0 {
		return fmt.Errorf("%s must lie within ±2^53, not %s", name, f.Text('g', 20))
	}
	return nil
}

// one applies the checks to a primitive.
func (p *Param) one(name string, val cty.Value) error {
	if len(p.OneOf) > 0 {
		if err := p.among(name, val); err != nil {
			return err
		}
	}
	switch val.Type() {
	case cty.Number:
		f := float(val)
		if p.Integer && f != math.Trunc(f) {
			return fmt.Errorf("%s must be a whole number, not %s", name, show(val))
		}
		if p.Min != nil && f < *p.Min {
			return fmt.Errorf("%s must be at least %v, not %s", name, *p.Min, show(val))
		}
		if p.Max != nil && f > *p.Max {
			return fmt.Errorf("%s must be at most %v, not %s", name, *p.Max, show(val))
		}
	case cty.String:
		if p.Pattern == "" {
			return nil
		}
		whole, err := regexp.Compile(`^(?:` + p.Pattern + `)$`)
		if err != nil {
			return fmt.Errorf("the pattern of %s: %w", name, err)
		}
		if !whole.MatchString(val.AsString()) {
			return fmt.Errorf("%s must match %s, which %s does not", name, p.Pattern, show(val))
		}
	}
	return nil
}

func (p *Param) among(name string, val cty.Value) error {
	var all []string
	for _, allowed := range p.OneOf {
		if allowed.RawEquals(val) || val.Type() == cty.Number && float(allowed) == float(val) {
			return nil
		}
		all = append(all, show(allowed))
	}
	hint := ""
	if near := p.near(val); near != "" {
		hint = "; did you mean " + near + "?"
	}
	return fmt.Errorf("%s must be one of %s, not %s%s", name, strings.Join(all, ", "), show(val), hint)
}

// near is the allowed value that comes nearest: by letters for a string, by distance for a number.
func (p *Param) near(val cty.Value) string {
	switch val.Type() {
	case cty.String:
		var names []string
		for _, allowed := range p.OneOf {
			names = append(names, allowed.AsString())
		}
		if best := Nearest(val.AsString(), names); best != "" {
			return show(cty.StringVal(best))
		}
	case cty.Number:
		var best cty.Value
		least := math.Inf(1)
		for _, allowed := range p.OneOf {
			if gap := math.Abs(float(allowed) - float(val)); gap < least {
				best, least = allowed, gap
			}
		}
		return show(best)
	}
	return ""
}

// float is a number as a key and a worker see it. HCL's own numbers are wider: its 0.1 is less than a float64's.
func float(val cty.Value) float64 {
	f, _ := val.AsBigFloat().Float64()
	return f
}

// show writes a primitive as a recipe would.
func show(val cty.Value) string {
	switch val.Type() {
	case cty.String:
		return fmt.Sprintf("%q", val.AsString())
	case cty.Number:
		return val.AsBigFloat().Text('g', -1)
	case cty.Bool:
		return fmt.Sprint(val.True())
	}
	return "a " + val.Type().FriendlyName()
}
