package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/pipeline/reading"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/pipeline/run/local"
	"github.com/Ruihan11/tiny-infra/stages/env"
)

// site is a plan with what it was made against.
type site struct {
	*house
	recipe   *recipe.Recipe
	loading  *reading.Log     // what was read for the recipe; nil where nobody wants to know
	restored artifacts.Digest // of the snapshot that the recipe was restored from; zero: it was loaded
	plan     *plan.Plan
	envs     *env.Set
	executor *local.Executor
	facts    map[string]string
	previous *artifacts.Build
	known    *known
}

// surveying is how a plan is made.
type surveying struct {
	offline bool   // environments may not be installed
	alone   bool   // no shared cache is asked
	unpin   bool   // what the lock pins does not count
	build   bool   // what is found must stay until it is built
	known   *known // what of the last build is; nil: nothing
}

// survey reads a recipe and plans it. Unless it is for a build, it writes nothing to the cache.
func (a *app) survey(ctx context.Context, path string, s *selection, how surveying) (*site, error) {
	t := &site{known: how.known}
	if err := t.read(a, path, s); err != nil {
		return nil, err
	}
	h := t.house
	if err := h.open(); err != nil {
		return nil, err
	}
	if how.build {
		if err := h.begin(); err != nil {
			return nil, err
		}
	}
	if !how.alone {
		if err := h.joinFor(ctx, path, how.build); err != nil {
			return nil, err
		}
	}
	if how.unpin {
		clear(t.recipe.Lock.Sources)
	}
	err := t.make(ctx, s, how)
	if how.build && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) { // of what holds the build's hits
		err = &failure{code: exitCache, err: err}
	}
	return t, err
}

func (t *site) make(ctx context.Context, s *selection, how surveying) error {
	var last sync.WaitGroup
	var lost error
	last.Go(func() { t.previous, lost = t.lastBuild(ctx, t.recipe.Path) })
	defer last.Wait()
	g, err := t.graphOf(t.recipe, s.targets)
	if err != nil {
		return err
	}
	for _, f := range s.force {
		if f != "all" && !anyCovered(canonical(f), t.recipe) {
			return usage("--force %s: the recipe has no such stage", f)
		}
	}
	if t.envs, err = t.environments(how.offline); err != nil {
		return err
	}
	t.executor = local.New(local.Options{Facts: limits(t.project.Local)})
	if t.facts, err = t.executor.Facts(ctx); err != nil {
		return fmt.Errorf("asking this machine for its facts: %w", err)
	}
	if last.Wait(); lost != nil {
		return lost
	}
	envs, files := &describer{set: t.envs}, t.store.Files()
	defer files.Keep()
	t.plan, err = plan.Make(ctx, g, plan.Options{
		Cache: t.cache, Catalog: t.catalog, Envs: envs, Files: localFiles{files, t.app.reads}, Facts: t.facts,
		Known: how.known.record, Force: s.forced, Previous: t.previous, LookupEnv: t.app.reads.LookupEnv, Reads: t.app.reads,
	})
	if envs.failed != nil && errors.Is(err, envs.failed) {
		return &mistakes{environmentMistakes(t.recipe, envs), t.recipe.Texts()}
	}
	return t.mistakes(err)
}

// environmentMistakes shows the stages that need the environment which this machine cannot have.
func environmentMistakes(r *recipe.Recipe, envs *describer) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, st := range r.Stages {
		if name, err := st.Env(); err != nil || name != envs.name {
			continue
		}
		at := st.Range
		diags = append(diags, &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "No environment for this stage", Subject: &at,
			Detail: fmt.Sprintf("%s: %s.", st.Address, envs.failed),
		})
	}
	return diags
}

// mistakes gives diagnostics the texts that their snippets come from.
func (t *site) mistakes(err error) error {
	var d plan.Diagnostics
	if errors.As(err, &d) {
		return &mistakes{d.Diagnostics, t.recipe.Texts()}
	}
	return err
}

func anyCovered(named string, r *recipe.Recipe) bool {
	for _, s := range r.Stages {
		if covers(named, s.Address) {
			return true
		}
	}
	return false
}

