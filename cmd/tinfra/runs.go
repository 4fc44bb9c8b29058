package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/agext/levenshtein"
	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/lineage"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// listing is what `runs` was asked for.
type listing struct {
	lookup
	where, sort string
	limit       int
	asJSON      bool
}

// shownRuns is how many runs are listed unless a person asks for more.
const shownRuns = 50

func newRuns(a *app) *cobra.Command {
	var l listing
	cmd := &cobra.Command{
		Use:   "runs [STAGE]",
		Short: "List the runs in the cache",
		Long: `runs lists the records in the cache, the last ended first: of all recipes, of one stage, of one build (--build) or of one
recipe (--recipe). --where takes an expression as in recipes. It can use kind, address, build, state, key, record,
builder, worker, env, salt, started, ended, seconds, peak_memory, size (both in bytes), and metrics.NAME, params.NAME,
facts["NAME"], observed.NAME, labels.NAME. A run that lacks what the expression asks for is not matched. The functions
are abs, contains, length, lower, max, min, startswith and upper.`,
		Example: `  tinfra runs --where 'kind == "gptq" && metrics.bits_per_weight < 5'
  tinfra runs perplexity.int4 --sort perplexity
  tinfra runs --where 'params.group_size == 64' --sort=-seconds --limit 5`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.run(cmd.Context(), a, strings.Join(args, ""))
		},
		ValidArgsFunction: a.completeStages,
	}
	f := cmd.Flags()
	f.StringVar(&l.where, "where", "", "only the runs that this `EXPRESSION` holds for")
	f.StringVar(&l.sort, "sort", "", "sort by a `METRIC`, or by seconds, started, ended, peak_memory or size; -METRIC puts the largest first")
	f.IntVar(&l.limit, "limit", shownRuns, "show at most this many; 0 is all")
	f.StringVar(&l.build, "build", "", "only the runs that this build used, by ID or the beginning of it")
	f.StringVar(&l.recipe, "recipe", "", "only the runs that builds of this recipe used")
	f.BoolVar(&l.asJSON, "json", false, "write JSON")
	_ = cmd.RegisterFlagCompletionFunc("recipe", completeRecipes) // fails only for a flag that is not there
	return cmd
}

func (l *listing) run(ctx context.Context, a *app, stage string) error {
	if l.limit < 0 {
		return usage("--limit %d: give a number of runs from 0 on", l.limit)
	}
	condition, err := conditionOf(l.where)
	if err != nil {
		return err
	}
	r, err := a.openArchive(ctx, l.recipe)
	if err != nil {
		return err
	}
	filter := lineage.Filter{Where: condition, Sort: strings.TrimPrefix(l.sort, "-"), Descending: strings.HasPrefix(l.sort, "-"), Brief: !l.asJSON}
	filter.Address = canonical(stage)
	if l.recipe != "" {
		filter.RecipePath = r.recipePathOf()
	}
	if l.build != "" {
		if filter.Build, err = r.buildOf(ctx, l.build, "", l.lookup); err != nil {
			return err
		}
	}
	if err := r.checkSort(ctx, filter.Sort); err != nil {
		return err
	}
	if l.limit > 0 {
		filter.Limit = l.limit + 1 // one more tells that there are more
	}
	runs, err := r.index.Runs(ctx, filter)
	if err != nil {
		return asMistakes(err)
	}
	if l.limit > 0 && len(runs) > l.limit {
		runs = runs[:l.limit]
		fmt.Fprintf(a.stderr, "tinfra: these are the first %d; --limit 0 shows all\n", l.limit)
	}
	return l.write(a, runs)
}

func (l *listing) write(a *app, runs []lineage.Run) error {
	if l.asJSON {
		return writeJSON(a.stdout, runs)
	}
	if len(runs) == 0 {
		fmt.Fprintln(a.stderr, "no runs")
		return nil
	}
	rows := make([][]string, 0, len(runs))
	for i := range runs {
		r := &runs[i]
		stage := r.Address
		if stage == "" {
			stage = "(" + r.Kind + ")"
		}
		remarks := view.Metrics(r.Metrics)
		if _, ok := r.Labels[run.LabelSynthetic]; ok {
			remarks = append(remarks, syntheticMark)
		}
		rows = append(rows, []string{
			r.Record.Short(), stage, r.Ended.Local().Format(time.DateTime), view.Seconds(r.Seconds()), view.Bytes(r.OutputBytes),
			strings.Join(remarks, "  "),
		})
	}
	return view.Table(a.stdout, []string{"RECORD", "STAGE", "ENDED", "TIME", "SIZE", "METRICS"}, rows)
}

// checkSort refuses what no run has.
func (r *archive) checkSort(ctx context.Context, by string) error {
	names := []string{"", "seconds", "started", "ended", "peak_memory", "size"}
	metrics, err := r.index.Names(ctx, "metrics")
	if err != nil {
		return err
	}
	name := strings.TrimPrefix(by, "metrics.")
	if slices.Contains(names, by) || slices.Contains(metrics, name) {
		return nil
	}
	return usage("--sort %s: no run has that metric.%s", by, near(name, append(metrics, names[1:]...)))
}

// near ends a message with the names that a misspelt one may have meant.
func near(given string, names []string) string {
	best, distance := "", len(given)/3+2
	for _, n := range names {
		if d := levenshtein.Distance(given, n, nil); d < distance {
			best, distance = n, d
		}
	}
	if best != "" {
		return " Did you mean " + best + "?"
	}
	if len(names) == 0 {
		return ""
	}
	return " There are: " + listed(names) + "."
}

// listed is names for people, as many as they can still read.
func listed(names []string) string {
	const readable = 20
	if len(names) > readable {
		return strings.Join(names[:readable], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}
