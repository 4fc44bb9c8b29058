package recipe

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// scope evaluates expressions. Locals and for_each are evaluated when something first asks for them, so the order in
// the file means nothing. A stage's value holds references only and so never waits for its params.
type scope struct {
	*world
	file      *loader
	module    *module
	funcs     map[string]function.Function
	report    func(...*hcl.Diagnostic)
	full      func() bool // enough was reported
	variables map[string]*memo
	locals    map[string]*memo
	outs      map[string]*memo // outputs of a module
	sets      map[*block]*instances
	base      *scope // of a scope with measured metrics: the one of loading, read-only by then
}

type memo struct {
	value   cty.Value
	done    bool
	tainted bool // something in it could not be evaluated
}

func newScope(l *loader, m *module) *scope {
	return &scope{
		world:     l.world,
		file:      l,
		module:    m,
		funcs:     functions(l.dir, l.options.Reads, l.options.Without...),
		report:    l.add,
		full:      l.full,
		variables: map[string]*memo{},
		locals:    map[string]*memo{},
		outs:      map[string]*memo{},
		sets:      map[*block]*instances{},
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
func (s *scope) local(name string) *memo {
	attr := s.module.locals[name]
	return s.once("local."+name, attr.SrcRange, name, (*scope).localMemos, func() cty.Value {
		return s.prepare(attr.Expr, place{metrics: true}).value(nil)
	})
}

func (s *scope) localMemos() map[string]*memo    { return s.locals }
func (s *scope) variableMemos() map[string]*memo { return s.variables }
func (s *scope) outputMemos() map[string]*memo   { return s.outs }

// once evaluates what has a name, when it is first asked for. A scope with metrics takes over what they do not touch.
func (s *scope) once(called string, at hcl.Range, name string, in func(*scope) map[string]*memo, evaluate func() cty.Value) *memo {
	if s.base != nil {
		if m := in(s.base)[name]; m != nil && !readsMetrics(m.value) {
			return m
		}
	}
	called = s.file.prefix() + called
	if m := in(s)[name]; m != nil {
		if !m.done {
			s.cycle(called, at)
		}
		return m
	}
	m := &memo{value: broken, tainted: true}
	in(s)[name] = m
	if s.enter(called, at) {
		m.value = evaluate()
		_, m.tainted, _, _ = marksOf(m.value)
		s.leave()
	}
	m.done = true
	return m
}

func readsMetrics(v cty.Value) bool {
	_, _, _, reads := marksOf(v)
	return len(reads) > 0
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
	if !v.IsKnown() && !v.IsMarked() { // try() and can() lose the marks
		reads := map[MetricRef]bool{}
		x.scope.noteStatic(reads, x, each)
		for r := range reads {
			v = v.Mark(metricMark{r})
		}
	}
	return v
}

// roots builds the objects that the references start from, with only what is referred to.
func (s *scope) roots(refs []hcl.Traversal, p place) (values map[string]cty.Value, tainted bool) {
	groups := map[string]map[string]cty.Value{}
	put := func(root, name string, v func() *memo) {
		if groups[root] == nil {
			groups[root] = map[string]cty.Value{}
		}
		if _, there := groups[root][name]; !there {
			m := v()
			groups[root][name] = m.value
			tainted = tainted || m.tainted || m.value.HasMark(brokenMark{})
		}
	}
	for _, t := range refs {
		root, name := t.RootName(), stepName(t, 1)
		switch root {
		case "each":
		case "metrics":
			for _, m := range p.own.kind.Metrics {
				put(root, m.Name, func() *memo { return &memo{value: s.metric(MetricRef{Name: m.Name})} })
			}
		case "var":
			put(root, name, func() *memo { return s.variable(name) })
		case "local":
			put(root, name, func() *memo { return s.local(name) })
		case "module":
			put(root, name, func() *memo { return s.called(s.module.calls[name], refs) })
		default:
			put(root, name, func() *memo { return &memo{value: s.stage(s.module.byID[root+"."+name])} })
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
