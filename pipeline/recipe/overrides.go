package recipe

import (
	"cmp"
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
	counts       bool // some for_each must be evaluated to find out what it names
	at           *hcl.Range
}

// parseOverrides finds what each --set means. Variables of modules come first: they may decide which instances there are
// to be named. Among them those that need no for_each to be found are first, then outer ones before inner ones.
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
		all = append(all, assignment{target, strings.TrimSpace(text), steps, len(behindModules(steps)) == 1, l.countsOn(steps), at})
	}
	rank := func(a assignment) int { // of params none: the last of several wins
		switch {
		case !a.variable:
			return 1 << 20
		case a.counts:
			return 1<<16 + len(a.steps)
		}
		return len(a.steps)
	}
	slices.SortStableFunc(all, func(a, b assignment) int { return cmp.Compare(rank(a), rank(b)) })
	for _, a := range all {
		l.assign(a)
	}
}

// countsOn says whether a module on the way that steps go has for_each.
func (l *loader) countsOn(steps []targetStep) bool {
	for len(steps) >= 2 && steps[0].name == "module" {
		c := l.module.calls[steps[1].name]
		switch {
		case c == nil:
			return false // told when it is followed
		case c.forEach() != nil:
			return true
		}
		if l = l.scope.children(c)[""]; l == nil {
			return false
		}
		steps = steps[2:]
	}
	return false
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
	at, origin := a.at, a.at.Filename+" (value)"
	if v.sensitive { // the name of the pseudo file holds the value
		at, origin = v.header(), "--set "+a.target
	}
	if l.scope.variables[name] != nil {
		l.problem(at, "--set comes too late", "%s decides which instances there are that another --set names. Give it before that one.", a.target)
		return
	}
	l.given[name] = l.parseValue(v, origin, a.text)
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
