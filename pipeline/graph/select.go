package graph

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/bmatcuk/doublestar/v4"
	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// Select keeps the targets and all that they need. A target is an address, a block's name, which stands for all of its
// instances, a module's, which stands for all its stages, or a pattern with * and ?. Without targets the whole graph is kept.
func (g *Graph) Select(targets []string) (*Graph, hcl.Diagnostics) {
	if len(targets) == 0 {
		return g, nil
	}
	var diags hcl.Diagnostics
	keep := map[*Node]bool{}
	for _, target := range targets {
		found := g.matching(target)
		if len(found) == 0 {
			diags = append(diags, &hcl.Diagnostic{
				Severity: hcl.DiagError,
				Summary:  "Unknown target",
				Detail:   fmt.Sprintf("No stage is called %q.%s", target, g.nearest(target)),
			})
		}
		for _, n := range found {
			n.keep(keep)
		}
	}
	return g.only(keep), diags
}

func (n *Node) keep(kept map[*Node]bool) {
	pending := []*Node{n}
	for len(pending) > 0 {
		n := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		if !kept[n] {
			kept[n] = true
			pending = append(pending, n.before()...)
		}
	}
}

// only copies the kept nodes, so that Users name no node outside the new graph.
func (g *Graph) only(keep map[*Node]bool) *Graph {
	out := &Graph{Recipe: g.Recipe}
	copies := map[*Node]*Node{}
	for _, n := range g.Nodes {
		if keep[n] {
			copies[n] = &Node{Stage: n.Stage}
			out.Nodes = append(out.Nodes, copies[n])
		}
	}
	those := func(all []*Node) []*Node {
		var kept []*Node
		for _, n := range all {
			if c := copies[n]; c != nil {
				kept = append(kept, c)
			}
		}
		return kept
	}
	for n, c := range copies {
		c.Data, c.Gates, c.Users = those(n.Data), those(n.Gates), those(n.Users)
	}
	return out
}

func (g *Graph) matching(target string) []*Node {
	if n := g.Node(target); n != nil {
		return []*Node{n}
	}
	var found []*Node
	for _, n := range g.Nodes {
		if recipe.Covers(target, n.Stage.Address) {
			found = append(found, n)
		}
	}
	if len(found) > 0 || !strings.ContainsAny(target, "*?") {
		return found
	}
	// Brackets belong to an instance key here, and a key may hold a slash.
	flat := strings.NewReplacer("[", "\\[", "]", "\\]", "{", "\\{", "}", "\\}", "/", "\x00", "**", "*").Replace(target)
	for _, n := range g.Nodes {
		for _, name := range []string{n.Stage.Address, n.Stage.Block()} {
			if ok, err := doublestar.Match(flat, strings.ReplaceAll(name, "/", "\x00")); ok && err == nil {
				found = append(found, n)
				break
			}
		}
	}
	return found
}

func (g *Graph) nearest(target string) string {
	var names []string
	for _, n := range g.Nodes {
		names = append(names, n.Stage.Address, n.Stage.Block())
		names = append(names, n.Stage.Modules()...)
	}
	sort.Strings(names)
	names = slices.Compact(names)
	best, distance := "", len(target)/3+2
	for _, name := range names {
		if d := levenshtein.Distance(target, name, nil); d < distance {
			best, distance = name, d
		}
	}
	if best != "" {
		return " Did you mean " + best + "?"
	}
	const readable = 12
	if len(names) <= readable {
		return " There are: " + strings.Join(names, ", ") + "."
	}
	return ""
}

func sortedPorts(s *recipe.Stage) []string {
	ports := make([]string, 0, len(s.Inputs))
	for p := range s.Inputs {
		ports = append(ports, p)
	}
	sort.Strings(ports)
	return ports
}

// Walk calls visit for each node after those that it depends on, and stops at the first error.
func (g *Graph) Walk(visit func(*Node) error) error {
	for _, n := range g.Nodes {
		if err := visit(n); err != nil {
			return err
		}
	}
	return nil
}
