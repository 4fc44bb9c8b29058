package recipe

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// call is one module block; for_each makes several modules of it.
type call struct {
	*block
	file     *moduleFile            // nil where there is none; that was told
	children map[string]*loader     // by key of for_each, once asked for
	prepared map[string]*expression // what its variables are given
}

// Bounds on what calls of calls may amount to.
const (
	maxModules    = 10_000
	maxModuleText = 64 << 20 // bytes, each file counted as often as it is called
)

// prefix stands before the addresses of a file's stages: "" or "module.NAME.".
func (l *loader) prefix() string {
	if l.parent == nil {
		return ""
	}
	own := l.call.full
	if l.call.forEach() != nil {
		own = address(l.call.block, l.key)
	}
	return own + "."
}

// origin says by whom a module is called, outwards to the recipe: its own lines do not tell.
func (l *loader) origin() string {
	if l.parent == nil {
		return ""
	}
	return called(l.prefix(), l.call) + l.parent.origin()
}

func called(prefix string, c *call) string {
	at := c.header()
	return fmt.Sprintf("\nIn %s, called at %s:%d.", prefix[:len(prefix)-1], at.Filename, at.Start.Line)
}

func (l *loader) declareCall(m *module, src *hclsyntax.Block) {
	name := src.Labels[0]
	c := &call{prepared: map[string]*expression{}}
	c.block = &block{used: "module", name: name, id: "module." + name, src: src, bad: map[string]bool{}}
	c.full = l.prefix() + c.id
	m.items = append(m.items, item{call: c})
	if first := m.calls[name]; first != nil {
		l.problem(c.header(), "Duplicate module", "%s stands already in line %d. Give one of them another name.", c.id, first.header().Start.Line)
		return
	}
	m.calls[name] = c
	a := src.Body.Attributes["source"]
	if a == nil {
		l.problem(c.header(), "Incomplete module", "A module needs source, the path of its file: source = \"./modules/int4.hcl\".")
		return
	}
	at := a.Expr.Range().Ptr()
	if len(hclsyntax.Variables(a.Expr)) > 0 {
		l.problem(at, "Not a plain path", "The source of a module must be written out: its file is read before anything has a value.")
		return
	}
	v, diags := a.Expr.Value(nil)
	l.add(diags...)
	source, ok := stringOf(v)
	if !ok {
		if !diags.HasErrors() {
			l.problem(at, "Wrong type", "source is the path of a module's file.")
		}
		return
	}
	file, diags, err := l.moduleFile(source)
	if err != nil {
		l.problem(at, "Cannot use this module", "%s: %s", quoted(source), sentence(err))
		return
	}
	for _, d := range diags {
		d.Detail += called(c.full+".", c)
	}
	l.add(diags...)
	if file.body != nil {
		c.file = file
	}
}

// enter checks a call, and the modules that it stands for.
func (l *loader) enter(c *call) {
	set := l.scope.instances(c.block)
	l.noBlocks(c.src.Body, "a module block")
	if c.file == nil {
		for _, a := range attributesInOrder(c.src.Body) { // for the mistakes in them
			if a.Name != "for_each" && a.Name != "source" {
				l.scope.given(c, a).value(noEach(c))
			}
		}
		return
	}
	children := l.scope.children(c)
	l.checkArguments(c, set, children)
	for _, key := range sortedKeys(children) {
		if l.full() {
			return
		}
		children[key].walkModule()
	}
}

// noEach is `each` where no instance is known.
func noEach(c *call) map[string]cty.Value {
	if c.forEach() == nil {
		return nil
	}
	return map[string]cty.Value{"each": brokenEach}
}

// children are the modules that a call stands for, by key; nil where which ones is not known.
func (s *scope) children(c *call) map[string]*loader {
	if c.file == nil {
		return nil
	}
	set := s.instances(c.block)
	if set.broken {
		return nil
	}
	if c.children == nil && s.base == nil {
		c.children = map[string]*loader{}
		keys := set.keys
		if set.single {
			keys = []string{""}
		}
		for _, key := range keys {
			if !s.file.admit(c) {
				return nil
			}
			c.children[key] = s.file.child(c, key)
		}
	}
	return c.children
}

// admit counts modules, so that a few lines cannot stand for more than a machine can hold.
func (l *loader) admit(c *call) bool {
	l.calls++
	l.text += c.file.size
	if l.calls <= maxModules && l.text <= maxModuleText {
		return true
	}
	c.children = nil
	if !l.crowded {
		l.crowded = true
		l.problem(c.header(), "Too many modules", "A recipe may have %d modules, and %d MiB in their files, each counted as often as it is called.",
			maxModules, maxModuleText>>20)
	}
	return false
}

func (l *loader) child(c *call, key string) *loader {
	f := c.file
	child := &loader{
		loading: l.loading, path: f.path, rel: f.rel, dir: l.folder(f.rel), parent: l, call: c, key: key,
		given: map[string]given{},
	}
	child.module = child.declare(f.body)
	child.scope = newScope(child, child.module)
	return child
}

// walkModule checks a module as it is called: variables first, so that theirs are the first mistakes to be told.
func (l *loader) walkModule() {
	for _, name := range l.module.names {
		l.scope.variable(name)
	}
	for _, name := range l.module.names {
		l.validate(l.module.variables[name])
	}
	l.walk()
	for _, b := range l.module.outputs {
		l.outputAttributes(b)
		l.scope.output(b)
	}
}

// output is the value of one output of a module.
func (s *scope) output(b *hclsyntax.Block) *memo {
	name := b.Labels[0]
	a := b.Body.Attributes["value"]
	if a == nil {
		return &memo{value: broken, tainted: true, done: true}
	}
	return s.once(name, a.SrcRange, name, (*scope).outputMemos, func() cty.Value {
		return s.prepare(a.Expr, place{metrics: true}).value(nil)
	})
}

// called is the value of module.NAME: an object of outputs, or of such objects by key. Only the outputs that are
// referred to are evaluated, so that two modules may each take what the other makes of something else.
func (s *scope) called(c *call, refs []hcl.Traversal) *memo {
	children := s.children(c)
	if children == nil {
		return &memo{value: broken, tainted: true}
	}
	out := &memo{}
	one := func(key string) cty.Value {
		child := s.of(children[key])
		attrs := map[string]cty.Value{}
		for _, b := range child.module.outputs {
			if wanted(c, refs, key, b.Labels[0]) {
				m := child.output(b)
				attrs[b.Labels[0]] = m.value
				out.tainted = out.tainted || m.tainted
			}
		}
		return cty.ObjectVal(attrs)
	}
	if c.forEach() == nil {
		out.value = one("")
		return out
	}
	all := map[string]cty.Value{}
	for key := range children {
		all[key] = one(key)
	}
	out.value = cty.ObjectVal(all)
	return out
}

// wanted says whether some reference may mean this output.
func wanted(c *call, refs []hcl.Traversal, key, output string) bool {
	for _, t := range refs {
		if t.RootName() != "module" || stepName(t, 1) != c.name {
			continue
		}
		next := 2
		if c.forEach() != nil {
			if len(t) > next && indexKey(t[next]) != key {
				continue
			}
			next++
		}
		if len(t) <= next || stepName(t, next) == output || indexKey(t[next]) == output {
			return true
		}
	}
	return false
}

// indexKey is the key of a step ["key"]; "" is no key.
func indexKey(step hcl.Traverser) string {
	if i, ok := step.(hcl.TraverseIndex); ok {
		key, _ := stringOf(i.Key)
		return key
	}
	return ""
}
