package recipe

import (
	"slices"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// checkArguments compares what a call gives with the variables of the module.
func (l *loader) checkArguments(c *call, set *instances, children map[string]*loader) {
	for _, a := range attributesInOrder(c.src.Body) {
		switch {
		case a.Name == "for_each" || a.Name == "source":
			continue
		case !slices.Contains(c.file.variables, a.Name):
			l.problem(&a.NameRange, "Unknown variable", "%s has no variable %q.%s", c.file.path, a.Name, argumentHint(a.Name, c.file))
		}
		x := l.scope.given(c, a)
		if set.broken || !set.single && len(set.keys) == 0 {
			x.value(noEach(c))
		}
	}
	for _, name := range c.file.variables {
		doc, required := c.file.required[name]
		set := len(children) > 0 // by --set, in all of them
		for _, child := range children {
			_, given := child.given[name]
			set = set && given
		}
		if required && !set && c.src.Body.Attributes[name] == nil {
			l.problem(c.header(), "Missing variable", "%s needs %s.%s", c.file.path, name, docOf(doc))
		}
	}
}

func argumentHint(name string, f *moduleFile) string {
	switch name {
	case "depends_on":
		return " A reference to a port is the edge: a stage runs after those whose ports it takes."
	case "count":
		return " Use for_each over a map or a set of strings."
	case "providers":
		return " Stage kinds are the same in all files."
	case "version":
		return " A module is a file beside the recipe; it has the recipe's version."
	}
	if len(f.variables) == 0 {
		return " It has none."
	}
	return didYouMean(name, f.variables)
}

// given is the expression that a call gives to a variable.
func (s *scope) given(c *call, a *hclsyntax.Attribute) *expression {
	p := place{each: c.forEach() != nil, metrics: true}
	if s.base != nil {
		return s.prepare(a.Expr, p)
	}
	if c.prepared[a.Name] == nil {
		c.prepared[a.Name] = s.prepare(a.Expr, p)
	}
	return c.prepared[a.Name]
}

// each is what `each` means in one instance of a block; nil where it has no for_each.
func (s *scope) each(b *block, key string) map[string]cty.Value {
	set := s.instances(b)
	switch {
	case set.single:
		return nil
	case set.broken:
		return map[string]cty.Value{"each": brokenEach}
	}
	return map[string]cty.Value{"each": cty.ObjectVal(map[string]cty.Value{
		"key": cty.StringVal(key), "value": set.each[key],
	})}
}

// variable is the value of a declared variable: of the recipe as it was set, of a module as its call gives it.
func (s *scope) variable(name string) *memo {
	l := s.file
	if l.parent == nil {
		return l.scope.variables[name]
	}
	v := s.module.variables[name]
	at := *v.header()
	if a := l.argument(v); a != nil {
		at = a.SrcRange
	}
	return s.once("var."+name, at, name, (*scope).variableMemos, func() cty.Value {
		var value cty.Value
		if _, set := l.given[name]; set {
			value = l.valueOf(v)
		} else {
			value = s.of(l.parent).argumentValue(l, v)
		}
		if v.sensitive {
			value = value.Mark(sensitiveMark{})
		}
		return value
	})
}

// argument is where the call gives a value to a variable; nil where it does not.
func (l *loader) argument(v *variable) *hclsyntax.Attribute {
	if l.call == nil {
		return nil
	}
	return l.call.src.Body.Attributes[v.name]
}

// argumentValue evaluates in the caller's scope what a module's variable is given there.
func (s *scope) argumentValue(child *loader, v *variable) cty.Value {
	a := child.argument(v)
	switch {
	case v.broken:
		return broken
	case a == nil && v.fallback != cty.NilVal:
		return v.fallback
	case a == nil:
		return broken // told where the call stands
	}
	c, at := child.call, a.Expr.Range().Ptr()
	given := s.given(c, a).value(s.each(c.block, child.key))
	value, err := v.convert(given)
	switch {
	case err != nil && holds(given, secretType):
		s.report(problem(at, "Wrong type", "A secret can be given to a variable of type any only, and variable %q is a %s.", v.name, v.typ.FriendlyNameForConstraint()))
	case err != nil:
		s.report(problem(at, "Wrong type", "The value of variable %q does not fit its type: %s.", v.name, err))
	case !value.IsNull() || v.nullable:
		return value
	case v.fallback != cty.NilVal:
		return v.fallback
	default:
		s.report(problem(at, "Wrong type", "The value of variable %q is null, and nullable is false.", v.name))
	}
	return broken
}
