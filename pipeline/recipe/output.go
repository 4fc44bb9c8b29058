package recipe

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// outputs evaluates the output blocks. An object of ports gives one Output a port, named name["key"].
func (l *loader) outputs() {
	for _, b := range l.module.outputs {
		doc, value := l.outputAttributes(b)
		if value == nil {
			continue
		}
		v := l.scope.prepare(value.Expr, place{metrics: true}).value(nil)
		l.output(Output{Name: b.Labels[0], Doc: doc, Range: b.DefRange()}, v, value.Expr.Range().Ptr())
	}
}

// outputAttributes checks what stands in an output block. value is nil where it has none, which is told.
func (l *loader) outputAttributes(b *hclsyntax.Block) (doc string, value *hclsyntax.Attribute) {
	l.noBlocks(b.Body, "an output")
	for _, a := range attributesInOrder(b.Body) {
		switch a.Name {
		case "value":
			value = a
		case "description":
			doc = l.constant(a, cty.String).AsString()
		default:
			l.problem(&a.NameRange, "Unknown attribute", "An output has value and description.%s",
				didYouMean(a.Name, []string{"value", "description"}))
		}
	}
	if value == nil {
		l.problem(b.DefRange().Ptr(), "Incomplete output", "An output needs a value, such as gptq.int4.model.")
	}
	return doc, value
}

func (l *loader) output(o Output, v cty.Value, at *hcl.Range) {
	plain, isBroken, sensitive, reads := marksOf(v)
	switch {
	case isBroken:
		return
	case holds(plain, secretType):
		l.problem(at, "Secret in an output", "A secret cannot be an output.")
		return
	case sensitive:
		l.problem(at, "Sensitive value", "A sensitive variable cannot be part of an output.")
		return
	case holds(plain, artifactType):
		l.ports(o, plain, at)
		return
	case !plain.IsWhollyKnown() && len(reads) > 0:
		l.problem(at, "Metric outside require", "%s is known only after a run, and every build shows its stages' metrics. An output is a port or a plain value.", metricName(reads[0]))
		return
	case !plain.IsWhollyKnown():
		return
	}
	o.Value = plain
	l.recipe.Outputs = append(l.recipe.Outputs, &o)
}

func (l *loader) ports(o Output, v cty.Value, at *hcl.Range) {
	t := v.Type()
	switch {
	case t == artifactType:
		a := v.EncapsulatedValue().(*artifact)
		if a.files != nil {
			l.problem(at, "Not an output", "These are files of this folder already; an output is a port of a stage.")
			return
		}
		o.Ref = a.ref
		l.recipe.Outputs = append(l.recipe.Outputs, &o)
	case t.IsObjectType() || t.IsMapType():
		all := v.AsValueMap()
		for _, key := range sortedKeys(all) {
			one := o
			one.Name = o.Name + "[" + quoted(key) + "]"
			element := all[key]
			switch {
			case holds(element, artifactType):
				l.ports(one, element, at)
			case key == "metrics" && element.Type().IsObjectType(): // of a whole stage
			case !element.IsWhollyKnown():
				l.problem(at, "Metric outside require", "%q is known only after a run. An output is a port or a plain value.", key)
			case !element.IsNull():
				one.Value = element
				l.recipe.Outputs = append(l.recipe.Outputs, &one)
			}
		}
	default:
		l.problem(at, "Ports without names", "Ports in an output need names: { a = …, b = … }.")
	}
}
