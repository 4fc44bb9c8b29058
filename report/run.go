package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/lineage"
)

// Run is a record as lineage knows it, with what its outputs are.
type Run struct {
	lineage.Run
	Outputs map[string]lineage.Artifact // in place of the digests
}

// ReadRuns asks the index for runs, in the order that the filter gives them. Of records that no build is known to have
// used, the kind stands for the address.
func ReadRuns(ctx context.Context, x *lineage.Index, f lineage.Filter) ([]*Run, error) {
	found, err := x.Runs(ctx, f)
	if err != nil {
		return nil, err
	}
	return withOutputs(ctx, x, found)
}

// ReadAncestry is runs with everything that they are made from, producers first. Of several runs that made the same bytes,
// the first stands for all.
func ReadAncestry(ctx context.Context, x *lineage.Index, runs []*Run) ([]*Run, error) {
	var inputs []artifacts.Digest
	known := map[artifacts.Digest]bool{}
	for _, r := range runs {
		known[r.Record] = true
		for _, port := range sorted(r.Inputs) {
			inputs = append(inputs, r.Inputs[port])
		}
	}
	g, err := x.Ancestors(ctx, inputs...)
	if err != nil {
		return nil, err
	}
	above := slices.DeleteFunc(slices.Clone(g.Runs), func(r lineage.Run) bool { return known[r.Record] })
	slices.Reverse(above) // of equal output, the first
	read, err := withOutputs(ctx, x, above)
	if err != nil {
		return nil, err
	}
	return inOrder(slices.Concat(runs, read)), nil
}

func withOutputs(ctx context.Context, x *lineage.Index, found []lineage.Run) ([]*Run, error) {
	var outputs []artifacts.Digest
	for _, r := range found {
		for _, d := range r.Outputs {
			outputs = append(outputs, d)
		}
	}
	known, err := x.Artifacts(ctx, outputs)
	if err != nil {
		return nil, err
	}
	runs := make([]*Run, 0, len(found))
	for _, r := range found {
		run := &Run{Run: r, Outputs: map[string]lineage.Artifact{}}
		if run.Address == "" {
			run.Address = r.Kind
		}
		for port, d := range r.Outputs {
			a := known[d]
			a.Digest = d
			run.Outputs[port] = a
		}
		runs = append(runs, run)
	}
	return runs, nil
}

// inOrder puts producers before their users, and keeps the order otherwise.
func inOrder(runs []*Run) []*Run {
	g := newGraph(runs)
	seen := map[*Run]bool{} // two stages may share one record
	var out []*Run
	for _, r := range runs {
		for _, a := range g.ancestors(r, func(r *Run) bool { return !seen[r] }) {
			if !seen[a] {
				seen[a] = true
				out = append(out, a)
			}
		}
	}
	return out
}

const syntheticLabel = "synthetic"

// Synthetic says that an output descends from a made-up model.
func (r *Run) Synthetic() bool {
	for _, a := range r.Outputs {
		if _, ok := a.Labels[syntheticLabel]; ok {
			return true
		}
	}
	return false
}

// measures says that all it makes are results: it tells something about a model and makes none.
func (r *Run) measures() bool {
	for _, a := range r.Outputs {
		if a.Type != "result" && !strings.HasPrefix(a.Type, "result/") {
			return false
		}
	}
	return len(r.Outputs) > 0
}

// isModel tells the types of models. An engine is one that is built for a GPU; what else its kind makes is none.
func isModel(portType string) bool {
	return strings.HasPrefix(portType, "model/") || portType == "engine/tensorrt"
}

// ports are the outputs' names in order.
func (r *Run) ports() []string { return slices.Sorted(maps.Keys(r.Outputs)) }

// graph knows which of the runs made an artifact.
type graph struct {
	runs  []*Run
	maker map[artifacts.Digest]*Run
	made  map[artifacts.Digest]lineage.Artifact
}

// newGraph: where two runs made equal bytes, the first stands for both.
func newGraph(runs []*Run) *graph {
	g := &graph{runs: runs, maker: map[artifacts.Digest]*Run{}, made: map[artifacts.Digest]lineage.Artifact{}}
	for _, r := range runs {
		for _, a := range r.Outputs {
			if g.maker[a.Digest] == nil {
				g.maker[a.Digest] = r
				g.made[a.Digest] = a
			}
		}
	}
	return g
}

// ancestors are the runs that r's inputs come from, r itself last; enter says where to go on.
func (g *graph) ancestors(r *Run, enter func(*Run) bool) []*Run {
	var out []*Run
	seen := map[artifacts.Digest]bool{}
	var visit func(*Run)
	visit = func(r *Run) {
		if seen[r.Record] {
			return
		}
		seen[r.Record] = true
		if !enter(r) {
			return
		}
		for _, port := range slices.Sorted(maps.Keys(r.Inputs)) {
			if from := g.maker[r.Inputs[port]]; from != nil {
				visit(from)
			}
		}
		out = append(out, r)
	}
	visit(r)
	return out
}

// ReadEnvironment reads the description of an environment. One whose description is not stored is given by its digest alone.
func ReadEnvironment(ctx context.Context, c *artifacts.Cache, d artifacts.Digest) (Environment, error) {
	e := Environment{Digest: d, Packages: []Package{}, Kinds: []string{}}
	b, err := c.GetBytes(ctx, d)
	if errors.Is(err, artifacts.ErrMissing) {
		return e, nil
	}
	if err != nil {
		return e, fmt.Errorf("environment %s: %w", d.Short(), err)
	}
	var stored struct {
		OS, Arch, Libc, Python string
		Lock, Distributions    []string // the second of an interpreter that was there
	}
	if err := json.Unmarshal(b, &stored); err != nil {
		return e, fmt.Errorf("environment %s: %w", d.Short(), err)
	}
	e.OS, e.Arch, e.Libc, e.Python = stored.OS, stored.Arch, stored.Libc, stored.Python
	for _, line := range slices.Concat(stored.Lock, stored.Distributions) {
		requirement, _, _ := strings.Cut(line, " ")
		name, version, ok := strings.Cut(requirement, "==")
		if ok {
			e.Packages = append(e.Packages, Package{Name: name, Version: version})
		}
	}
	return e, nil
}
