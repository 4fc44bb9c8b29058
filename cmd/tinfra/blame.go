package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/lineage"
)

func newBlame(a *app) *cobra.Command {
	var recipe string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "blame METRIC [STAGE]",
		Short: "Say which change moved a metric",
		Long: `blame walks a recipe's builds in the order of time, and says in which of them a metric of a stage moved, from what to what,
and which change of which stage moved it: a param, an input, a worker, an environment, a fact of the machine.`,
		Example: `  tinfra blame perplexity
  tinfra blame perplexity perplexity.int4 --recipe recipes/smollm2-int4.hcl`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.openArchive(cmd.Context(), recipe)
			if err != nil {
				return err
			}
			stage := ""
			if len(args) == 2 {
				stage = canonical(args[1])
			}
			histories, err := r.blame(cmd.Context(), strings.TrimPrefix(args[0], "metrics."), stage)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(a.stdout, histories)
			}
			return writeBlame(a.stdout, histories)
		},
	}
	cmd.Flags().StringVar(&recipe, "recipe", "", "the recipe whose builds are walked (default: the one in this folder)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	_ = cmd.RegisterFlagCompletionFunc("recipe", completeRecipes) // fails only for a flag that is not there
	return cmd
}

// metricHistory is how one metric of one stage moved.
type metricHistory struct {
	Stage  string  `json:"stage"`
	Metric string  `json:"metric"`
	Builds int     `json:"builds"` // that know the metric
	First  point   `json:"first"`
	Moves  []point `json:"moves"`
}

// point is a build in which the metric had another value than before.
type point struct {
	Build    string           `json:"build"`
	Record   artifacts.Digest `json:"record"`
	Value    float64          `json:"value"`
	Previous *float64         `json:"previous,omitempty"`
	Because  []difference     `json:"because,omitempty"`
}

func (r *archive) blame(ctx context.Context, metric, stage string) ([]*metricHistory, error) {
	path, err := r.oneRecipe(ctx)
	if err != nil {
		return nil, err
	}
	runs, err := r.index.Runs(ctx, lineage.Filter{RecipePath: path})
	if err != nil {
		return nil, err
	}
	byRecord := make(map[artifacts.Digest]*lineage.Run, len(runs))
	for i := range runs {
		byRecord[runs[i].Record] = &runs[i]
	}
	builds, err := r.index.Builds(ctx, path)
	if err != nil {
		return nil, err
	}
	w := &walking{r: r, metric: metric, last: map[string]*lineage.Run{}, histories: map[string]*metricHistory{}}
	for _, b := range builds {
		for _, s := range b.Steps {
			run := byRecord[s.Record]
			if run == nil || stage != "" && !covers(stage, s.Address) {
				continue
			}
			if err := w.visit(ctx, b.ID, s.Address, run); err != nil {
				return nil, err
			}
		}
	}
	if len(w.order) == 0 {
		return nil, r.noMetric(ctx, metric, stage, path)
	}
	return w.order, nil
}

// oneRecipe is the recipe that was named or lies here, else the only one that was built.
func (r *archive) oneRecipe(ctx context.Context) (string, error) {
	paths, err := r.index.Recipes(ctx)
	if err != nil {
		return "", err
	}
	path := r.recipePathOf()
	switch {
	case slices.Contains(paths, path):
		return path, nil
	case path != "":
		return "", usage("%s was not built yet in %s", shown(path), r.store.Dir())
	case len(paths) == 1:
		return paths[0], nil
	case len(paths) == 0:
		return "", usage("nothing was built yet in %s", r.store.Dir())
	}
	return "", usage("several recipes were built; name one with --recipe: %s", listed(paths))
}

func (r *archive) noMetric(ctx context.Context, metric, stage, path string) error {
	names, err := r.index.Names(ctx, "metrics")
	if err != nil {
		return err
	}
	if slices.Contains(names, metric) {
		if stage != "" {
			return usage("no build of %s has the metric %s at %s", shown(path), metric, stage)
		}
		return usage("no build of %s has the metric %s", shown(path), metric)
	}
	return usage("no run has the metric %s.%s", metric, near(metric, names))
}

// walking goes through builds in the order of time.
type walking struct {
	r         *archive
	metric    string
	last      map[string]*lineage.Run // by address
	histories map[string]*metricHistory
	order     []*metricHistory
}

func (w *walking) visit(ctx context.Context, build, address string, run *lineage.Run) error {
	value, ok := run.Metrics[w.metric]
	if !ok {
		return nil
	}
	h := w.histories[address]
	if h == nil {
		h = &metricHistory{Stage: address, Metric: w.metric, First: point{Build: build, Record: run.Record, Value: value}, Moves: []point{}}
		w.histories[address] = h
		w.order = append(w.order, h)
	}
	h.Builds++
	before := w.last[address]
	w.last[address] = run
	if before == nil || before.Metrics[w.metric] == value {
		return nil
	}
	was := before.Metrics[w.metric]
	because, err := w.r.differences(ctx, before, run)
	if err != nil {
		return err
	}
	h.Moves = append(h.Moves, point{Build: build, Record: run.Record, Value: value, Previous: &was, Because: because})
	return nil
}

func writeBlame(w io.Writer, histories []*metricHistory) error {
	for i, h := range histories {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s  %s\n", h.Stage, h.Metric)
		fmt.Fprintf(w, "  %s  %s\n", h.First.Build, view.Number(h.First.Value))
		for _, p := range h.Moves {
			fmt.Fprintf(w, "  %s  %s → %s  %s\n", p.Build, view.Number(*p.Previous), view.Number(p.Value), moved(*p.Previous, p.Value))
			for _, d := range p.Because {
				if d.Note != "" {
					fmt.Fprintf(w, "      %s: %s\n", d.Stage, d.Note)
				}
				for _, line := range d.lines {
					fmt.Fprintf(w, "      %s: %s\n", d.Stage, line)
				}
			}
		}
		if len(h.Moves) == 0 {
			fmt.Fprintf(w, "  it has not moved in %s since\n", view.Count(h.Builds-1, "build"))
		}
	}
	return nil
}
