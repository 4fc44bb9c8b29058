package recipe

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// elsewhere explains roots that Terraform has and a recipe has not.
var elsewhere = map[string]string{
	"self":      "A require reads its own stage's metrics as metrics.NAME.",
	"count":     "Use for_each, and each.key.",
	"data":      "A stage is referred to as kind.name.port.",
	"report":    "A report is written by `tinfra report`; nothing refers to it.",
	"terraform": "A recipe knows nothing of where it runs.",
	"path":      "Files below the recipe's folder are given by path(\"dir/**\").",
	"variable":  "A variable is referred to as var.NAME.",
	"locals":    "A local is referred to as local.NAME.",
}

// check finds out whether a reference's names are declared. Bad without a diagnostic means that the mistake is told
// elsewhere.
func (s *scope) check(t hcl.Traversal, p place) (diag *hcl.Diagnostic, bad bool) {
	root, at := t.RootName(), t.SourceRange()
	name := stepName(t, 1)
	wrong := func(summary, detail string, args ...any) (*hcl.Diagnostic, bool) {
		return problem(&at, summary, detail, args...), true
	}
	switch root {
	case "var", "local":
		what, declared := "variable", s.module.variables[name] != nil
		if root == "local" {
			what, declared = "local", s.module.locals[name] != nil
		}
		if declared {
			return nil, false
		}
		names := s.module.names
		if root == "local" {
			names = sortedKeys(s.module.locals)
		}
		if name == "" {
			return wrong("Incomplete reference", "Write %s.NAME.%s", root, listOf(names))
		}
		return wrong("Unknown "+what, "There is no %s %q.%s", what, name, didYouMean(name, names))
	case "each":
		if !p.each {
			return wrong("each outside for_each", "each.key and each.value stand only in a stage that has for_each.")
		}
		if name != "key" && name != "value" {
			return wrong("Unknown reference", "There are each.key and each.value only.")
		}
		return nil, false
	case "metrics":
		if p.own == nil {
			return wrong("Metric outside require", "metrics stands only in a require block: it is known after a run.")
		}
		if p.own.kind == nil {
			return nil, true
		}
		if len(p.own.kind.Metrics) == 0 {
			return wrong("No metrics", "%s reports no metrics.", p.own.used)
		}
		return nil, false
	}
	if root == "module" {
		return s.checkModule(t, name)
	}
	return s.checkStage(t, root, name)
}

func (s *scope) checkStage(t hcl.Traversal, root, name string) (*hcl.Diagnostic, bool) {
	at := t.SourceRange()
	if s.module.byID[root+"."+name] != nil {
		return nil, false
	}
	_, isKind := s.module.catalog.Kinds[root]
	isKind = isKind || s.module.kinds[root]
	if isKind && name == "" {
		return problem(&at, "Incomplete reference", "Write %s.NAME.PORT.%s", root, listOf(s.namesOf(root))), true
	}
	if hint := elsewhere[root]; hint != "" && !isKind {
		return problem(&at, "Unknown reference", "There is no %q here. %s", root, hint), true
	}
	if isKind || s.module.namesStage(name) {
		for _, b := range s.module.blocks {
			if b.kind == nil && b.name == name && nearest(b.used, []string{root}) == root {
				return nil, true // the block's kind is misspelt, which is told there
			}
		}
		return problem(&at, "Unknown stage", "There is no stage %s.%s.%s", root, name, didYouMean(root+"."+name, s.module.ids())), true
	}
	names := []string{"var", "local", "each", "module"}
	for k := range s.module.kinds {
		names = append(names, k)
	}
	hint := didYouMean(root, names)
	if name == "" {
		hint = " A text is written in quotes: \"" + root + "\"."
		if root == "null" || root == "true" || root == "false" {
			hint = ""
		}
	}
	return problem(&at, "Unknown reference", "There is nothing called %q.%s", root, hint), true
}

func (m *module) namesStage(name string) bool {
	for _, b := range m.blocks {
		if b.name == name {
			return true
		}
	}
	return false
}

func (s *scope) namesOf(kind string) []string {
	var names []string
	for id := range s.module.byID {
		if strings.HasPrefix(id, kind+".") {
			names = append(names, id)
		}
	}
	return names
}

// explain replaces the evaluator's words where the recipe's own are clearer.
func (s *scope) explain(expr hclsyntax.Expression, ctx *hcl.EvalContext, diags hcl.Diagnostics) hcl.Diagnostics {
	better := s.misses(expr, ctx)
	var out hcl.Diagnostics
	for _, d := range diags {
		if d.Subject == nil {
			d.Subject = expr.Range().Ptr()
		}
		replaced := false
		for _, b := range better {
			if b.Subject.Overlaps(*d.Subject) {
				out = append(out, b)
				replaced = true
			}
		}
		if replaced {
			continue
		}
		if call, ok := d.Extra.(hclsyntax.FunctionCallUnknownDiagExtra); ok {
			if hint := absent[call.CalledFunctionName()]; hint != "" {
				d.Detail = fmt.Sprintf("There is no function named %q. %s", call.CalledFunctionName(), hint)
			}
		}
		d.Expression, d.EvalContext = nil, nil // values may be sensitive, and are objects of ports mostly
		out = append(out, d)
	}
	return out
}

