package plan

import (
	"context"
	"encoding/json"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/graph"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages"
)

// Compare is Explain for two stored Actions of which no recipe is at hand: the changes have no lines, and inputs are told
// file by file where both are still described in the cache.
func Compare(ctx context.Context, cache *artifacts.Cache, was, now *artifacts.Action) ([]Change, error) {
	inputs := map[string]recipe.Input{}
	for port := range now.Inputs {
		inputs[port] = recipe.Input{}
	}
	stage := &recipe.Stage{Kind: &stages.Kind{Name: now.Kind, Native: now.Kind == was.Kind && now.Env.IsZero()}, Inputs: inputs}
	step := &Step{Node: &graph.Node{Stage: stage}, Action: now}
	if hasPins(was) && hasPins(now) {
		step.Source, step.Pins = "its source", []recipe.Pin{}
	}
	d := &differ{ctx: ctx, cache: cache, step: step, was: was, now: now}
	return d.changes(now.Kind)
}

func hasPins(a *artifacts.Action) bool {
	var params struct{ Pins []json.RawMessage }
	return json.Unmarshal(a.Params, &params) == nil && params.Pins != nil
}
