package recipe

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/Ruihan11/tiny-infra/stages"
)

// compiled is a stage block with its names checked, ready to be evaluated for each instance.
type compiled struct {
	*block
	expressions map[string]*expression // params, inputs, secrets and meta attributes but for_each
	ranges      map[string]*hcl.Range
	overridden  map[string][]*override
	needs       []*compiledNeed
	requires    []*compiledRequire
}

// compile checks one block and adds its instances to the recipe. A block of an unknown kind, or one whose for_each is
// broken, is evaluated all the same, for the mistakes in it.
func (l *loader) compile(b *block) {
	set := l.scope.instances(b)
	c := l.prepare(b, !set.single)
	if set.broken || b.kind == nil {
		l.evaluate(c, set, "", map[string]cty.Value{"each": brokenEach}, false)
		return
	}
	if set.single {
		if s := l.evaluate(c, set, "", nil, true); s != nil {
			l.recipe.Stages = append(l.recipe.Stages, s)
		}
		return
	}
	for _, key := range set.keys {
		each := map[string]cty.Value{"each": cty.ObjectVal(map[string]cty.Value{
			"key": cty.StringVal(key), "value": set.each[key],
		})}
		if s := l.evaluate(c, set, key, each, true); s != nil {
			l.recipe.Stages = append(l.recipe.Stages, s)
		}
	}
	if len(set.keys) == 0 {
		l.evaluate(c, set, "", map[string]cty.Value{"each": brokenEach}, false)
	}
}

// prepare sorts out a block's attributes and nested blocks, and checks the names in them.
func (l *loader) prepare(b *block, each bool) *compiled {
	c := &compiled{block: b, expressions: map[string]*expression{}, ranges: map[string]*hcl.Range{}}
	c.overridden = l.overrides(b)
	for _, a := range attributesInOrder(b.src.Body) {
		if a.Name == "for_each" || l.full() {
			continue
		}
		if diag := unknownAttribute(b, a); diag != nil {
			l.add(diag)
			b.bad[a.Name] = true
		}
		c.expressions[a.Name] = l.scope.prepare(a.Expr, place{each: each, metrics: true})
		c.ranges[a.Name] = &a.SrcRange
	}
	seenNeeds := false
	for _, nested := range b.src.Body.Blocks {
		switch {
		case nested.Type == "require" && len(nested.Labels) == 0:
			if r := l.prepareRequire(b, nested, each); r != nil {
				c.requires = append(c.requires, r)
			}
		case nested.Type == "needs" && len(nested.Labels) == 0:
			if seenNeeds {
				l.problem(nested.DefRange().Ptr(), "Second needs block", "A stage has one needs block.")
			}
			seenNeeds = true
			c.needs = append(c.needs, l.prepareNeeds(nested, each)...)
		default:
			l.add(unknownNested(b, nested))
		}
	}
	return c
}

// meta are the attributes that every stage has beside its kind's own.
var meta = []string{"for_each", "timeout", "retries", "salt"}

func attributesOf(k *stages.Kind) []string {
	var names []string
	for _, p := range k.Params {
		names = append(names, p.Name)
	}
	for _, s := range k.Secrets {
		names = append(names, s.Name)
	}
	for _, i := range k.Inputs {
		names = append(names, i.Name)
	}
	return names
}

func unknownAttribute(b *block, a *hclsyntax.Attribute) *hcl.Diagnostic {
	if slices.Contains(meta, a.Name) {
		return nil
	}
	if b.kind != nil && (b.kind.Param(a.Name) != nil || b.kind.Secret(a.Name) != nil || b.kind.Input(a.Name) != nil) {
		return nil
	}
	hint := ""
	switch a.Name {
	case "depends_on":
		hint = " A reference to a port is the edge: a stage runs after those whose ports it takes, and after those whose metrics its require reads."
	case "count":
		hint = " Use for_each over a map or a set of strings; each.key then names the instance."
	case "needs", "require":
		hint = fmt.Sprintf(" It is a block: %s { … }.", a.Name)
	default:
		if b.kind == nil {
			return nil
		}
		if b.kind.Output(a.Name) != nil {
			hint = " It is an output port, and cannot be set."
		} else {
			hint = didYouMean(a.Name, append(attributesOf(b.kind), meta...))
		}
	}
	return problem(&a.NameRange, "Unknown attribute", "%s has no attribute %q.%s", b.used, a.Name, hint)
}

func unknownNested(b *block, nested *hclsyntax.Block) *hcl.Diagnostic {
	hint := didYouMean(nested.Type, []string{"require", "needs"})
	if b.kind != nil && (b.kind.Param(nested.Type) != nil || b.kind.Input(nested.Type) != nil) {
		hint = fmt.Sprintf(" It is an attribute: %s = { … }.", nested.Type)
	}
	return problem(&nested.TypeRange, "Unexpected block", "A stage has no %q block.%s", nested.Type, hint)
}

