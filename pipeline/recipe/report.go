package recipe

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// reports evaluates the report blocks. What they name is looked up when a report is made: they make no edge.
func (l *loader) reports() {
	for _, b := range l.module.reports {
		if l.full() {
			return
		}
		l.report(b)
	}
}

func (l *loader) report(b *hclsyntax.Block) {
	r := &Report{Name: l.prefix() + b.Labels[0], Range: b.DefRange()}
	var baseline *hclsyntax.Attribute
	for _, a := range attributesInOrder(b.Body) {
		switch a.Name {
		case "title":
			r.Title = l.reportText(a)
		case "description":
			r.Doc = l.reportText(a)
		case "baseline":
			r.Baseline, baseline = l.reportText(a), a
		default:
			l.problem(&a.NameRange, "Unknown attribute", "A report has title, description, baseline and row blocks.%s",
				didYouMean(a.Name, []string{"title", "description", "baseline"}))
		}
	}
	first := map[string]*hclsyntax.Block{}
	var names []string
	for _, nested := range b.Body.Blocks {
		switch {
		case nested.Type != "row":
			l.problem(&nested.TypeRange, "Unexpected block", "A report has row blocks only: row \"NAME\" { stages = [ … ] }.")
			continue
		case len(nested.Labels) != 1:
			l.problem(nested.DefRange().Ptr(), "Wrong number of labels", "Write it as row \"NAME\" { stages = [ … ] }.")
			continue
		}
		name := nested.Labels[0]
		names = append(names, name)
		if before := first[name]; before != nil {
			l.problem(nested.DefRange().Ptr(), "Duplicate row", "row %q stands already in line %d.", name, before.DefRange().Start.Line)
			continue
		}
		first[name] = nested
		if strings.TrimSpace(name) == "" {
			l.problem(&nested.LabelRanges[0], "Not a name", "A row needs a name to be shown by.")
			continue
		}
		if row, ok := l.row(nested); ok {
			r.Rows = append(r.Rows, row)
		}
	}
	if len(names) == 0 {
		l.problem(b.DefRange().Ptr(), "Empty report", "A report needs rows: row \"NAME\" { stages = [gptq.int4] }.")
	}
	if baseline != nil && r.Baseline != "" && first[r.Baseline] == nil {
		l.problem(baseline.Expr.Range().Ptr(), "Unknown row", "The report has no row %q.%s", r.Baseline, didYouMean(r.Baseline, names))
	}
	l.recipe.Reports = append(l.recipe.Reports, r)
}

// reportText evaluates a text of a report; "" after a mistake.
func (l *loader) reportText(a *hclsyntax.Attribute) string {
	at := a.Expr.Range().Ptr()
	v, isBroken, sensitive, reads := marksOf(l.scope.prepare(a.Expr, place{metrics: true}).value(nil))
	switch {
	case isBroken:
		return ""
	case sensitive:
		l.problem(at, "Sensitive value", "A report is shown: %s must not use a sensitive variable.", a.Name)
		return ""
	case len(reads) > 0 && !v.IsWhollyKnown():
		l.problem(at, "Metric outside require", "%s is known only after a run; the report shows it by itself.", metricName(reads[0]))
		return ""
	}
	v, err := convert.Convert(v, cty.String)
	if err != nil || v.IsNull() || !v.IsKnown() {
		l.problem(at, "Wrong type", "%s is a text.", a.Name)
		return ""
	}
	return v.AsString()
}

