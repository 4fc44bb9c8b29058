package recipe

import (
	"math"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// evaluation is how a Require is evaluated again with metrics in place of unknown numbers.
type evaluation struct {
	scope *scope
	block *block
	key   string
	own   string // address
	set   *instances
}

// compiledRequire is a require block with its names checked.
type compiledRequire struct {
	src                *hclsyntax.Block
	condition, message *expression
	enabled            *expression // nil: it always is
}

func (l *loader) prepareRequire(b *block, src *hclsyntax.Block, each bool) *compiledRequire {
	p := place{each: each, own: b, metrics: true}
	r := &compiledRequire{src: src}
	for _, a := range attributesInOrder(src.Body) {
		x := l.scope.prepare(a.Expr, p)
		switch a.Name {
		case "condition":
			r.condition = x
		case "message":
			r.message = x
		case "enabled":
			r.enabled = x
		default:
			hint := didYouMean(a.Name, []string{"condition", "message", "enabled"})
			if a.Name == "error_message" {
				hint = " Did you mean message?"
			}
			l.problem(&a.NameRange, "Unknown attribute", "A require has condition, message and enabled.%s", hint)
		}
	}
	l.noBlocks(src.Body, "a require block")
	if r.condition == nil {
		l.problem(src.DefRange().Ptr(), "Incomplete require", "A require needs a condition, such as metrics.perplexity < 20.")
		return nil
	}
	return r
}

// enabled tells whether a requirement counts. One that does not is as if it were not there: it is not evaluated, and orders nothing.
func (l *loader) enabled(r *compiledRequire, each map[string]cty.Value) bool {
	if r.enabled == nil {
		return true
	}
	v, isBroken, _, reads := marksOf(r.enabled.value(each))
	at := r.enabled.expr.Range()
	on, err := convert.Convert(v, cty.Bool)
	switch {
	case isBroken:
		return false
	case len(reads) > 0 || !v.IsKnown():
		l.problem(&at, "Not known", "enabled decides before anything runs, so it cannot read a metric: that is what the condition is for.")
		return false
	case err != nil || on.IsNull():
		l.problem(&at, "Wrong type", "enabled must be true or false.")
		return false
	}
	return on.True()
}

// requires evaluates each require with unknown metrics: what the results are marked with is what they read.
func (l *loader) requires(s *Stage, c *compiled, each map[string]cty.Value) {
	for _, r := range c.requires {
		if !l.enabled(r, each) {
			continue
		}
		q := &Require{Condition: r.condition.expr, Range: r.src.DefRange(), Context: r.condition.ctx}
		if each != nil && q.Context != nil {
			q.Context = q.Context.NewChild()
			q.Context.Variables = each
		}
		q.eval = &evaluation{scope: l.scope, block: c.block, key: s.Key, own: s.Address, set: l.scope.instances(c.block)}
		reads := map[MetricRef]bool{}
		condition := r.condition.value(each)
		plain, isBroken, sensitive, marks := marksOf(condition)
		note(reads, marks)
		l.scope.noteStatic(reads, r.condition, each)
		at := r.condition.expr.Range()
		if _, err := convert.Convert(plain, cty.Bool); !isBroken && (err != nil || plain.IsKnown() && plain.IsNull()) {
			l.problem(&at, "Wrong type", "A condition must be true or false.")
		}
		if r.message != nil {
			q.Message = r.message.expr
			words, wordsBroken, wordsSensitive, marks := marksOf(r.message.value(each))
			note(reads, marks)
			l.scope.noteStatic(reads, r.message, each)
			sensitive = sensitive || wordsSensitive
			at := r.message.expr.Range()
			if _, err := convert.Convert(words, cty.String); err != nil && !wordsBroken {
				l.problem(&at, "Wrong type", "A message is a text.")
			}
		}
		if sensitive {
			l.problem(&at, "Sensitive value", "A require must not use a sensitive variable: its message is shown and kept.")
		}
		q.Reads = readsOf(reads, s.Address)
		s.Requires = append(s.Requires, q)
	}
}

func note(reads map[MetricRef]bool, refs []MetricRef) {
	for _, r := range refs {
		reads[r] = true
	}
}

// readsOf writes a stage's own metrics with an empty address, however they were referred to.
func readsOf(reads map[MetricRef]bool, own string) []MetricRef {
	var out []MetricRef
	seen := map[MetricRef]bool{}
	for r := range reads {
		if r.Address == own {
			r.Address = ""
		}
		if !seen[r] {
			seen[r] = true
			out = append(out, r)
		}
	}
	sortReads(out)
	return out
}

// noteStatic adds metrics that are named outright: try() and a short-circuited operator drop an unknown value's marks.
func (s *scope) noteStatic(reads map[MetricRef]bool, x *expression, each map[string]cty.Value) {
	if x.broken {
		return
	}
	ctx := x.ctx
	if each != nil {
		ctx = ctx.NewChild()
		ctx.Variables = each
	}
	_ = hclsyntax.VisitAll(x.expr, func(n hclsyntax.Node) hcl.Diagnostics {
		switch e := n.(type) {
		case *hclsyntax.ScopeTraversalExpr, *hclsyntax.RelativeTraversalExpr, *hclsyntax.IndexExpr:
			if v, diags := e.(hclsyntax.Expression).Value(ctx); !diags.HasErrors() && !v.IsKnown() {
				_, marks := v.Unmark()
				for m := range marks {
					if r, ok := m.(metricMark); ok {
						reads[r.MetricRef] = true
					}
				}
			}
		}
		return nil
	})
}

// Check evaluates the requirement on measured metrics. When it is not met, message says so in the recipe's words.
// A metric that is read and was not measured is a diagnostic. Several goroutines may check at once.
func (q *Require) Check(metrics func(MetricRef) (float64, bool)) (ok bool, message string, diags hcl.Diagnostics) {
	report := func(ds ...*hcl.Diagnostic) { diags = append(diags, ds...) }
	value := func(r MetricRef) cty.Value {
		if q.eval != nil && r.Address == q.eval.own {
			r.Address = ""
		}
		f, known := metrics(r)
		if !known || math.IsNaN(f) || math.IsInf(f, 0) {
			return cty.UnknownVal(cty.Number).Mark(metricMark{r})
		}
		return cty.NumberFloatVal(f)
	}
	condition, words := q.evaluators(value, report)
	plain, isBroken, _, missing := marksOf(condition())
	at := q.Condition.Range()
	switch {
	case isBroken || diags.HasErrors():
		return false, "", diags
	case !plain.IsKnown():
		what := "A value"
		if len(missing) > 0 {
			what = metricName(missing[0])
		}
		return false, "", append(diags, problem(&at, "Metric missing", "%s is not among the metrics that the run reported.", what))
	}
	plain, err := convert.Convert(plain, cty.Bool)
	if err != nil || plain.IsNull() {
		return false, "", append(diags, problem(&at, "Wrong type", "A condition must be true or false."))
	}
	if plain.True() {
		return true, "", nil
	}
	message = "The condition is not met."
	if words != nil {
		said, _, _, _ := marksOf(words())
		if said, err := convert.Convert(said, cty.String); err == nil {
			if text, ok := stringOf(said); ok {
				message = text
			}
		}
	}
	return false, message, diags
}

// evaluators give the two expressions with measured metrics in their scope; words is nil without a message.
func (q *Require) evaluators(metric func(MetricRef) cty.Value, report func(...*hcl.Diagnostic)) (condition, words func() cty.Value) {
	if q.eval == nil {
		ctx := q.Context.NewChild()
		own := map[string]cty.Value{}
		for _, r := range q.Reads {
			if r.Address == "" {
				own[r.Name] = metric(r)
			}
		}
		ctx.Variables = map[string]cty.Value{"metrics": cty.ObjectVal(own)}
		plain := func(e hcl.Expression) func() cty.Value {
			return func() cty.Value {
				v, diags := e.Value(ctx)
				report(diags...)
				return v
			}
		}
		if q.Message != nil {
			words = plain(q.Message)
		}
		return plain(q.Condition), words
	}
	e := q.eval
	reads := map[string]bool{e.own: true}
	for _, r := range q.Reads {
		reads[r.Address] = true
	}
	s := e.scope.with(metric, reads, report)
	p := place{own: e.block, metrics: true, each: !e.set.single}
	with := func(expr hcl.Expression) func() cty.Value {
		return func() cty.Value {
			var each map[string]cty.Value
			if !e.set.single {
				each = map[string]cty.Value{"each": cty.ObjectVal(map[string]cty.Value{
					"key": cty.StringVal(e.key), "value": s.instances(e.block).each[e.key],
				})}
			}
			return s.prepare(expr.(hclsyntax.Expression), p).value(each)
		}
	}
	if q.Message != nil {
		words = with(q.Message)
	}
	return with(q.Condition), words
}