// tell reports a mistake in an attribute once, whatever number of instances repeat it.
func (l *loader) tell(c *compiled, name string, at *hcl.Range, summary, detail string, args ...any) {
	if !c.bad[name] {
		c.bad[name] = true
		l.problem(at, summary, detail, args...)
	}
}

// evaluate makes one instance. Without complete, missing attributes are not complained of.
func (l *loader) evaluate(c *compiled, set *instances, key string, each map[string]cty.Value, complete bool) *Stage {
	s := &Stage{
		Address: c.full, Module: strings.TrimSuffix(l.prefix(), "."), Kind: c.kind, Name: c.name, Key: key, Range: *c.header(),
		Params: map[string]Param{}, Inputs: map[string]Input{}, Secrets: map[string]SecretRef{}, Retries: -1,
	}
	if !set.single {
		s.Address = address(c.block, key)
	}
	values := map[string]cty.Value{}
	for _, name := range sortedKeys(c.expressions) {
		values[name] = c.expressions[name].value(each)
	}
	ranges := maps.Clone(c.ranges)
	for name, all := range c.overridden {
		for _, o := range all {
			if o.all || o.key == key {
				values[name] = l.overriding(o, c, each, !set.single)
				ranges[name] = o.at
			}
		}
	}
	l.meta(s, c, values)
	l.needs(s, c, each)
	if c.kind == nil {
		l.requires(s, c, each)
		return nil
	}
	for i := range c.kind.Params {
		l.param(s, c, &c.kind.Params[i], values, ranges, complete)
	}
	for i := range c.kind.Inputs {
		l.input(s, c, &c.kind.Inputs[i], values, ranges, complete)
	}
	l.oneEnvironment(s)
	for i := range c.kind.Secrets {
		l.secret(s, c, &c.kind.Secrets[i], values, ranges)
	}
	l.requires(s, c, each)
	return s
}

// land takes the marks off a value at the place where it is used up. ok is false when there is nothing to use.
func (l *loader) land(c *compiled, name string, v cty.Value, at *hcl.Range) (cty.Value, bool) {
	plain, isBroken, sensitive, reads := marksOf(v)
	switch {
	case plain.IsWhollyKnown() && sensitive:
		l.tell(c, name, at, "Sensitive value", "A sensitive variable must not become part of a stage: params are stored and shown. A secret is given by secret(\"NAME\") where the kind declares one.")
		return cty.NilVal, false
	case plain.IsWhollyKnown():
		return plain, true
	case isBroken:
	case len(reads) > 0:
		l.tell(c, name, at, "Metric outside require", "%s is known only after a run; a metric can be read in a require block only.", metricName(reads[0]))
	default:
		if len(l.diags) == 0 {
			l.tell(c, name, at, "Not known", "This value is not known before anything runs. Does it depend on a metric?")
		}
	}
	return cty.NilVal, false
}

func metricName(r MetricRef) string {
	if r.Address == "" {
		return "metrics." + r.Name
	}
	return r.Address + ".metrics." + r.Name
}

func (l *loader) param(s *Stage, c *compiled, p *stages.Param, values map[string]cty.Value, ranges map[string]*hcl.Range, complete bool) {
	v, at := values[p.Name], ranges[p.Name]
	if v != cty.NilVal {
		plain, ok := l.land(c, p.Name, v, at)
		if !ok {
			return
		}
		v = plain
	}
	if v == cty.NilVal || v.IsNull() {
		switch {
		case p.Default != cty.NilVal:
			s.Params[p.Name] = Param{Value: p.Default, Default: true, Range: s.Range}
		case !p.Optional && complete:
			l.tell(c, p.Name, c.header(), "Missing param", "%s needs %s, a %s.%s", c.used, p.Name, p.Type.FriendlyNameForConstraint(), docOf(p.Doc))
		}
		return
	}
	if holds(v, artifactType) {
		l.tell(c, p.Name, at, "Wrong type", "%s is a param and takes a %s; a port or path() is given to an input.%s", p.Name,
			p.Type.FriendlyNameForConstraint(), inputsOf(c.kind))
		return
	}
	if holds(v, secretType) {
		l.tell(c, p.Name, at, "Secret in a param", "%s is a plain param, which is stored and shown.%s", p.Name, secretsOf(c.kind))
		return
	}
	value, err := convert.Convert(v, p.Type)
	if err != nil {
		l.tell(c, p.Name, at, "Wrong type", "%s", mismatch(p.Name, v, p.Type, err))
		return
	}
	if err := p.Check(value); err != nil {
		l.tell(c, p.Name, at, "Invalid value", "%s", sentence(err))
		return
	}
	s.Params[p.Name] = Param{Value: value, Range: *at}
}
