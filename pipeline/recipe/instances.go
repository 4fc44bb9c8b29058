package recipe

import (
	"cmp"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/Ruihan11/tiny-infra/stages"
)

// instances are the stages that one block stands for.
type instances struct {
	single bool // no for_each
	broken bool // which ones is not known; the mistake was told
	keys   []string
	each   map[string]cty.Value // each.value by key
	value  cty.Value            // what kind.name means in an expression, once asked for
	asked  bool
	all    map[string]cty.Value // the same by key
	keyOf  map[string]string    // by address
	done   bool
}

func address(b *block, key string) string {
	return b.full + "[" + quoted(key) + "]"
}

// quoted writes a text as the recipe language does.
func quoted(s string) string {
	return string(hclwrite.TokensForValue(cty.StringVal(s)).Bytes())
}

func outputNames(k *stages.Kind) []string {
	var names []string
	for _, o := range k.Outputs {
		names = append(names, o.Name)
	}
	return names
}

// portNames are what can follow kind.name in a reference.
func portNames(k *stages.Kind) []string {
	names := outputNames(k)
	if len(k.Metrics) > 0 {
		names = append(names, "metrics")
	}
	return names
}

// instances evaluates a block's for_each once.
func (s *scope) instances(b *block) *instances {
	if s.base != nil {
		if set := s.base.sets[b]; set != nil && !set.readsMetrics() {
			return set
		}
	}
	if set := s.sets[b]; set != nil {
		if !set.done {
			s.cycle(b.full, b.forEach().SrcRange)
		}
		return set
	}
	set := &instances{broken: true}
	s.sets[b] = set
	attr := b.forEach()
	if attr == nil {
		set.single, set.broken, set.done = true, false, true
		return set
	}
	if s.enter(b.full, attr.SrcRange) {
		v := s.prepare(attr.Expr, place{metrics: true}).value(nil)
		s.expand(set, attr, v)
		s.leave()
	}
	set.done = true
	return set
}

func (i *instances) readsMetrics() bool {
	for _, v := range i.each {
		if readsMetrics(v) {
			return true
		}
	}
	return false
}

// expand turns the value of for_each into keys, or tells why it cannot.
func (s *scope) expand(set *instances, attr *hclsyntax.Attribute, v cty.Value) {
	at := attr.Expr.Range().Ptr()
	tell := func(detail string, args ...any) {
		s.report(problem(at, "Cannot go over this", detail, args...))
	}
	plain, marks := v.Unmark()
	if _, isBroken := marks[brokenMark{}]; isBroken {
		return
	}
	if _, sensitive := marks[sensitiveMark{}]; sensitive {
		tell("for_each must not be sensitive: its keys become part of addresses.")
		return
	}
	t := plain.Type()
	switch {
	case t == secretType:
		tell("for_each must not be a secret: its keys become part of addresses.")
		return
	case plain.IsNull():
		tell("for_each is null. Give an empty map, {}, for no instance.")
		return
	case !plain.IsKnown():
		if _, isBroken, _, _ := marksOf(v); !isBroken {
			tell("for_each must be known before anything runs; it must not depend on a metric.")
		}
		return
	case t.IsTupleType() || t.IsListType():
		tell("for_each takes a map or a set of strings, and this is a list, where a key would change with the order. Use toset([…]).")
		return
	case t.IsSetType() && t.ElementType() != cty.String && plain.LengthInt() > 0:
		tell("for_each takes a set of strings, not %s.", t.FriendlyName())
		return
	case t == artifactType:
		tell("for_each takes a map, a set of strings or a stage that has for_each; this is a port.")
		return
	case !t.IsSetType() && !t.IsMapType() && !t.IsObjectType():
		tell("for_each takes a map, a set of strings or a stage that has for_each, not %s.", t.FriendlyName())
		return
	}
	if b := s.stageMeant(attr.Expr); b != nil && s.instances(b).single {
		tell("%s has no for_each, so there is nothing to go over.", b.id)
		return
	}
	s.expandKeys(set, plain, tell)
}

func (s *scope) expandKeys(set *instances, plain cty.Value, tell func(string, ...any)) {
	each := map[string]cty.Value{}
	for it := plain.ElementIterator(); it.Next(); {
		k, v := it.Element()
		k, _ = k.Unmark()
		if k.IsNull() || !k.IsKnown() {
			if _, isBroken, _, _ := marksOf(plain); !isBroken && k.IsNull() {
				tell("for_each goes over a set that holds a null.")
			} else if !isBroken {
				tell("for_each must be known before anything runs.")
			}
			return
		}
		if k.AsString() == "" {
			tell("for_each has an empty key; a key is part of the address.")
			return
		}
		each[k.AsString()] = v
	}
	set.broken = false
	set.each = each
	set.keys = sortedKeys(each)
}

// stageMeant is the block when an expression is nothing but kind.name.
func (s *scope) stageMeant(e hclsyntax.Expression) *block {
	if st, ok := e.(*hclsyntax.ScopeTraversalExpr); ok {
		return s.blockAt(st.Traversal)
	}
	return nil
}

// stage is the value of kind.name: an object of ports and metrics, or of such objects by instance key.
func (s *scope) stage(b *block) cty.Value {
	set := s.instances(b)
	if b.kind == nil || set.broken {
		return broken
	}
	if s.base != nil {
		return s.measuredValue(b, set)
	}
	if !set.asked {
		set.value, set.asked = s.stageValue(b, set), true
	}
	return set.value
}

func (s *scope) stageValue(b *block, set *instances) cty.Value {
	if set.single {
		return s.instance(b, b.full)
	}
	set.all = make(map[string]cty.Value, len(set.keys))
	set.keyOf = make(map[string]string, len(set.keys))
	for _, key := range set.keys {
		addr := address(b, key)
		set.all[key] = s.instance(b, addr)
		set.keyOf[addr] = key
	}
	return cty.ObjectVal(set.all)
}

// measuredValue is a stage's value in a scope with metrics: the one of loading but for the instances that are read.
func (s *scope) measuredValue(b *block, set *instances) cty.Value {
	loaded := s.base.sets[b]
	if set.single {
		return s.instance(b, b.full)
	}
	if loaded == nil || !loaded.asked {
		return broken // loading evaluates every expression that a check evaluates
	}
	all := maps.Clone(loaded.all)
	for addr := range s.reads {
		if key, here := loaded.keyOf[addr]; here {
			all[key] = s.instance(b, addr)
		}
	}
	return cty.ObjectVal(all)
}

func (s *scope) instance(b *block, addr string) cty.Value {
	if s.base == nil {
		s.file.kinds[addr] = b.kind
	}
	attrs := make(map[string]cty.Value, len(b.kind.Outputs)+1)
	metrics := make(map[string]cty.Value, len(b.kind.Metrics))
	for _, m := range b.kind.Metrics {
		metrics[m.Name] = s.metric(MetricRef{Address: addr, Name: m.Name})
	}
	if len(metrics) > 0 {
		attrs["metrics"] = cty.ObjectVal(metrics)
	}
	for _, o := range b.kind.Outputs {
		attrs[o.Name] = refValue(Ref{Address: addr, Port: o.Name, Type: o.Type})
	}
	return cty.ObjectVal(attrs)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
