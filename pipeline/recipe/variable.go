package recipe

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// variable is one variable block.
type variable struct {
	name        string
	src         *hclsyntax.Block
	typ         cty.Type
	typed       bool // type is given; without, a value from the command line is a text
	defaults    *typeexpr.Defaults
	fallback    cty.Value // of typ; cty.NilVal where there is no default
	sensitive   bool
	nullable    bool
	broken      bool // its declaration has a mistake: values are not looked at
	validations []*hclsyntax.Block
}

func (v *variable) header() *hcl.Range { return v.src.DefRange().Ptr() }

var variableAttributes = []string{"type", "default", "description", "sensitive", "nullable"}

func (l *loader) declareVariable(m *module, src *hclsyntax.Block) {
	v := &variable{name: src.Labels[0], src: src, typ: cty.DynamicPseudoType, nullable: true}
	if first := m.variables[v.name]; first != nil {
		l.problem(v.header(), "Duplicate variable", "variable %q stands already in line %d.", v.name, first.header().Start.Line)
		return
	}
	if l.parent != nil && (v.name == "source" || v.name == "for_each") {
		l.problem(v.header(), "Name is taken", "A module block has a %s of its own, so a variable of a module cannot be called %q.", v.name, v.name)
		return
	}
	m.variables[v.name] = v
	m.names = append(m.names, v.name)
	before := len(l.diags)
	for _, a := range attributesInOrder(src.Body) {
		switch a.Name {
		case "type":
			typ, defaults, diags := typeexpr.TypeConstraintWithDefaults(a.Expr)
			l.add(diags...)
			if !diags.HasErrors() {
				v.typ, v.defaults, v.typed = typ, defaults, true
			}
		case "default":
		case "description":
			l.constant(a, cty.String)
		case "sensitive":
			v.sensitive = l.constant(a, cty.Bool).True()
		case "nullable":
			v.nullable = l.constant(a, cty.Bool).True()
		default:
			l.problem(&a.NameRange, "Unknown attribute", "A variable has no %q.%s", a.Name, didYouMean(a.Name, variableAttributes))
		}
	}
	for _, b := range src.Body.Blocks {
		if b.Type != "validation" || len(b.Labels) > 0 {
			l.problem(&b.TypeRange, "Unexpected block", "A variable has validation { … } blocks only.")
			continue
		}
		v.validations = append(v.validations, b)
	}
	v.broken = len(l.diags) > before
	l.setDefault(v)
}

func (l *loader) setDefault(v *variable) {
	a := v.src.Body.Attributes["default"]
	if a == nil || v.broken {
		return
	}
	value, diags := a.Expr.Value(nil)
	l.add(diags...)
	if diags.HasErrors() {
		v.broken = true
		return
	}
	value, err := v.convert(value)
	if err != nil {
		l.problem(a.Expr.Range().Ptr(), "Wrong type", "The default of %q does not fit its type: %s.", v.name, err)
		v.broken = true
		return
	}
	if value.IsNull() && !v.nullable {
		l.problem(a.Expr.Range().Ptr(), "Wrong type", "The default of %q is null, and nullable is false.", v.name)
		v.broken = true
		return
	}
	v.fallback = value
}

func (v *variable) convert(value cty.Value) (cty.Value, error) {
	if v.defaults != nil && !value.IsNull() {
		value = v.defaults.Apply(value)
	}
	return convert.Convert(value, v.typ)
}

// constant evaluates a setting that must be written out; on a mistake it gives the type's zero value.
func (l *loader) constant(a *hclsyntax.Attribute, t cty.Type) cty.Value {
	zero := cty.False
	switch t {
	case cty.String:
		zero = cty.StringVal("")
	case cty.Number:
		zero = cty.Zero
	}
	v, diags := a.Expr.Value(nil)
	l.add(diags...)
	if diags.HasErrors() {
		return zero
	}
	v, err := convert.Convert(v, t)
	if err != nil || v.IsNull() {
		l.problem(a.Expr.Range().Ptr(), "Wrong type", "%s must be a %s.", a.Name, t.FriendlyName())
		return zero
	}
	return v
}

// validate checks a variable's own conditions, once all variables have values.
func (l *loader) validate(v *variable) {
	for _, b := range v.validations {
		for _, a := range attributesInOrder(b.Body) {
			if a.Name != "condition" && a.Name != "error_message" {
				l.problem(&a.NameRange, "Unknown attribute", "A validation has condition and error_message.")
			}
		}
		l.noBlocks(b.Body, "a validation")
		condition, message := b.Body.Attributes["condition"], b.Body.Attributes["error_message"]
		if condition == nil || message == nil {
			l.problem(b.DefRange().Ptr(), "Incomplete validation", "A validation needs condition and error_message.")
			continue
		}
		result := l.scope.prepare(condition.Expr, place{}).value(nil)
		words := l.scope.prepare(message.Expr, place{}).value(nil)
		plain, isBroken, _, reads := marksOf(result)
		if len(reads) > 0 && !isBroken && !plain.IsKnown() {
			l.argumentProblem(v, "Metric outside require", "%s is known only after a run, and variable %q is checked before.", metricName(reads[0]), v.name)
		}
		if isBroken || !plain.IsKnown() {
			continue
		}
		plain, err := convert.Convert(plain, cty.Bool)
		if err != nil || plain.IsNull() {
			l.problem(condition.Expr.Range().Ptr(), "Wrong type", "A condition must be true or false.")
			continue
		}
		if plain.True() {
			continue
		}
		said := "The condition at " + condition.Expr.Range().String() + " is not met."
		if _, _, sensitive, _ := marksOf(words); !sensitive {
			if s, ok := stringOf(words); ok {
				said = s
			}
		}
		l.argumentProblem(v, "Invalid value for variable", "%s (variable %q)", said, v.name)
	}
}

// argumentProblem tells of a variable's value where that is given.
func (l *loader) argumentProblem(v *variable, summary, detail string, args ...any) {
	switch a, set := l.argument(v), l.given[v.name]; {
	case set.at != nil:
		l.problem(set.at, summary, detail, args...)
	case a != nil:
		l.parent.problem(a.Expr.Range().Ptr(), summary, detail, args...)
	default:
		l.problem(v.header(), summary, detail, args...)
	}
}