func (l *loader) row(b *hclsyntax.Block) (ReportRow, bool) {
	l.noBlocks(b.Body, "a row")
	row := ReportRow{Name: b.Labels[0], Range: b.DefRange()}
	var list *hclsyntax.Attribute
	for _, a := range attributesInOrder(b.Body) {
		if a.Name == "stages" {
			list = a
			continue
		}
		l.problem(&a.NameRange, "Unknown attribute", "A row has stages only.%s", didYouMean(a.Name, []string{"stages"}))
	}
	if list == nil {
		l.problem(b.DefRange().Ptr(), "Incomplete row", "A row needs stages, as in stages = [gptq.int4, perplexity.int4].")
		return row, false
	}
	elements, ok := l.elements(list.Expr)
	if !ok {
		return row, false
	}
	seen := map[string]bool{}
	for _, e := range elements {
		for _, addr := range l.stagesIn(e.value, e.at) {
			if !seen[addr] {
				seen[addr] = true
				row.Stages = append(row.Stages, addr)
			}
		}
	}
	return row, true
}

// element is a value with the place it is written at.
type element struct {
	value cty.Value
	at    hcl.Range
}

// elements are those of a list. Where it is written out each has a place, and mistakes, of its own.
func (l *loader) elements(expr hclsyntax.Expression) ([]element, bool) {
	var all []element
	if written, ok := expr.(*hclsyntax.TupleConsExpr); ok && len(written.Exprs) > 0 {
		for _, x := range written.Exprs {
			all = append(all, element{l.scope.prepare(x, place{metrics: true}).value(nil), x.Range()})
		}
		return all, true
	}
	at := expr.Range()
	v, marks := l.scope.prepare(expr, place{metrics: true}).value(nil).Unmark()
	if _, isBroken := marks[brokenMark{}]; isBroken {
		return nil, false
	}
	t := v.Type()
	if !v.IsKnown() || v.IsNull() || !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		l.problem(&at, "Not a list", "stages takes a list of stages: [gptq.int4, perplexity.int4].")
		return nil, false
	}
	for it := v.ElementIterator(); it.Next(); {
		_, one := it.Element()
		all = append(all, element{one, at})
	}
	if len(all) == 0 {
		l.problem(&at, "Empty row", "stages is empty; a row needs one stage at least.")
		return nil, false
	}
	return all, true
}

// stagesIn gives the addresses of a stage instance, or of all that an object or list of them holds.
func (l *loader) stagesIn(v cty.Value, at hcl.Range) []string {
	v, marks := v.Unmark()
	if _, isBroken := marks[brokenMark{}]; isBroken {
		return nil
	}
	wrong := func(hint string) []string {
		l.problem(&at, "Not a stage", "A row takes stages, such as gptq.int4 or gptq.int4[\"g128\"].%s", hint)
		return nil
	}
	t := v.Type()
	switch {
	case t == artifactType && v.IsKnown() && !v.IsNull():
		if a := v.EncapsulatedValue().(*artifact); a.ref != nil {
			return wrong(" This is a port of " + l.local(a.ref.Address) + ".")
		}
		return wrong(" These are files.")
	case !v.IsKnown() || v.IsNull():
		return wrong("")
	case !t.IsObjectType() && !t.IsMapType() && !t.IsTupleType() && !t.IsListType() && !t.IsSetType():
		return wrong("")
	}
	if addr := instanceIn(v); addr != "" {
		return []string{addr}
	}
	var all []string
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		all = append(all, l.stagesIn(e, at)...)
	}
	return all
}

// instanceIn is the address of the instance that a value stands for: an object of its ports and metrics; "" of any
// other value.
func instanceIn(v cty.Value) string {
	if !v.Type().IsObjectType() {
		return ""
	}
	found := ""
	for name, e := range v.AsValueMap() {
		addr := ""
		if e, _ := e.Unmark(); e.Type() == artifactType && e.IsKnown() && !e.IsNull() {
			if a := e.EncapsulatedValue().(*artifact); a.ref != nil && a.ref.Port == name {
				addr = a.ref.Address
			}
		} else if _, _, _, reads := marksOf(e); name == "metrics" && len(reads) > 0 {
			addr = reads[0].Address
		}
		if addr == "" || found != "" && addr != found {
			return ""
		}
		found = addr
	}
	return found
}
