package recipe

import (
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

func (l *loader) parseOverrides() {
	for _, set := range l.options.Set {
		origin := "--set " + set
		at := l.pseudoFile(origin, set)
		target, text, ok := cutAssignment(set)
		if !ok {
			l.problem(at, "Invalid --set", "Write --set STAGE.PARAM=VALUE, as in --set gptq.int4.bits=2.")
			continue
		}
		if o := l.parseTarget(target, at); o != nil {
			o.text, o.at = strings.TrimSpace(text), at
			l.sets = append(l.sets, o)
		}
	}
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

func (l *loader) parseTarget(target string, at *hcl.Range) *override {
	t, diags := hclsyntax.ParseTraversalAbs([]byte(target), at.Filename, hcl.InitialPos)
	if diags.HasErrors() || len(t) < 3 || len(t) > 4 || stepName(t, 1) == "" || stepName(t, len(t)-1) == "" {
		l.problem(at, "Invalid --set", "%q is no stage and param. Write gptq.int4.bits=2, or gptq.int4[\"g128\"].bits=2 for one instance.", target)
		return nil
	}
	id := t.RootName() + "." + stepName(t, 1)
	o := &override{block: l.module.byID[id], all: len(t) == 3, param: stepName(t, len(t)-1)}
	if o.block == nil {
		l.problem(at, "Unknown stage", "There is no stage %s.%s", id, didYouMean(id, l.module.ids()))
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
	step, isIndex := t[2].(hcl.TraverseIndex)
	if key, ok := stringOf(step.Key); isIndex && ok {
		o.key = key
	}
	if _, there := set.each[o.key]; !there {
		l.problem(at, "No such instance", "%s has no instance %q.%s", id, o.key, didYouMean(o.key, set.keys))
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
