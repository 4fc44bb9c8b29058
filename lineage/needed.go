package lineage

import (
	"math"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// needed is what any run must fulfil that a condition holds for, in SQL, so that the others need not be looked at. It may
// be too generous, never too strict: the condition itself decides.
type needed struct {
	sql  string
	args []any
}

func (c *Condition) needed() []needed {
	if c == nil {
		return nil
	}
	return neededBy(c.expr)
}

func neededBy(e hclsyntax.Expression) []needed {
	switch e := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		return neededBy(e.Expression)
	case *hclsyntax.BinaryOpExpr:
		if e.Op == hclsyntax.OpLogicalAnd {
			return append(neededBy(e.LHS), neededBy(e.RHS)...)
		}
		if n, ok := comparisonNeeds(e.Op, e.LHS, e.RHS); ok {
			return []needed{n}
		}
		if n, ok := comparisonNeeds(mirrored[e.Op], e.RHS, e.LHS); ok {
			return []needed{n}
		}
	}
	return nil
}

// mirrored is the comparison with its sides changed over.
var mirrored = map[*hclsyntax.Operation]*hclsyntax.Operation{
	hclsyntax.OpEqual: hclsyntax.OpEqual, hclsyntax.OpLessThan: hclsyntax.OpGreaterThan, hclsyntax.OpGreaterThan: hclsyntax.OpLessThan,
	hclsyntax.OpLessThanOrEqual: hclsyntax.OpGreaterThanOrEqual, hclsyntax.OpGreaterThanOrEqual: hclsyntax.OpLessThanOrEqual,
}

// comparisonNeeds is for a kind or a metric that stands to the left of a constant.
func comparisonNeeds(op *hclsyntax.Operation, left, right hclsyntax.Expression) (needed, bool) {
	name, ok := left.(*hclsyntax.ScopeTraversalExpr)
	if !ok || op == nil {
		return needed{}, false
	}
	value, diags := right.Value(nil)
	if diags.HasErrors() || !value.IsKnown() || value.IsNull() {
		return needed{}, false
	}
	if len(name.Traversal) == 1 && name.Traversal.RootName() == "kind" && op == hclsyntax.OpEqual && value.Type() == cty.String {
		return needed{"a.kind = ?", []any{value.AsString()}}, true
	}
	space, metric, _ := member(name.Traversal)
	if space != "metrics" || len(name.Traversal) != 2 || value.Type() != cty.Number {
		return needed{}, false
	}
	// The nearest float may lie on either side of the decimal: so equals are let through.
	compare := map[*hclsyntax.Operation]string{
		hclsyntax.OpEqual: "=", hclsyntax.OpLessThan: "<=", hclsyntax.OpLessThanOrEqual: "<=",
		hclsyntax.OpGreaterThan: ">=", hclsyntax.OpGreaterThanOrEqual: ">=",
	}[op]
	bound, _ := value.AsBigFloat().Float64()
	if compare == "" || math.IsInf(bound, 0) {
		return needed{}, false
	}
	return needed{"EXISTS (SELECT 1 FROM json_each(r.metrics) m WHERE m.key = ? AND m.value " + compare + " ?)", []any{metric, bound}}, true
}
