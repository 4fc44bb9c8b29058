package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// building is what `build` and `lock` were asked for.
type building struct {
	app       *app
	selection selection
	jobs      int
	keepGoing bool
	offline   bool // no network
	alone     bool // no shared cache
	locked    bool
	json      bool
	plain     bool
	logs      bool
	maxRuns   int  // stages that may run; negative: any number
	update    bool // of the lock: what is pinned already is pinned anew

	claims *claims       // nil where no other machine builds
	commit func() string // waits for what askCommit has asked
}

func newBuild(a *app) *cobra.Command {
	b := &building{app: a, maxRuns: -1}
	cmd := &cobra.Command{
		Use:   "build [RECIPE]",
		Short: "Build what a recipe describes",
		Long: `build runs the stages whose results are not in the cache, and keeps what they make. Without a recipe it takes the only
*.hcl of this folder. Ctrl-C once asks the stages to stop and keeps what is finished; twice kills them.

` + exitCodes,
		Example: `  tinfra build recipes/smollm2-int4.hcl
  tinfra build llama3.hcl --target gptq.int4 --set gptq.int4.bits=8
  tinfra build --json | jq 'select(.type == "finished")'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := recipeArg(args)
			if err != nil {
				return err
			}
			b.alone = b.offline
			return b.build(cmd.Context(), path)
		},
		ValidArgsFunction: completeRecipes,
	}
	b.selection.values(cmd)
	b.selection.stages(cmd, a)
	a.singleWriting(cmd)
	f := cmd.Flags()
	f.IntVarP(&b.jobs, "jobs", "j", 0, "run at most this many stages at once (default: as many as the machine has room for)")
	f.BoolVarP(&b.keepGoing, "keep-going", "k", false, "after a failure, go on with what does not depend on it")
	f.BoolVar(&b.offline, "offline", false, "reach for no network: fail where something must be downloaded or installed")
	f.BoolVar(&b.locked, "locked", false, "refuse downloads that the lock file does not pin")
	f.IntVar(&b.maxRuns, "max-runs", -1, "run at most this many stages, and refuse to begin when more may run; 0: all must be in the cache")
	b.viewing(cmd)
	return cmd
}

// viewing adds the flags that choose how a build is shown.
func (b *building) viewing(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&b.json, "json", false, "write every event as one line of JSON")
	f.BoolVar(&b.plain, "plain", false, "write plain lines on a terminal too")
	f.BoolVar(&b.logs, "logs", false, "write what the workers print, too")
}

func (b *building) build(ctx context.Context, path string) error {
	if b.jobs < 0 {
		return usage("--jobs %d: give a number of stages from 1 on", b.jobs)
	}
	started := clock.Now()
	defer b.askCommit(ctx, path)()
	before, done, err := b.repeat(ctx, path, started)
	if done || err != nil {
		return err
	}
	t, err := b.app.survey(ctx, path, &b.selection, surveying{offline: b.offline, alone: b.alone, unpin: b.update, build: true, known: before.known})
	if err != nil {
		return err
	}
	if b.offline {
		if err := t.refuseNetwork(ctx); err != nil {
			return err
		}
	}
	f := t.forecast(ctx)
	if b.maxRuns >= 0 {
		if err := t.refuseRuns(b.maxRuns, f); err != nil {
			return err
		}
	}
	o, err := b.options(ctx, t, started)
	if err != nil {
		return err
	}
	tally := newTally()
	made, err := b.execute(ctx, t, o, tally, t.outlook(f))
	t.executor.Close()
	if b.claims != nil {
		b.claims.end()
	}
	if sweep := t.store.SweepWork(context.WithoutCancel(ctx)); sweep != nil {
		fmt.Fprintln(b.app.stderr, "tinfra: cleaning up:", sweep)
	}
	if l, ok := o.Lock.(*lockFile); ok && l.written() && !b.json {
		fmt.Fprintf(b.app.stderr, "wrote %s: commit it with the recipe\n", shown(l.path))
	}
	outcome := &outcome{site: t, build: made, tally: tally, took: clock.Now().Sub(started), asJSON: b.json, manifests: map[artifacts.Digest]*artifacts.Manifest{}}
	return outcome.conclude(ctx, err, before.name, started)
}

func (b *building) options(ctx context.Context, t *site, started time.Time) (run.Options, error) {
	lock, err := t.storeLock(ctx)
	if err != nil {
		return run.Options{}, err
	}
	jobs := b.jobs
	if jobs == 0 {
		jobs = t.project.Jobs
	}
	o := run.Options{
		Cache: t.cache, Workspaces: workspaces{t.store}, Layer: layer{t.store, t.remote}, Adopter: t.store, Leaser: t.store, Checkpoints: t.store,
		Executor: t.executor, Meter: t.executor, Envs: t.envs, Lock: newLockFile(t.recipe, b.update), Facts: t.facts,
		Jobs: jobs, KeepGoing: b.keepGoing, Locked: b.locked, Force: b.selection.forced,
		Settings: settings(t.project), Builder: builder(), Kill: b.app.killed.Done(), Clock: clock,
		Build: artifacts.Build{
			ID:         buildID(started),
			RecipePath: t.recordedPath(t.recipe.Path), Targets: b.selection.targets, Lock: lock,
			Commit: b.commit(), Host: hostName(), Started: started.UTC(),
		},
	}
	if t.remote != nil {
		o.Share, o.Forget = sharer{t.remote}, t.remote.Forget
	}
	if b.maxRuns >= 0 {
		o.MaxRuns = &b.maxRuns
	}
	if t.writes != nil {
		b.claims = newClaims(ctx, t.writes, t.remote, artifacts.NewCache(t.store, t.store))
		o.Claims = b.claims
	}
	return o, nil
}

// clock is the machine's. Tests set it wrong.
var clock run.Clock = run.RealClock{}

// buildID orders builds by time, also those of one second: its hex digits are the fraction of the second.
func buildID(t time.Time) string {
	return t.UTC().Format("20060102T150405Z-") + fmt.Sprintf("%06x", int64(t.Nanosecond())<<24/int64(time.Second))
}

// storeLock keeps the lock as it is when the build begins; zero where there is none.
func (t *site) storeLock(ctx context.Context) (artifacts.Digest, error) {
	b, err := os.ReadFile(t.recipe.Lock.Path)
	if os.IsNotExist(err) {
		return artifacts.Digest{}, nil
	}
	if err != nil {
		return artifacts.Digest{}, fmt.Errorf("reading the lock: %w", err)
	}
	blob, err := t.cache.PutBytes(ctx, "text/x-hcl", b)
	return blob.Digest, err
}

// askCommit begins to ask for the recipe's commit, since git takes as long as all that a build looks at before it needs the answer.
func (b *building) askCommit(ctx context.Context, path string) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	commit := ""
	asking.Go(func() { commit = commitOf(ctx, dirOf(path)) })
	b.commit = func() string {
		asking.Wait()
		return commit
	}
	return func() {
		cancel()
		asking.Wait()
	}
}

// commitOf is the commit that the recipe's folder has checked out; "" where git cannot say.
func commitOf(ctx context.Context, dir string) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "git", "-C", dir, "rev-parse", "HEAD").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// execute runs the plan, shown in the way that fits.
func (b *building) execute(ctx context.Context, t *site, o run.Options, tally *tally, outlook view.Outlook) (made *artifacts.Build, err error) {
	err = b.shown(outlook, func(bus *event.Bus) (err error) {
		o.Events = bus
		made, err = run.Execute(ctx, t.plan, o)
		return err
	}, tally)
	return made, err
}

// shown gives a build the bus that what it says is shown by.
func (b *building) shown(outlook view.Outlook, build func(*event.Bus) error, listeners ...event.Listener) error {
	terminal := view.TerminalOf(b.app.stderr)
	closeView := func() error { return nil }
	switch {
	case b.json:
		j := view.NewJSON(b.app.stdout)
		listeners = append(listeners, j)
		closeView = j.Err
	case terminal.Is && !b.plain:
		live := view.NewLive(b.app.stderr, terminal, outlook, b.logs)
		listeners = append(listeners, live)
		notice := live.Notice
		b.app.notice.Store(&notice)
		closeView = func() error { b.app.notice.Store(nil); live.Close(); return nil }
	default:
		listeners = append(listeners, view.NewPlain(b.app.stderr, terminal.Color, outlook, b.logs))
	}
	bus := event.NewBus(listeners...)
	err := build(bus)
	bus.Close()
	if werr := closeView(); err == nil && werr != nil {
		err = werr
	}
	return err
}

func dirOf(path string) string { return filepath.Dir(path) }
