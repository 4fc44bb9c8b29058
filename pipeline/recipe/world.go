package recipe

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// maxChain bounds how many names may wait for one another: evaluation recurses once for each.
const maxChain = 2000

// world is what the scopes of all files share while they are evaluated: what a metric is, and who waits for whom.
type world struct {
	metric   func(MetricRef) cty.Value
	reads    map[string]bool // of measured metrics: the addresses that matter
	trail    []waiting
	measured map[*scope]*scope // of measured metrics: the scope that stands for one of loading
}

// waiting is one name whose evaluation has begun.
type waiting struct {
	name string
	at   hcl.Range
}

// loadingWorld knows no metric yet; the marks tell which ones a value needs.
func loadingWorld() *world {
	return &world{metric: func(r MetricRef) cty.Value {
		return cty.UnknownVal(cty.Number).RefineNotNull().Mark(metricMark{r})
	}}
}

// with is the scope with a run's metrics of some addresses in it. It shares with s all that they do not touch.
func (s *scope) with(metric func(MetricRef) cty.Value, reads map[string]bool, report func(...*hcl.Diagnostic)) *scope {
	w := &world{metric: metric, reads: reads, measured: map[*scope]*scope{}}
	return w.scopeOf(s, report)
}

func (w *world) scopeOf(base *scope, report func(...*hcl.Diagnostic)) *scope {
	if s := w.measured[base]; s != nil {
		return s
	}
	s := &scope{
		world:     w,
		file:      base.file,
		module:    base.module,
		funcs:     base.funcs,
		report:    report,
		full:      func() bool { return false },
		variables: map[string]*memo{},
		locals:    map[string]*memo{},
		outs:      map[string]*memo{},
		sets:      map[*block]*instances{},
		base:      base,
	}
	w.measured[base] = s
	return s
}

// of is the scope of another file in the same world.
func (s *scope) of(l *loader) *scope {
	if s.base == nil {
		return l.scope
	}
	return s.scopeOf(l.scope, s.report)
}

func (s *scope) enter(name string, at hcl.Range) bool {
	if len(s.trail) >= maxChain {
		s.report(problem(&at, "Chain too long", "More than %d locals, for_each, variables and outputs of modules wait for one another here.", maxChain))
		return false
	}
	s.trail = append(s.trail, waiting{name, at})
	return true
}

func (w *world) leave() { w.trail = w.trail[:len(w.trail)-1] }

// cycle tells the whole way round, in the recipe itself where the way leads through it.
func (s *scope) cycle(name string, at hcl.Range) {
	start := 0
	for i, w := range s.trail {
		if w.name == name {
			start = i
		}
	}
	var names []string
	for _, w := range s.trail[start:] {
		if w.at.Filename == s.file.recipe.Path && at.Filename != w.at.Filename {
			at = w.at
		}
		names = append(names, w.name)
	}
	names = append(names, name)
	s.report(problem(&at, "Cycle", "These need one another's values: %s.", strings.Join(names, " → ")))
}
