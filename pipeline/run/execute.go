package run

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/hcl/v2"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
)

// builder is one build.
type builder struct {
	plan   *plan.Plan
	o      Options
	build  *artifacts.Build
	who    holder
	me     []byte // who, as JSON
	redact *redactor
	pool   *pool

	devices  map[string]*sharedLease // by id; all that the pool has
	facts    map[string]string       // of the executor
	programs programs
	unshared error // why other machines do not find all that is stored here; of the goroutine of Execute
	room     room

	stopped atomic.Pointer[task] // the first that failed; set before its resources are free for another, unless it failed after they were: while what it made was checked, stored or published

	// Of the scheduler's goroutine.
	tasks     []*task
	byAddress map[string]*task
	reopened  bool // a task was done and is, or was, not any more
	leaders   map[artifacts.Key]*task
	shared    map[artifacts.Digest]bool // records that are on their way to other machines
	troubles  []error
	workers   sync.WaitGroup
}

// Execute carries out a plan. The Build is returned and stored whatever becomes of it; the error is an *Error unless
// the build ended with 0. A context that is cancelled ends workers and the build, in order.
func Execute(ctx context.Context, p *plan.Plan, o Options) (*artifacts.Build, error) {
	o = o.filled()
	b := &builder{
		plan: p, o: o, redact: newRedactor(),
		byAddress: map[string]*task{}, leaders: map[artifacts.Key]*task{},
	}
	b.identify()
	for i, s := range p.Steps {
		b.add(i, s)
	}
	b.link()
	b.learn()
	facts := o.Facts
	var failed error
	if facts == nil {
		facts, failed = o.Executor.Facts(ctx)
	}
	var diags hcl.Diagnostics
	if failed == nil {
		b.facts = facts
		c := capacityOf(facts)
		b.pool, b.devices = newPool(c, o.Jobs), newSharedLeases(c.gpus)
		diags = b.refuse(c)
	}
	exposed := b.exposed()
	diags = append(diags, exposed...)
	b.sayPlanned()
	if failed != nil || diags.HasErrors() {
		for _, t := range b.tasks {
			t.state, t.reason = artifacts.Blocked, "the build did not start"
		}
	} else {
		b.schedule(ctx)
		b.workers.Wait()
		b.tidyPromised()
	}
	return b.conclude(ctx, diags, failed, exposed.HasErrors())
}

// identify fills in what the caller left open of the Build.
func (b *builder) identify() {
	build, r := b.o.Build, b.plan.Graph.Recipe
	if build.Started.IsZero() {
		build.Started = b.o.Clock.Now().UTC()
	}
	if build.ID == "" {
		random := make([]byte, 3)
		_, _ = rand.Read(random) // never fails
		build.ID = build.Started.UTC().Format("20060102T150405Z-") + hex.EncodeToString(random)
	}
	if build.RecipePath == "" {
		build.RecipePath = r.Path
	}
	if build.Host == "" {
		build.Host, _ = os.Hostname()
	}
	if build.Variables == nil && len(r.Variables) > 0 {
		build.Variables = map[string]string{}
		for name, v := range r.Variables {
			if text, err := ctyjson.Marshal(v, v.Type()); err == nil {
				build.Variables[name] = string(text)
			}
		}
	}
	b.build = &build
	b.who = holder{Build: build.ID, Host: build.Host, PID: os.Getpid(), Since: build.Started.UTC()}
	b.me, _ = json.Marshal(b.who) // has nothing that could fail
}

func (b *builder) add(order int, s *plan.Step) {
	st := s.Node.Stage
	t := &task{step: s, order: order, forced: b.o.Force(st.Address)}
	t.report = &reporter{
		base: event.Event{Build: b.build.ID, Stage: st.Address, Kind: st.Kind.Name, Key: keyText(s.Key)},
		bus:  b.o.Events, clock: b.o.Clock, redact: b.redact, log: newStoredLog(halfLog),
	}
	b.tasks = append(b.tasks, t)
	b.byAddress[st.Address] = t
}

// link counts what each task waits for. A producer that was not selected is none of this build's.
func (b *builder) link() {
	for _, t := range b.tasks {
		seen := map[*task]bool{}
		for _, n := range t.before() {
			from := b.byAddress[n.Stage.Address]
			if from == nil || seen[from] {
				continue
			}
			seen[from] = true
			from.users = append(from.users, t)
			t.waits++
		}
	}
}

// refuse finds what cannot work before anything starts.
func (b *builder) refuse(c capacity) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, t := range b.tasks {
		st := t.step.Node.Stage
		if t.step.State == plan.Hit {
			continue
		}
		if d := c.refuse(st); d != nil {
			diags = append(diags, d)
		}
		if t.step.State == plan.Run { // a pending one may turn out a hit, which needs no secret
			if _, err := b.secretsOf(st); err != nil {
				split(err, &diags)
			}
		}
		if b.o.Locked && t.step.Source != "" && t.step.Pins == nil {
			at := st.Range
			for _, p := range st.Kind.Params {
				if set, ok := st.Params[p.Name]; ok && p.Source {
					at = set.Range
				}
			}
			diags = append(diags, problem(at, "Source is not locked",
				"The lock has no entry for %s, and --locked forbids to write one. Run `tinfra lock` and commit what it writes.", t.step.Source))
		}
	}
	return diags
}

func (b *builder) sayPlanned() {
	for _, t := range b.tasks {
		t.report.say(event.Event{Type: event.Planned, State: string(t.step.State), Reason: t.step.Reason})
	}
}

