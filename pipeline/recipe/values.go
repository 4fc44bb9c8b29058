package recipe

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// VariablePrefix marks environment variables that set a recipe variable.
const VariablePrefix = "TINFRA_VAR_"

// given is a value from outside the recipe, not yet of the variable's type.
type given struct {
	value  cty.Value
	broken bool // the mistake was told
	at     *hcl.Range
}

// setVariables gives every variable its value: --var over --var-file over the environment over the default.
func (l *loader) setVariables() {
	l.fromEnv()
	for _, path := range l.options.VarFiles {
		l.fromFile(path)
	}
	for _, name := range sortedKeys(l.options.Vars) {
		v := l.module.variables[name]
		if v == nil {
			l.problem(nil, "Unknown variable", "--var %s: the recipe has no variable %q.%s", name, name, didYouMean(name, l.module.names))
			continue
		}
		l.given[name] = l.parseValue(v, "--var "+name, l.options.Vars[name])
	}
	l.recipe.Variables = map[string]cty.Value{}
	for _, name := range l.module.names {
		v := l.module.variables[name]
		value := l.valueOf(v)
		if v.sensitive {
			value = value.Mark(sensitiveMark{})
		} else if plain, isBroken, _, _ := marksOf(value); !isBroken {
			l.recipe.Variables[name] = plain
		}
		_, tainted, _, _ := marksOf(value)
		l.scope.variables[name] = &memo{value: value, done: true, tainted: tainted}
	}
	for _, name := range l.module.names {
		l.validate(l.module.variables[name])
	}
}

func (l *loader) valueOf(v *variable) cty.Value {
	g, set := l.given[v.name]
	switch {
	case v.broken || g.broken:
		return broken
	case !set && v.fallback != cty.NilVal:
		return v.fallback
	case !set:
		l.problem(v.header(), "Variable without a value",
			"%q has no default. Give it with --var %s=…, a --var-file or %s%s.%s", v.name, v.name, VariablePrefix, v.name, ofModule(v))
		return broken
	}
	value, err := v.convert(g.value)
	switch {
	case err != nil:
		l.problem(g.at, "Wrong type", "The value of variable %q does not fit its type: %s.", v.name, err)
		return broken
	case value.IsNull() && !v.nullable && v.fallback != cty.NilVal:
		return v.fallback
	case value.IsNull() && !v.nullable:
		l.problem(g.at, "Wrong type", "The value of variable %q is null, and nullable is false.", v.name)
		return broken
	}
	return value
}

// ofModule says what a variable may be for that takes ports, which no flag can give.
func ofModule(v *variable) string {
	if !v.typ.HasDynamicTypes() {
		return ""
	}
	return " A module is checked with the recipe that calls it."
}

func (l *loader) fromEnv() {
	for _, pair := range l.options.Env {
		name, text, ok := strings.Cut(pair, "=")
		if !ok || !strings.HasPrefix(name, VariablePrefix) {
			continue
		}
		if v := l.module.variables[strings.TrimPrefix(name, VariablePrefix)]; v != nil {
			l.given[v.name] = l.parseValue(v, name, text)
		}
	}
}

func (l *loader) fromFile(path string) {
	body, _, diags := parseFile(path, l.recipe.Files, l.options.Reads)
	l.add(diags...)
	if diags.HasErrors() {
		return
	}
	for _, b := range body.Blocks {
		l.problem(&b.TypeRange, "Unexpected block", "A file of variables holds name = value lines only.")
	}
	for _, a := range attributesInOrder(body) {
		if l.module.variables[a.Name] == nil {
			l.problem(&a.NameRange, "Unknown variable", "The recipe has no variable %q.%s", a.Name, didYouMean(a.Name, l.module.names))
			continue
		}
		value, diags := a.Expr.Value(nil)
		l.add(diags...)
		l.given[a.Name] = given{value: value, broken: diags.HasErrors(), at: a.Expr.Range().Ptr()}
	}
}

// parseValue reads a text from the command line or the environment: as it is for the simple types and for a variable
// without a type, as an expression for all others.
func (l *loader) parseValue(v *variable, origin, src string) given {
	if !v.typed || v.typ.IsPrimitiveType() {
		at := l.pseudoFile(origin, src)
		if v.sensitive {
			at = nil
		}
		return given{value: cty.StringVal(src), at: at}
	}
	expr, diags := l.parseExpression(origin, src)
	var value cty.Value
	if !diags.HasErrors() {
		value, diags = expr.Value(nil)
	}
	if v.sensitive {
		for _, d := range diags { // a snippet would show the value
			d.Subject, d.Context, d.Expression, d.EvalContext = nil, nil, nil, nil
			d.Detail = origin + ": " + d.Detail
		}
	}
	l.add(diags...)
	return given{value: value, broken: diags.HasErrors(), at: expr2range(expr, v.sensitive)}
}

func expr2range(e hclsyntax.Expression, hide bool) *hcl.Range {
	if e == nil || hide {
		return nil
	}
	return e.Range().Ptr()
}

// parseExpression parses a text that stands in no file; diagnostics name where it came from.
func (l *loader) parseExpression(origin, src string) (hclsyntax.Expression, hcl.Diagnostics) {
	l.pseudoFile(origin, src)
	if diag := refuse([]byte(src), origin); diag != nil {
		return nil, hcl.Diagnostics{diag}
	}
	return hclsyntax.ParseExpression([]byte(src), origin, hcl.InitialPos)
}

// pseudoFile lets diagnostics show a text of the command line as if it were a file.
func (l *loader) pseudoFile(origin, src string) *hcl.Range {
	if len(src) <= 64<<10 {
		l.recipe.Files[origin] = &hcl.File{Bytes: []byte(src), Body: hcl.EmptyBody()}
	}
	return &hcl.Range{Filename: origin, Start: hcl.InitialPos, End: hcl.Pos{Line: 1, Column: len(src) + 1, Byte: len(src)}}
}
