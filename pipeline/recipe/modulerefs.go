package recipe

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// checkModule finds out whether module.NAME.OUTPUT, or module.NAME["key"].OUTPUT, is there.
func (s *scope) checkModule(t hcl.Traversal, name string) (*hcl.Diagnostic, bool) {
	at := t.SourceRange()
	c := s.module.calls[name]
	switch {
	case name == "":
		return problem(&at, "Incomplete reference", "Write module.NAME.OUTPUT.%s", listOf(sortedKeys(s.module.calls))), true
	case c == nil && len(s.module.calls) == 0:
		return problem(&at, "Unknown module", "There is no module %q; write module %q { source = … }.", name, name), true
	case c == nil:
		return problem(&at, "Unknown module", "There is no module %q.%s", name, didYouMean(name, sortedKeys(s.module.calls))), true
	case c.file == nil:
		return nil, true // told where it is called
	}
	rest := t[2:]
	if c.forEach() != nil && len(rest) > 0 {
		_, isAttr := rest[0].(hcl.TraverseAttr)
		key := indexKey(rest[0])
		if isAttr {
			key = stepName(t, 2)
		}
		set := s.instances(c.block)
		if set.broken {
			return nil, true
		}
		if _, there := set.each[key]; isAttr || !there {
			return s.missingModule(c, key, hcl.RangeBetween(t[0].SourceRange(), rest[0].SourceRange()), isAttr), true
		}
		rest = rest[1:]
	}
	if len(rest) == 0 {
		return nil, false
	}
	attr, isAttr := rest[0].(hcl.TraverseAttr)
	if isAttr && slices.Contains(c.file.outputs, attr.Name) {
		return nil, false
	}
	output := indexKey(rest[0])
	if isAttr {
		output = attr.Name
	} else if slices.Contains(c.file.outputs, output) {
		return nil, false
	}
	at = hcl.RangeBetween(t[0].SourceRange(), rest[0].SourceRange())
	if c.forEach() == nil {
		return s.missingModule(c, output, at, isAttr), true
	}
	return noOutput(c, output, at), true
}

// missingModule explains the step after module.NAME: an instance's key, or an output.
func (s *scope) missingModule(c *call, name string, at hcl.Range, isAttr bool) *hcl.Diagnostic {
	if c.forEach() == nil && !isAttr {
		return problem(&at, "Not a set of modules", "%s has no for_each, so it has no instances to index. Write %s.OUTPUT.%s",
			c.id, c.id, listOf(c.file.outputs))
	}
	if c.forEach() == nil {
		return noOutput(c, name, at)
	}
	set := s.instances(c.block)
	if isAttr {
		example := "KEY"
		if len(set.keys) > 0 {
			example = set.keys[0]
		}
		return problem(&at, "Which instance?", "%s has for_each; say which instance is meant: %s[%s].%s.", c.id, c.id, quoted(example), name)
	}
	return problem(&at, "No such instance", "%s has no instance %q.%s", c.id, name, didYouMean(name, set.keys))
}

func noOutput(c *call, name string, at hcl.Range) *hcl.Diagnostic {
	if slices.Contains(c.file.variables, name) {
		return problem(&at, "No such output", "%q is a variable of %s, and no output of it.%s", name, c.id, listOf(c.file.outputs))
	}
	if len(c.file.outputs) == 0 {
		return problem(&at, "No such output", "%s has no output %q: %s has no outputs at all.", c.id, name, c.file.path)
	}
	return problem(&at, "No such output", "%s has no output %q.%s", c.id, name, didYouMean(name, c.file.outputs))
}

// callAt is the module block that exactly these steps name.
func (s *scope) callAt(steps []hcl.Traverser) *call {
	if len(steps) != 2 {
		return nil
	}
	root, ok := steps[0].(hcl.TraverseRoot)
	attr, ok2 := steps[1].(hcl.TraverseAttr)
	if !ok || !ok2 || root.Name != "module" {
		return nil
	}
	return s.module.calls[attr.Name]
}
