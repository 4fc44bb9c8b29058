package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/lineage"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
)

// difference is what is different about one stage of two chains of runs.
type difference struct {
	Stage   string       `json:"stage"`
	Changes []changeJSON `json:"changes,omitempty"`
	Note    string       `json:"note,omitempty"` // said in place of changes, when there are none to tell

	lines []string // the changes for people
}

// comparing walks up two chains of runs at once, through the inputs in which they differ.
type comparing struct {
	r        *archive
	was, now *lineage.Graph
	seen     map[[2]artifacts.Digest]bool
	found    []difference
}

// differences are the changes between two runs, and behind each changed input those of the runs that made it: nearest
// first. A run of which only inputs changed is left out.
func (r *archive) differences(ctx context.Context, was, now *lineage.Run) ([]difference, error) {
	c := &comparing{r: r, seen: map[[2]artifacts.Digest]bool{}}
	var err error
	if c.was, err = r.index.Ancestors(ctx, slices.Collect(maps.Values(was.Inputs))...); err != nil {
		return nil, err
	}
	if c.now, err = r.index.Ancestors(ctx, slices.Collect(maps.Values(now.Inputs))...); err != nil {
		return nil, err
	}
	err = c.walk(ctx, was, now)
	return c.found, err
}

func (c *comparing) walk(ctx context.Context, was, now *lineage.Run) error {
	pair := [2]artifacts.Digest{was.Record, now.Record}
	if was.Record == now.Record || c.seen[pair] {
		return nil
	}
	c.seen[pair] = true
	stage := now.Address
	if stage == "" {
		stage = now.Kind
	}
	if was.Key == now.Key {
		c.found = append(c.found, difference{Stage: stage, Note: fmt.Sprintf("another run of the same action (record %s, then %s)", was.Record.Short(), now.Record.Short())})
		return nil
	}
	changes, err := c.r.compare(ctx, was, now)
	if err != nil {
		return fmt.Errorf("comparing the runs of %s: %w", stage, err)
	}
	type both struct{ was, now *lineage.Run }
	var above []both
	through := map[string]bool{}
	for _, port := range slices.Sorted(maps.Keys(now.Inputs)) {
		before, had := was.Inputs[port]
		if !had || before == now.Inputs[port] {
			continue
		}
		a, b := c.was.Makers(before), c.now.Makers(now.Inputs[port])
		if len(a) == 0 || len(b) == 0 {
			continue
		}
		from, to := c.pick(a, was.BuildID), c.pick(b, now.BuildID)
		if from.Record == to.Record {
			continue // another output of one run: the input itself is the change
		}
		above = append(above, both{from, to})
		through[port] = true
	}
	c.add(stage, changes, through)
	for _, pair := range above {
		if err := c.walk(ctx, pair.was, pair.now); err != nil {
			return err
		}
	}
	return nil
}

// pick prefers, among the runs that made the same bytes, one that the build used: another recipe may have made them too.
func (c *comparing) pick(makers []*lineage.Run, build string) *lineage.Run {
	for _, m := range makers {
		if m.BuildID == build {
			return m
		}
	}
	return makers[0]
}

// add keeps the changes of a stage's own: those of an input that a run made are told of that run.
func (c *comparing) add(stage string, changes []plan.Change, through map[string]bool) {
	d := difference{Stage: stage}
	for _, change := range changes {
		if through[inputOf(change)] {
			continue
		}
		d.Changes = append(d.Changes, changeJSON{Field: change.Field, Old: change.Old, New: change.New})
		d.lines = append(d.lines, change.String())
	}
	if len(d.Changes) > 0 {
		c.found = append(c.found, d)
	}
}

// inputOf is the port that a change is about; "" for any other field.
func inputOf(c plan.Change) string {
	port, ok := strings.CutPrefix(c.Field, "inputs.")
	if !ok {
		return ""
	}
	port, _, _ = strings.Cut(port, ": ")
	return port
}

func (r *archive) compare(ctx context.Context, was, now *lineage.Run) ([]plan.Change, error) {
	before, err := r.cache.Action(ctx, was.Key)
	if err != nil {
		return nil, err
	}
	after, err := r.cache.Action(ctx, now.Key)
	if err != nil {
		return nil, err
	}
	return plan.Compare(ctx, r.cache, before, after)
}