func newPlan(a *app) *cobra.Command {
	var s selection
	var asJSON, offline bool
	cmd := &cobra.Command{
		Use:   "plan [RECIPE]",
		Short: "Say what a build would run, and why",
		Long: `plan says of every stage whether its result is in the cache, or in the shared one (hit), it would run (run), or that this depends on what
others make (pending), and why; and what that may take, going by earlier runs. It runs and changes nothing. It warns of
what a build would refuse since this machine is too small, and with --offline of what it would lack without a network.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := recipeArg(args)
			if err != nil {
				return err
			}
			st, _, known := a.standingNow(cmd.Context(), path, s, offline)
			if st != nil {
				return a.tellPlan(path, st.planned(), "", asJSON)
			}
			t, err := a.survey(cmd.Context(), path, &s, surveying{offline: true, alone: offline, known: known})
			if err != nil {
				return err
			}
			if err := t.warn(cmd.Context(), offline); err != nil {
				return err
			}
			f := t.forecast(cmd.Context())
			return a.tellPlan(path, t.planned(f), t.words(f), asJSON)
		},
		ValidArgsFunction: completeRecipes,
	}
	s.values(cmd)
	s.stages(cmd, a)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	alone(cmd, &offline)
	return cmd
}

// warn tells of what would keep the plan from being built here, or may.
func (t *site) warn(ctx context.Context, offline bool) error {
	if err := t.warnOfMisfits(); err != nil {
		return err
	}
	if err := t.warnOfPackages(ctx, t.app.stderr); err != nil || !offline {
		return err
	}
	return t.warnOfNetwork(ctx)
}

type plannedJSON struct {
	Stage  string            `json:"stage"`
	Kind   string            `json:"kind"`
	State  plan.State        `json:"state"`
	Reason string            `json:"reason"`
	Key    *artifacts.Key    `json:"key,omitempty"`
	Record *artifacts.Digest `json:"record,omitempty"`
	// What a run may take, going by the one that is named; absent where none is known.
	Forecast *costJSON `json:"forecast,omitempty"`

	runs bool // by itself, and not as another stage's equal
}

type costJSON struct {
	Seconds     float64 `json:"seconds"`
	PeakMemory  int64   `json:"peak_memory_bytes,omitempty"`
	OutputBytes int64   `json:"output_bytes"`
	From        string  `json:"from"`
}

// planned is the plan of a build that stands.
func (s *standing) planned() []plannedJSON {
	steps := make([]plannedJSON, len(s.Stages))
	for i := range s.Stages {
		one := &s.Stages[i]
		steps[i] = plannedJSON{Stage: one.Address, Kind: one.Kind, State: plan.Hit, Reason: plan.InTheCache, Key: &one.Key, Record: &one.Record}
	}
	return steps
}

// standingNow is what the last build of the request left, where all of that is still so; else nil, and what of it is.
func (a *app) standingNow(ctx context.Context, path string, s selection, alone bool) (*standing, *house, *known) {
	h, _, st := (&building{app: a, selection: s, alone: alone}).recall(path)
	if st == nil {
		return nil, nil, nil
	}
	found := st.look(ctx, h, true)
	if !found.holds {
		return nil, nil, found.known
	}
	return st, h, nil
}

// inTheSharedCache is the reason of a hit whose bytes this machine does not have.
const inTheSharedCache = "in the shared cache"

// reason is that of a step's state; where the result is, the plan does not know.
func (t *site) reason(s *plan.Step) string {
	if s.State == plan.Hit && s.Reason == plan.InTheCache && t.remote != nil && t.remote.Confirmed(s.RecordDigest) {
		return inTheSharedCache
	}
	return s.Reason
}

func (t *site) planned(f forecast) []plannedJSON {
	steps := make([]plannedJSON, 0, len(t.plan.Steps))
	for _, s := range t.plan.Steps {
		one := plannedJSON{Stage: s.Node.Stage.Address, Kind: s.Node.Stage.Kind.Name, State: s.State, Reason: t.reason(s), runs: mayRun(s)}
		if !s.Key.IsZero() {
			one.Key = &s.Key
		}
		if !s.RecordDigest.IsZero() {
			one.Record = &s.RecordDigest
		}
		if c := f[one.Stage]; c.From != "" {
			one.Forecast = &costJSON{c.Seconds, c.PeakMemory, c.OutputBytes, c.From}
		}
		steps = append(steps, one)
	}
	return steps
}

func (a *app) tellPlan(path string, steps []plannedJSON, forecast string, asJSON bool) error {
	if asJSON {
		return writeJSON(a.stdout, map[string]any{"recipe": path, "stages": steps})
	}
	counts := map[plan.State]int{}
	rows := make([][]string, 0, len(steps))
	for _, s := range steps {
		counts[s.State]++
		key, takes := "", ""
		if s.Key != nil {
			key = s.Key.Short()
		}
		if s.runs && s.Forecast != nil {
			takes = "~" + view.Seconds(s.Forecast.Seconds)
		}
		rows = append(rows, []string{s.Stage, string(s.State), takes, key, s.Reason})
	}
	if err := view.Table(a.stdout, []string{"STAGE", "PLAN", "TIME", "KEY", "REASON"}, rows); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "\n%s: %d cached, %d to run, %d pending\n",
		view.Count(len(steps), "stage"), counts[plan.Hit], counts[plan.Run], counts[plan.Pending])
	if forecast != "" {
		fmt.Fprintln(a.stdout, forecast)
	}
	return nil
}
