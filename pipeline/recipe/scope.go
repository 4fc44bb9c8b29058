package recipe

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// maxChain bounds how many locals and for_each may wait for one another: evaluation recurses once for each.
const maxChain = 2000

// scope evaluates expressions. Locals and for_each are evaluated when something first asks for them, so the order in
// the file means nothing. A stage's value holds references only and so never waits for its params.
type scope struct {
	module    *module
	funcs     map[string]function.Function
	report    func(...*hcl.Diagnostic)
	full      func() bool // enough was reported
	variables map[string]cty.Value
	locals    map[string]*memo
	sets      map[*block]*instances
	trail     []waiting
	metric    func(MetricRef) cty.Value
	base      *scope          // of a scope with measured metrics: the one of loading, read-only by then
	reads     map[string]bool // of such a scope: addresses whose metrics matter
}

type memo struct {
	value   cty.Value
	done    bool
	tainted bool // something in it could not be evaluated
}

// waiting is one name whose evaluation has begun.
type waiting struct {
	name string
	at   hcl.Range
}

func newScope(l *loader, m *module) *scope {
	return &scope{
		module:    m,
		funcs:     functions(l.recipe.Dir),
		report:    l.add,
		full:      l.full,
		variables: map[string]cty.Value{},
		locals:    map[string]*memo{},
		sets:      map[*block]*instances{},
		metric: func(r MetricRef) cty.Value {
			return cty.UnknownVal(cty.Number).RefineNotNull().Mark(metricMark{r})
		},
	}
}

// measured is the scope with a run's metrics of some addresses in it. It shares with s all that they do not touch.
func (s *scope) measured(metric func(MetricRef) cty.Value, reads map[string]bool, report func(...*hcl.Diagnostic)) *scope {
	return &scope{
		module:    s.module,
		funcs:     s.funcs,
		report:    report,
		full:      func() bool { return false },
		variables: s.variables,
		locals:    map[string]*memo{},
		sets:      map[*block]*instances{},
		metric:    metric,
		base:      s,
		reads:     reads,
	}
}

func (s *scope) evaluateLocals() {
	for _, name := range sortedKeys(s.module.locals) {
		if s.full() {
			return
		}
		s.local(name)
	}
}

// local gives a declared local's value.
func (s *scope) local(name string) cty.Value {
	if s.base != nil {
		if m := s.base.locals[name]; m != nil && !readsMetrics(m.value) {
			return m.value
		}
	}
	attr := s.module.locals[name]
	if m := s.locals[name]; m != nil {
		if !m.done {
			s.cycle("local."+name, attr.SrcRange)
		}
		return m.value
	}
	m := &memo{value: broken, tainted: true}
	s.locals[name] = m
	if s.enter("local."+name, attr.SrcRange) {
		m.value = s.prepare(attr.Expr, place{metrics: true}).value(nil)
		_, m.tainted, _, _ = marksOf(m.value)
		s.leave()
	}
	m.done = true
	return m.value
}

func readsMetrics(v cty.Value) bool {
	_, _, _, reads := marksOf(v)
	return len(reads) > 0
}

func (s *scope) enter(name string, at hcl.Range) bool {
	if len(s.trail) >= maxChain {
		s.report(problem(&at, "Chain too long", "More than %d locals and for_each wait for one another here.", maxChain))
		return false
	}
	s.trail = append(s.trail, waiting{name, at})
	return true
}

func (s *scope) leave() { s.trail = s.trail[:len(s.trail)-1] }

// cycle tells the whole way round, at the place where the round begins.
func (s *scope) cycle(name string, at hcl.Range) {
	start := 0
	for i, w := range s.trail {
		if w.name == name {
			start = i
		}
	}
	var names []string
	for _, w := range s.trail[start:] {
		names = append(names, w.name)
	}
	names = append(names, name)
	s.report(problem(&at, "Cycle", "These need one another's values: %s.", strings.Join(names, " → ")))
}

// place says what an expression may refer to beside variables, locals and stages.
type place struct {
	each    bool
	own     *block // whose `metrics` may be read
	metrics bool   // metrics of stages may be part of the value
}

// expression is checked and has its context; instances differ in `each` only.
type expression struct {
	scope  *scope
	expr   hclsyntax.Expression
	ctx    *hcl.EvalContext
	broken bool
	told   bool
	// tainted: it refers to what could not be evaluated. Some operations lose the mark, so the value gets it again.
	tainted bool
}

// prepare checks all names of an expression and evaluates what it refers to.
func (s *scope) prepare(expr hclsyntax.Expression, p place) *expression {
	x := &expression{scope: s, expr: expr}
	refs := hclsyntax.Variables(expr)
	for _, t := range refs {
		if x.broken && s.full() {
			break
		}
		diag, bad := s.check(t, p)
		if diag != nil {
			s.report(diag)
		}
		x.broken = x.broken || bad
	}
	if !x.broken {
		var roots map[string]cty.Value
		roots, x.tainted = s.roots(refs, p)
		x.ctx = &hcl.EvalContext{Variables: roots, Functions: s.funcs}
	}
	return x
}

// value evaluates; a failure is told once and gives the broken value.
func (x *expression) value(each map[string]cty.Value) cty.Value {
	if x.broken {
		return broken
	}
	ctx := x.ctx
	if each != nil {
		ctx = ctx.NewChild()
		ctx.Variables = each
	}
	v, diags := x.expr.Value(ctx)
	if diags.HasErrors() {
		if !x.told {
			x.told = true
			x.scope.report(x.scope.explain(x.expr, ctx, diags)...)
		}
		return broken
	}
	if (x.tainted || isBrokenEach(each)) && !v.IsWhollyKnown() {
		v = v.Mark(brokenMark{})
	}
	return v
}

// roots builds the objects that the references start from, with only what is referred to.
func (s *scope) roots(refs []hcl.Traversal, p place) (values map[string]cty.Value, tainted bool) {
	groups := map[string]map[string]cty.Value{}
	put := func(root, name string, v func() cty.Value) {
		if groups[root] == nil {
			groups[root] = map[string]cty.Value{}
		}
		if _, there := groups[root][name]; !there {
			value := v()
			groups[root][name] = value
			m := s.locals[name]
			tainted = tainted || value.HasMark(brokenMark{}) || root == "local" && m != nil && m.tainted
		}
	}
	for _, t := range refs {
		root := t.RootName()
		switch root {
		case "each":
		case "metrics":
			for _, m := range p.own.kind.Metrics {
				put(root, m.Name, func() cty.Value { return s.metric(MetricRef{Name: m.Name}) })
			}
		case "var":
			name := stepName(t, 1)
			put(root, name, func() cty.Value { return s.variables[name] })
		case "local":
			name := stepName(t, 1)
			put(root, name, func() cty.Value { return s.local(name) })
		default:
			name := stepName(t, 1)
			put(root, name, func() cty.Value { return s.stage(s.module.byID[root+"."+name]) })
		}
	}
	out := make(map[string]cty.Value, len(groups))
	for root, attrs := range groups {
		out[root] = cty.ObjectVal(attrs)
	}
	return out, tainted
}

// stepName is the attribute name at one step of a reference, "" if it is none.
func stepName(t hcl.Traversal, i int) string {
	if i < len(t) {
		if a, ok := t[i].(hcl.TraverseAttr); ok {
			return a.Name
		}
	}
	return ""
}
