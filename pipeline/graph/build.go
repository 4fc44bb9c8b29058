package graph

import (
	"container/heap"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// Build makes the graph of a recipe that was loaded without errors. A cycle is a diagnostic that names the way round.
func Build(r *recipe.Recipe) (*Graph, hcl.Diagnostics) {
	g := &Graph{Recipe: r}
	nodes := make(map[string]*Node, len(r.Stages))
	position := make(map[*Node]int, len(r.Stages))
	for i, s := range r.Stages {
		n := &Node{Stage: s}
		nodes[s.Address] = n
		position[n] = i
		g.Nodes = append(g.Nodes, n)
	}
	var diags hcl.Diagnostics
	for _, n := range g.Nodes {
		diags = append(diags, n.connect(nodes)...)
	}
	if diags.HasErrors() {
		return g, diags
	}
	sorted, rest := order(g.Nodes, position)
	if len(rest) > 0 {
		return g, cycles(rest)
	}
	g.Nodes = sorted
	return g, nil
}

// connect turns what a stage takes and reads into edges. Users follow the source order of the nodes they belong to.
func (n *Node) connect(nodes map[string]*Node) hcl.Diagnostics {
	var diags hcl.Diagnostics
	edge := func(list []*Node, address string, at hcl.Range) []*Node {
		to := nodes[address]
		if to == nil {
			diags = append(diags, &hcl.Diagnostic{
				Severity: hcl.DiagError,
				Summary:  "Unknown stage",
				Detail:   fmt.Sprintf("%s refers to %s, which is not in the recipe.", n.Stage.Address, address),
				Subject:  &at,
			})
			return list
		}
		for _, there := range list {
			if there == to {
				return list
			}
		}
		return append(list, to)
	}
	for _, port := range sortedPorts(n.Stage) {
		if in := n.Stage.Inputs[port]; in.Ref != nil {
			n.Data = edge(n.Data, in.Ref.Address, in.Range)
		}
	}
	for _, q := range n.Stage.Requires {
		for _, read := range q.Reads {
			if read.Address != "" && read.Address != n.Stage.Address {
				n.Gates = edge(n.Gates, read.Address, q.Range)
			}
		}
	}
	for _, to := range n.before() {
		to.Users = append(to.Users, n)
	}
	return diags
}

// before is what a node waits for, each once.
func (n *Node) before() []*Node {
	all := append([]*Node(nil), n.Data...)
	for _, g := range n.Gates {
		if !contains(n.Data, g) {
			all = append(all, g)
		}
	}
	return all
}

func contains(all []*Node, n *Node) bool {
	for _, a := range all {
		if a == n {
			return true
		}
	}
	return false
}

// order takes, again and again, the first node in source order that waits for nothing. rest is what is left of cycles.
func order(nodes []*Node, position map[*Node]int) (sorted, rest []*Node) {
	waiting := make(map[*Node]int, len(nodes))
	ready := &queue{position: position}
	for _, n := range nodes {
		waiting[n] = len(n.before())
		if waiting[n] == 0 {
			heap.Push(ready, n)
		}
	}
	for ready.Len() > 0 {
		n := heap.Pop(ready).(*Node)
		sorted = append(sorted, n)
		delete(waiting, n)
		for _, u := range n.Users {
			if waiting[u]--; waiting[u] == 0 {
				heap.Push(ready, u)
			}
		}
	}
	for _, n := range nodes {
		if _, left := waiting[n]; left {
			rest = append(rest, n)
		}
	}
	return sorted, rest
}

// queue is a heap by source position.
type queue struct {
	nodes    []*Node
	position map[*Node]int
}

func (q *queue) Len() int           { return len(q.nodes) }
func (q *queue) Less(i, j int) bool { return q.position[q.nodes[i]] < q.position[q.nodes[j]] }
func (q *queue) Swap(i, j int)      { q.nodes[i], q.nodes[j] = q.nodes[j], q.nodes[i] }
func (q *queue) Push(n any)         { q.nodes = append(q.nodes, n.(*Node)) }
func (q *queue) Pop() any {
	last := q.nodes[len(q.nodes)-1]
	q.nodes = q.nodes[:len(q.nodes)-1]
	return last
}

// cycles tells one way round for each knot among nodes that no order can be given to.
func cycles(rest []*Node) hcl.Diagnostics {
	var diags hcl.Diagnostics
	stuck := make(map[*Node]bool, len(rest))
	for _, n := range rest {
		stuck[n] = true
	}
	told := map[*Node]bool{}
	for _, n := range rest {
		if told[n] {
			continue
		}
		// Every node that is left waits for another one that is left, so walking on must come round.
		var way []*Node
		at := map[*Node]int{}
		for at[n] == 0 && !told[n] {
			way = append(way, n)
			at[n] = len(way)
			n = firstStuck(n, stuck)
		}
		round := []*Node(nil)
		if at[n] > 0 {
			round = way[at[n]-1:]
		}
		for _, w := range way {
			told[w] = true
		}
		if round != nil {
			diags = append(diags, cycle(round))
		}
	}
	return diags
}

func firstStuck(n *Node, stuck map[*Node]bool) *Node {
	for _, to := range n.before() {
		if stuck[to] {
			return to
		}
	}
	return nil
}

func cycle(round []*Node) *hcl.Diagnostic {
	var names, places []string
	for i, n := range round {
		to := round[(i+1)%len(round)]
		names = append(names, n.Stage.Address)
		at, how := n.why(to)
		places = append(places, fmt.Sprintf("%s %s %s at %s:%d", n.Stage.Address, how, to.Stage.Address, at.Filename, at.Start.Line))
	}
	names = append(names, round[0].Stage.Address)
	at, _ := round[0].why(round[1%len(round)])
	return &hcl.Diagnostic{
		Severity: hcl.DiagError,
		Summary:  "Cycle",
		Detail:   fmt.Sprintf("These stages need one another: %s.\n%s.", strings.Join(names, " → "), strings.Join(places, ";\n")),
		Subject:  &at,
	}
}

// why is the place in the recipe that makes one node wait for another.
func (n *Node) why(to *Node) (at hcl.Range, how string) {
	for _, port := range sortedPorts(n.Stage) {
		if in := n.Stage.Inputs[port]; in.Ref != nil && in.Ref.Address == to.Stage.Address {
			return in.Range, "takes"
		}
	}
	for _, q := range n.Stage.Requires {
		for _, read := range q.Reads {
			if read.Address == to.Stage.Address {
				return q.Range, "reads metrics of"
			}
		}
	}
	return n.Stage.Range, "needs"
}
