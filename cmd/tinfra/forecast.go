package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/lineage"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/stages"
)

// forecast is what earlier runs say of the stages that may run, by address. Empty where nothing will: a build that finds
// all in the cache shall not read the index.
type forecast map[string]lineage.Cost

// forecast asks lineage. It is a help to people only: where the index cannot be read, nothing is foretold.
func (t *site) forecast(ctx context.Context) forecast {
	var wants []lineage.Want
	for _, s := range t.plan.Steps {
		if mayRun(s) {
			wants = append(wants, lineage.Want{
				Address: s.Node.Stage.Address, Kind: s.Node.Stage.Kind.Name, RecipePath: t.recordedPath(t.recipe.Path),
			})
		}
	}
	if len(wants) == 0 {
		return nil
	}
	// What has been read by then is kept, and the next build foretells more.
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	x, err := t.openIndex(ctx)
	if err != nil {
		return nil
	}
	defer func() { _ = x.Close() }()
	if x.Sync(ctx, t.cache) != nil {
		return nil
	}
	costs, err := x.Forecast(ctx, wants)
	if err != nil {
		return nil
	}
	out := make(forecast, len(costs))
	for i, c := range costs {
		out[wants[i].Address] = c
	}
	return out
}

// mayRun says that a step is no hit and that no equal one runs in its place.
func mayRun(s *plan.Step) bool { return s.State != plan.Hit && s.Same == nil }

// outlook is what a view is told before the build begins.
func (t *site) outlook(f forecast) view.Outlook {
	out := make(view.Outlook, len(t.plan.Steps))
	for _, s := range t.plan.Steps {
		p := view.Prospect{Expects: time.Duration(f[s.Node.Stage.Address].Seconds * float64(time.Second))}
		if s.Same != nil {
			p.Expects = 1 // it takes nothing of its own, and that is known
		}
		for _, n := range s.Node.Data {
			p.After = append(p.After, n.Stage.Address)
		}
		for _, n := range s.Node.Gates {
			p.After = append(p.After, n.Stage.Address)
		}
		p.Metrics = metricNames(s.Node.Stage.Kind)
		out[s.Node.Stage.Address] = p
	}
	return out
}

// metricNames are a kind's metrics as its stage.hcl orders them, the most telling first.
func metricNames(k *stages.Kind) []string {
	names := make([]string, len(k.Metrics))
	for i, m := range k.Metrics {
		names[i] = m.Name
	}
	return names
}

// words sums a forecast up in one line, beside what the cache's disk has; "" where nothing is known.
func (t *site) words(f forecast) string {
	var seconds float64
	var disk, memory int64
	unknown := 0
	for _, s := range t.plan.Steps {
		if !mayRun(s) {
			continue
		}
		c := f[s.Node.Stage.Address]
		if c.From == "" {
			unknown++
		}
		seconds += c.Seconds
		disk += c.OutputBytes
		memory = max(memory, c.PeakMemory)
	}
	if seconds == 0 {
		return ""
	}
	parts := []string{view.Seconds(seconds) + " of work", view.Bytes(disk) + " of disk"}
	if free, _, err := freeDisk(t.store.Dir()); err == nil {
		parts[1] += " (" + view.Bytes(free) + " are free)"
	}
	if memory > 0 {
		parts = append(parts, view.Bytes(memory)+" of memory at most for one stage")
	}
	line := "After earlier runs, at most: " + strings.Join(parts, ", ")
	if unknown > 0 {
		line += fmt.Sprintf("; nothing is known of %s", view.Count(unknown, "stage"))
	}
	return line
}

// refuseRuns holds a build to --max-runs before anything runs. A pending stage counts: that it becomes a hit is a hope.
func (t *site) refuseRuns(most int, f forecast) error {
	var names []string
	certain := 0
	for _, s := range t.plan.Steps {
		if !mayRun(s) {
			continue
		}
		names = append(names, s.Node.Stage.Address)
		if s.State == plan.Run {
			certain++
		}
	}
	if len(names) <= most {
		return nil
	}
	text := fmt.Sprintf("--max-runs %d: up to %s would run (%d for certain): %s", most, view.Count(len(names), "stage"), certain,
		strings.Join(names[:min(len(names), 10)], ", "))
	if len(names) > 10 {
		text += ", …"
	}
	if w := t.words(f); w != "" {
		text += "\n" + w
	}
	return usage("%s\n`tinfra plan` says why. Nothing was run.", text)
}
