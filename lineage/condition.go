package lineage

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// ConditionName stands for a condition's file name in diagnostics.
const ConditionName = "condition"

// ConditionError is a condition that its author can mend.
type ConditionError struct {
	Diagnostics hcl.Diagnostics
	File        *hcl.File // for snippets: its name is ConditionName
}

func (e *ConditionError) Error() string { return e.Diagnostics.Error() }

// Condition is an expression that holds for a run or does not, in the syntax of recipes:
//
//	kind == "gptq" && metrics.perplexity < 30 && params.group_size == 64
type Condition struct {
	file  *hcl.File
	expr  hclsyntax.Expression
	named []hcl.Traversal
}

// Names of values that a condition can use, and their types; then those whose members it can use.
var (
	scalars = map[string]cty.Type{
		"kind": cty.String, "address": cty.String, "build": cty.String, "state": cty.String, "key": cty.String,
		"record": cty.String, "builder": cty.String, "worker": cty.String, "env": cty.String, "salt": cty.String,
		"started": cty.String, "ended": cty.String,
		"seconds": cty.Number, "peak_memory": cty.Number, "size": cty.Number,
	}
	spaces = map[string]cty.Type{
		"metrics": cty.Number, "params": cty.DynamicPseudoType, "facts": cty.String, "observed": cty.String, "labels": cty.String,
	}
)

// maxCondition bounds a condition in bytes, and so how deep its brackets can nest.
const maxCondition = 4096

// maxExponentDigits bounds a number: an evaluator takes minutes and gigabytes to write down 1e99999999.
const maxExponentDigits = 3

func hugeNumber(literal []byte) bool {
	_, exponent, _ := strings.Cut(strings.ToLower(string(literal)), "e")
	return len(strings.TrimLeft(exponent, "+-0")) > maxExponentDigits
}

// ParseCondition reads a condition. Whether its metrics and params exist is seen when runs are asked for: the error is a
// *ConditionError either way.
func ParseCondition(text string) (*Condition, error) {
	c := &Condition{file: &hcl.File{Bytes: []byte(text)}}
	if len(text) > maxCondition {
		return nil, c.fail("Condition too long", fmt.Sprintf("It has %d bytes; %d are allowed.", len(text), maxCondition), hcl.Range{Filename: ConditionName})
	}
	tokens, _ := hclsyntax.LexExpression(c.file.Bytes, ConditionName, hcl.InitialPos)
	for _, token := range tokens {
		if token.Type == hclsyntax.TokenNumberLit && hugeNumber(token.Bytes) {
			return nil, c.fail("Number too large", fmt.Sprintf("An exponent has %d digits at most.", maxExponentDigits), token.Range)
		}
	}
	expr, diags := hclsyntax.ParseExpression(c.file.Bytes, ConditionName, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, &ConditionError{diags, c.file}
	}
	c.expr, c.named = expr, expr.Variables()
	for _, t := range c.named {
		if err := c.checkName(t); err != nil {
			return nil, err
		}
	}
	return c, c.checkType()
}

func (c *Condition) fail(summary, detail string, at hcl.Range) error {
	return &ConditionError{hcl.Diagnostics{{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at}}, c.file}
}

func (c *Condition) checkName(t hcl.Traversal) error {
	root := t.RootName()
	if _, ok := scalars[root]; ok {
		return nil
	}
	if _, ok := spaces[root]; ok {
		return nil
	}
	names := append(sortedKeys(scalars), sortedKeys(spaces)...)
	return c.fail("Unknown name", fmt.Sprintf("A run has no %q.%s", root, didYouMean(root, names)), t[0].SourceRange())
}

// checkType evaluates the condition for a run of which nothing is known: what is wrong then is wrong for every run.
func (c *Condition) checkType() error {
	v, diags := c.expr.Value(c.scope(nil))
	if diags.HasErrors() {
		return &ConditionError{diags, c.file}
	}
	if !v.Type().Equals(cty.Bool) && v.Type() != cty.DynamicPseudoType {
		return c.fail("Not a condition", fmt.Sprintf("It must be true or false for each run; this is %s. Compare it with something, as in metrics.perplexity < 30.",
			v.Type().FriendlyName()), c.expr.Range())
	}
	return nil
}

// member is the name that a traversal reads of metrics, params and so on; "" where it takes the whole.
func member(t hcl.Traversal) (space, name string, at hcl.Range) {
	space = t.RootName()
	if _, ok := spaces[space]; !ok || len(t) < 2 {
		return "", "", hcl.Range{}
	}
	switch step := t[1].(type) {
	case hcl.TraverseAttr:
		return space, step.Name, step.SrcRange
	case hcl.TraverseIndex:
		if step.Key.Type() == cty.String && step.Key.IsKnown() && !step.Key.IsNull() {
			return space, step.Key.AsString(), step.SrcRange
		}
	}
	return "", "", hcl.Range{}
}

// didYouMean ends a message: the nearest name, or all where they are few.
func didYouMean(given string, names []string) string {
	const readable = 16
	best, distance := "", len(given)/3+2
	for _, n := range names {
		if d := levenshtein.Distance(given, n, nil); d < distance && d < max(len(n), len(given)) {
			best, distance = n, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf(" Did you mean %s?", best)
	case len(names) == 0 || len(names) > readable:
		return ""
	}
	slices.Sort(names)
	text := " There are:"
	for i, n := range names {
		if i > 0 {
			text += ","
		}
		text += " " + n
	}
	return text + "."
}