// conclude stores the Build and says how it ended. One whose recipe or values hold a secret is not stored.
func (b *builder) conclude(ctx context.Context, diags hcl.Diagnostics, failed error, exposed bool) (*artifacts.Build, error) {
	b.shareAll(ctx)
	e := b.verdict(ctx, diags, failed)
	b.build.Ended = b.o.Clock.Now().UTC()
	if e != nil {
		b.build.Exit, b.build.Problem = e.Exit, b.redact.clean(oneLine(e))
	}
	for _, t := range b.tasks {
		b.build.Steps = append(b.build.Steps, artifacts.Step{
			Address: t.address(), Kind: t.step.Node.Stage.Kind.Name, Key: t.step.Key, Record: t.digest,
			State: t.state, Reason: t.reason, Log: t.log,
		})
	}
	var err error
	if !exposed {
		err = b.store(ctx)
	}
	if err != nil {
		if e == nil {
			e = &Error{Exit: ExitCache}
		}
		e.Causes = append(e.Causes, err)
		b.build.Exit = e.Exit
	}
	b.o.Events.Publish(event.Event{
		Time: b.build.Ended, Type: event.Finished, Build: b.build.ID, Exit: b.build.Exit, Message: b.build.Problem,
		Seconds: b.build.Ended.Sub(b.build.Started).Seconds(),
	})
	if e != nil {
		return b.build, e
	}
	return b.build, nil
}

func (b *builder) store(interruptible context.Context) error {
	ctx := context.WithoutCancel(interruptible)
	if r := b.plan.Graph.Recipe; b.build.Recipe.IsZero() && len(r.Source) > 0 {
		blob, err := b.o.Cache.PutBytes(ctx, "text/plain", r.Source)
		if err != nil {
			return fmt.Errorf("storing the recipe: %w", err)
		}
		b.build.Recipe = blob.Digest
		for path, src := range r.Modules {
			blob, err := b.o.Cache.PutBytes(ctx, "text/plain", src)
			if err != nil {
				return fmt.Errorf("storing %s: %w", path, err)
			}
			if b.build.Modules == nil {
				b.build.Modules = map[string]artifacts.Digest{}
			}
			b.build.Modules[path] = blob.Digest
		}
	}
	stored, err := b.o.Cache.PutBuild(ctx, b.build)
	if err != nil {
		return fmt.Errorf("storing what became of the build: %w", err)
	}
	return b.shareBuild(interruptible, stored)
}

// verdict is nil for a build that ended well. Of several reasons the gravest gives the exit code.
func (b *builder) verdict(ctx context.Context, diags hcl.Diagnostics, failed error) *Error {
	e := &Error{Diagnostics: diags, Causes: b.troubles}
	worst := func(code int) {
		rank := []int{ExitBuilt, ExitRequire, ExitStage, ExitCache, ExitRecipe, ExitInternal, ExitInterrupted}
		for _, c := range rank {
			if c == e.Exit {
				e.Exit = code
				return
			}
			if c == code {
				return
			}
		}
	}
	if diags.HasErrors() {
		worst(ExitRecipe)
	}
	if failed != nil {
		e.Causes = append(e.Causes, failed)
		worst(ExitInternal)
	}
	if len(b.troubles) > 0 {
		worst(ExitCache)
	}
	for _, t := range b.tasks {
		if t.err == nil {
			continue
		}
		e.add(t)
		_, cache := errors.AsType[cacheTrouble](t.err)
		switch {
		case isRequire(t.err):
			worst(ExitRequire)
		case cache, errors.Is(t.err, artifacts.ErrDamaged):
			worst(ExitCache)
		default:
			worst(ExitStage)
		}
	}
	if ctx.Err() != nil && b.unfinished() {
		worst(ExitInterrupted)
		if b.unshared != nil {
			e.Causes = append(e.Causes, b.unshared)
		}
		if len(e.Causes) == 0 && len(e.Diagnostics) == 0 {
			e.Causes = append(e.Causes, context.Cause(ctx))
		}
	}
	if e.Exit == ExitBuilt {
		return nil
	}
	return e
}

// unfinished tells whether there was anything left to interrupt.
func (b *builder) unfinished() bool {
	return b.unshared != nil || slices.ContainsFunc(b.tasks, func(t *task) bool { return t.state != artifacts.Ran && t.state != artifacts.Hit })
}

// add sorts a task's error into the two families.
func (e *Error) add(t *task) {
	var diags hcl.Diagnostics
	left := split(t.err, &diags)
	for _, d := range diags {
		clean := *d
		clean.Detail = t.report.redact.clean(d.Detail)
		e.Diagnostics = append(e.Diagnostics, &clean)
	}
	for _, err := range left {
		e.Causes = append(e.Causes, &StageError{t.address(), t.report.redact.clean(err.Error()), err})
	}
}

// split takes diagnostics out of a joined error and gives the rest.
func split(err error, diags *hcl.Diagnostics) []error {
	if d, ok := err.(plan.Diagnostics); ok { //nolint:errorlint // the joined ones are taken apart below
		*diags = append(*diags, d.Diagnostics...)
		return nil
	}
	switch joined := err.(type) { //nolint:errorlint // one level at a time
	case requireError:
		return split(joined.error, diags)
	case cacheTrouble, transient:
		return []error{err}
	case interface{ Unwrap() []error }:
		var left []error
		for _, one := range joined.Unwrap() {
			left = append(left, split(one, diags)...)
		}
		return left
	}
	if strings.TrimSpace(err.Error()) == "" {
		return nil
	}
	return []error{err}
}
