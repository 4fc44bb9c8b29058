// Package graph orders the stages of a recipe: references become edges, cycles become diagnostics, targets select what
// they need. It must not know keys, caches or machines.
package graph

import (
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// Graph is the stages in an order in which every stage comes after what it depends on; ties keep source order.
type Graph struct {
	Recipe *recipe.Recipe
	Nodes  []*Node
}

// Node is one stage instance with its neighbours.
type Node struct {
	Stage *recipe.Stage
	Data  []*Node // producers of its inputs
	Gates []*Node // stages whose metrics its requires read: ordered before, never in a key
	Users []*Node // nodes that have this one in Data or Gates
}

// Node finds a node by its stage's address, or nil.
func (g *Graph) Node(address string) *Node {
	for _, n := range g.Nodes {
		if n.Stage.Address == address {
			return n
		}
	}
	return nil
}
