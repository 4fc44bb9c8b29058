package recipe

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// override is one --set: a param of one instance, or of all instances of a block.
type override struct {
	block *block
	all   bool
	key   string
	param string
	text  string
	at    *hcl.Range
	expr  *expression // nil where the text itself is the value
	ready bool
}

// assignment is one --set taken apart.
type assignment struct {
	target, text string
	steps        []targetStep
	variable     bool // of a module
	at           *hcl.Range
}

// parseOverrides finds what each --set means. Variables of modules come first, outer ones before inner ones: they may
// decide which instances there are to be named.
func (l *loader) parseOverrides() {
	var all []assignment
	for _, set := range l.options.Set {
		at := l.pseudoFile("--set "+set, set)
		target, text, ok := cutAssignment(set)
		if !ok {
			l.problem(at, "Invalid --set", "Write --set STAGE.PARAM=VALUE, as in --set gptq.int4.bits=2.")
			continue
		}
		t, diags := hclsyntax.ParseTraversalAbs([]byte(target), at.Filename, hcl.InitialPos)
		if diags.HasErrors() {
			l.invalidSet(target, at)
			continue
		}
		steps := targetSteps(t)
		all = append(all, assignment{target, strings.TrimSpace(text), steps, len(behindModules(steps)) == 1, at})
	}
	slices.SortStableFunc(all, func(a, b assignment) int {
		switch {
		case a.variable && b.variable:
			return len(a.steps) - len(b.steps)
		case a.variable:
			return -1
		case b.variable:
			return 1
		}
		return 0
	})
	for _, a := range all {
		l.assign(a)
	}
}

func (l *loader) invalidSet(target string, at *hcl.Range) {
	l.problem(at, "Invalid --set", "%q is no stage and param. Write gptq.int4.bits=2, or gptq.int4[\"g128\"].bits=2 for one instance.", target)
}

// cutAssignment splits at the first = that is not inside a quoted instance key.
func cutAssignment(s string) (target, text string, ok bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '=' && !quoted:
			return strings.TrimSpace(s[:i]), s[i+1:], true
		}
	}
	return "", "", false
}

// targetStep is one part of what --set names.
type targetStep struct {
	name  string // of an attribute
	key   string // in brackets
	index bool
}

func targetSteps(t hcl.Traversal) []targetStep {
	steps := []targetStep{{name: t.RootName()}}
	for i := 1; i < len(t); i++ {
		if at, ok := t[i].(hcl.TraverseIndex); ok {
			key, _ := stringOf(at.Key)
			steps = append(steps, targetStep{key: key, index: true})
			continue
		}
		steps = append(steps, targetStep{name: stepName(t, i)})
	}
	return steps
}

// behindModules skips the modules that a target begins with.
func behindModules(steps []targetStep) []targetStep {
	for len(steps) >= 2 && steps[0].name == "module" {
		if steps = steps[2:]; len(steps) > 0 && steps[0].index {
			steps = steps[1:]
		}
	}
	return steps
}

// assign finds the blocks that a --set means: a module with for_each has one for each of its instances.
func (l *loader) assign(a assignment) {
	files := []*loader{l}
	own := behindModules(a.steps)
	for rest := a.steps; len(rest) > len(own); {
		files = l.modulesNamed(files, rest, a.at)
		if rest = rest[2:]; len(rest) > 0 && rest[0].index {
			rest = rest[1:]
		}
	}
	last := len(own) - 1
	switch {
	case a.variable && len(own) < len(a.steps) && own[0].name != "":
		for _, file := range files {
			file.setVariable(own[0].name, a)
		}
		return
	case last < 2 || last > 3 || own[0].name == "" || own[1].name == "" || own[last].name == "" || last == 3 && !own[2].index:
		l.invalidSet(a.target, a.at)
		return
	}
	for _, file := range files {
		if o := file.stageParam(own, a.at); o != nil {
			o.text, o.at = a.text, a.at
			l.sets = append(l.sets, o)
		}
	}
}

// setVariable gives a module's variable another value than its call does.
func (l *loader) setVariable(name string, a assignment) {
	v := l.module.variables[name]
	if v == nil {
		l.problem(a.at, "Unknown variable", "%s has no variable %q.%s", l.path, name, didYouMean(name, l.module.names))
		return
	}
	l.given[name] = l.parseValue(v, a.at.Filename+" (value)", a.text)
}

// modulesNamed goes from files to the modules that they call by the name, and the key, at the beginning of steps.
func (l *loader) modulesNamed(files []*loader, steps []targetStep, at *hcl.Range) []*loader {
	var all []*loader
	for _, file := range files {
		c := file.module.calls[steps[1].name]
		if c == nil {
			l.problem(at, "Unknown module", "There is no module %s.%s", file.prefix()+"module."+steps[1].name,
				didYouMean(steps[1].name, sortedKeys(file.module.calls)))
			continue
		}
		children := file.scope.children(c)
		if len(steps) < 3 || !steps[2].index {
			for _, key := range sortedKeys(children) {
				all = append(all, children[key])
			}
			continue
		}
		child := children[steps[2].key]
		if child == nil && children != nil {
			l.problem(at, "No such instance", "%s has no instance %q.%s", c.full, steps[2].key, didYouMean(steps[2].key, file.scope.instances(c.block).keys))
		}
		if child != nil {
			all = append(all, child)
		}
	}
	return all
}

// stageParam is the param of a stage, or of one instance, in this file.
func (l *loader) stageParam(steps []targetStep, at *hcl.Range) *override {
	id := steps[0].name + "." + steps[1].name
	o := &override{block: l.module.byID[id], all: len(steps) == 3, param: steps[len(steps)-1].name}
	if o.block == nil {
		l.problem(at, "Unknown stage", "There is no stage %s.%s", l.prefix()+id, didYouMean(id, l.module.ids()))
		return nil
	}
	if o.block.kind == nil {
		return nil
	}
	if o.block.kind.Param(o.param) == nil {
		var names []string
		for _, p := range o.block.kind.Params {
			names = append(names, p.Name)
		}
		l.problem(at, "Unknown param", "%s has no param %q.%s", o.block.used, o.param, didYouMean(o.param, names))
		return nil
	}
	if o.all {
		return o
	}
	set := l.scope.instances(o.block)
	if set.broken {
		return nil
	}
	o.key = steps[2].key
	if _, there := set.each[o.key]; !there {
		l.problem(at, "No such instance", "%s has no instance %q.%s", o.block.full, o.key, didYouMean(o.key, set.keys))
		return nil
	}
	return o
}

func (l *loader) overrides(b *block) map[string][]*override {
	found := map[string][]*override{}
	for _, o := range l.sets {
		if o.block == b {
			found[o.param] = append(found[o.param], o)
		}
	}
	return found
}

// overriding evaluates the value of a --set. For a param that takes a text it is the text, quotes or not.
func (l *loader) overriding(o *override, c *compiled, each map[string]cty.Value, hasEach bool) cty.Value {
	if c.kind.Param(o.param).Type == cty.String && !strings.HasPrefix(o.text, `"`) {
		return cty.StringVal(o.text)
	}
	if !o.ready {
		o.ready = true
		expr, diags := l.parseExpression(o.at.Filename+" (value)", o.text)
		if diags.HasErrors() {
			l.add(diags...)
		} else {
			o.expr = l.scope.prepare(expr, place{each: hasEach, metrics: true})
		}
	}
	if o.expr == nil {
		return broken
	}
	return o.expr.value(each)
}