// misses follows every reference of an expression through the values to the step that does not exist.
func (s *scope) misses(expr hclsyntax.Expression, ctx *hcl.EvalContext) hcl.Diagnostics {
	var out hcl.Diagnostics
	_ = hclsyntax.VisitAll(expr, func(n hclsyntax.Node) hcl.Diagnostics {
		switch e := n.(type) {
		case *hclsyntax.ScopeTraversalExpr:
			if diag := s.miss(e.Traversal, ctx); diag != nil {
				out = append(out, diag)
			}
		case *hclsyntax.IndexExpr:
			if diag := s.missIndex(e, ctx); diag != nil {
				out = append(out, diag)
			}
		case *hclsyntax.RelativeTraversalExpr:
			if v, diags := e.Source.Value(ctx); !diags.HasErrors() {
				if diag := s.follow(v, e.Traversal, nil); diag != nil {
					out = append(out, diag)
				}
			}
		}
		return nil
	})
	return out
}

func (s *scope) missIndex(e *hclsyntax.IndexExpr, ctx *hcl.EvalContext) *hcl.Diagnostic {
	coll, diags := e.Collection.Value(ctx)
	key, more := e.Key.Value(ctx)
	if diags.HasErrors() || more.HasErrors() {
		return nil
	}
	step := hcl.TraverseIndex{Key: key, SrcRange: e.Key.Range()}
	var known []hcl.Traverser
	if st, ok := e.Collection.(*hclsyntax.ScopeTraversalExpr); ok {
		known = st.Traversal
	}
	return s.follow(coll, hcl.Traversal{step}, known)
}

func (s *scope) miss(t hcl.Traversal, ctx *hcl.EvalContext) *hcl.Diagnostic {
	for c := ctx; c != nil; c = c.Parent() {
		if v, ok := c.Variables[t.RootName()]; ok {
			return s.follow(v, t[1:], t[:1])
		}
	}
	return nil
}

// follow goes step by step; before is what was followed already.
func (s *scope) follow(v cty.Value, steps hcl.Traversal, before []hcl.Traverser) *hcl.Diagnostic {
	for i, step := range steps {
		v, _ = v.Unmark()
		if v.IsNull() || !v.IsKnown() {
			return nil
		}
		var name string
		switch st := step.(type) {
		case hcl.TraverseAttr:
			name = st.Name
		case hcl.TraverseIndex:
			key, _ := st.Key.Unmark()
			text, err := convert.Convert(key, cty.String)
			if err != nil || text.IsNull() || !text.IsKnown() || key.Type() != cty.String && s.blockAt(before) == nil {
				return nil
			}
			name = text.AsString()
		default:
			return nil
		}
		next, ok := member(v, name)
		if !ok {
			at := hcl.RangeBetween(steps[0].SourceRange(), steps[i].SourceRange())
			if len(before) > 0 {
				at = hcl.RangeBetween(before[0].SourceRange(), at)
			}
			_, isAttr := step.(hcl.TraverseAttr)
			if c := s.callAt(before); c != nil {
				return s.missingModule(c, name, at, isAttr)
			}
			if b := s.blockAt(before); b != nil {
				return s.missing(b, name, at, isAttr)
			}
			return missingMember(v, name, at)
		}
		v = next
		before = append(before[:len(before):len(before)], step)
	}
	return nil
}

func member(v cty.Value, name string) (cty.Value, bool) {
	t := v.Type()
	switch {
	case t.IsObjectType() && t.HasAttribute(name):
		return v.GetAttr(name), true
	case t.IsMapType():
		if m, ok := v.AsValueMap()[name]; ok {
			return m, true
		}
	}
	return cty.NilVal, false
}

func missingMember(v cty.Value, name string, at hcl.Range) *hcl.Diagnostic {
	t := v.Type()
	switch {
	case t == artifactType:
		return problem(&at, "Nothing inside a port", "A port holds an artifact; there is no %q in it.", name)
	case t.IsObjectType():
		return problem(&at, "No such attribute", "There is no %q here.%s", name, didYouMean(name, sortedKeys(t.AttributeTypes())))
	case t.IsMapType():
		return problem(&at, "No such key", "There is no key %q here.%s", name, didYouMean(name, sortedKeys(v.AsValueMap())))
	}
	return nil
}

// blockAt is the stage block that exactly these steps name.
func (s *scope) blockAt(steps []hcl.Traverser) *block {
	if len(steps) != 2 {
		return nil
	}
	root, ok := steps[0].(hcl.TraverseRoot)
	attr, ok2 := steps[1].(hcl.TraverseAttr)
	if !ok || !ok2 {
		return nil
	}
	return s.module.byID[root.Name+"."+attr.Name]
}

// missing explains the step after kind.name: an instance's key, or a port.
func (s *scope) missing(b *block, name string, at hcl.Range, isAttr bool) *hcl.Diagnostic {
	set := s.instances(b)
	if b.kind == nil || set.broken {
		return nil
	}
	ports := portNames(b.kind)
	if !set.single && isAttr {
		example := "KEY"
		if len(set.keys) > 0 {
			example = set.keys[0]
		}
		return problem(&at, "Which instance?", "%s has for_each; say which instance is meant: %s.%s",
			b.id, b.id+"["+quoted(example)+"]."+name, didYouMean(name, nil))
	}
	if !set.single {
		return problem(&at, "No such instance", "%s has no instance %q.%s", b.id, name, didYouMean(name, set.keys))
	}
	if !isAttr {
		return problem(&at, "Not a set of instances", "%s has no for_each, so it has no instances to index. Write %s.PORT.%s", b.id, b.id, listOf(ports))
	}
	return problem(&at, "No such port", "%s has no output port %q.%s", b.id, name, didYouMean(name, ports))
}
