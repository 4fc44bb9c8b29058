// Package plan turns a graph and a cache into Actions, Keys, hits and reasons. It knows what decides an output. It must
// not know how a stage is run, nor who listens. Planning only reads: what a run needs in the store is named by
// Step.Support, and put there by whoever runs the step.
package plan

import (
	"io"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/graph"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// State of a step before running.
type State string

const (
	Hit     State = "hit"
	Run     State = "run"
	Pending State = "pending" // its key depends on outputs, or on a lock entry, that are not there yet
)

// InTheCache is the reason of a hit that planning found.
const InTheCache = "in the cache"

// Plan is what a build will do, one Step a node, in the graph's order.
type Plan struct {
	Graph *graph.Graph
	Steps []*Step

	planner *planner
}

// Step finds a step by address, or nil.
func (p *Plan) Step(address string) *Step {
	if p.planner != nil {
		return p.planner.byAddress[address]
	}
	for _, s := range p.Steps {
		if s.Node.Stage.Address == address {
			return s
		}
	}
	return nil
}

// Step is what is known of one stage. Action, Key are nil and zero while Pending; Record is set on a hit.
// Whoever runs a step sets Record and RecordDigest before it settles the steps that use it.
type Step struct {
	Node         *graph.Node
	State        State
	Reason       string // one line: "in the cache", "params.bits changed: 4 → 2", "waits for gptq.int4", …
	Action       *artifacts.Action
	Key          artifacts.Key
	Record       *artifacts.Record
	RecordDigest artifacts.Digest

	Known   bool      // a hit that Options.Known gave
	Same    *Step     // an earlier step with the same Key that will run: running that one is enough
	Support []Support // what the store must hold before the step runs
	Program string    // native kinds: the absolute path that command[0] resolved to
	Source  string    // kinds with a source param: its value, the lock entry's key
	Pins    []recipe.Pin

	planner *planner
	draft   *artifacts.Action // all that is known before the inputs are
	partial *artifacts.Action // draft and the inputs known so far
	waits   []wait
	forced  bool
}

// wait is an input whose producer has no record yet.
type wait struct {
	input    string
	producer *Step
}

// Support is one blob that an Action, or a run of it, refers to. Name is for people, of one that is read from a file.
type Support struct {
	Name string
	Blob artifacts.Blob
	Open func() (io.ReadCloser, error)
}

func (s *Step) address() string { return s.Node.Stage.Address }

// record is the step's own, or that of the step that ran in its place.
func (s *Step) record() (*artifacts.Record, artifacts.Digest) {
	if s.Record == nil && s.Same != nil {
		return s.Same.Record, s.Same.RecordDigest
	}
	return s.Record, s.RecordDigest
}
