// Package plan turns a graph and a cache into Actions, Keys, hits and reasons. It knows what decides an output. It must
// not know how a stage is run, nor who listens.
package plan

import (
	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/graph"
)

// State of a step before running.
type State string

const (
	Hit     State = "hit"
	Run     State = "run"
	Pending State = "pending" // its key depends on outputs, or on a lock entry, that are not there yet
)

// Plan is what a build will do, one Step a node, in the graph's order.
type Plan struct {
	Graph *graph.Graph
	Steps []*Step
}

// Step finds a step by address, or nil.
func (p *Plan) Step(address string) *Step {
	for _, s := range p.Steps {
		if s.Node.Stage.Address == address {
			return s
		}
	}
	return nil
}

// Step is what is known of one stage. Action, Key are nil and zero while Pending; Record is set on a hit.
type Step struct {
	Node         *graph.Node
	State        State
	Reason       string // one line: "in the cache", "params.bits changed: 4 → 2", "waits for gptq.int4", …
	Action       *artifacts.Action
	Key          artifacts.Key
	Record       *artifacts.Record
	RecordDigest artifacts.Digest
}
