package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/stages/env"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

const (
	tailEvery    = 100 * time.Millisecond // how often what a worker says is read
	firstBackoff = time.Second            // before the second attempt; then twice as long each time
)

// attempt is one try at a stage, in one workspace.
type attempt struct {
	number  int
	ws      Workspace
	handle  Handle
	tails   *tails
	check   func() error // of what the worker may not change
	started time.Time
	ended   time.Time
	exit    Exit
	found   bool // begun by an earlier build
	resumed bool // handed what an earlier attempt finished
	heavy   bool // its inputs cost time to hash
	gpus    int  // that its worker had
}

// attempts runs a stage until it is made, or cannot be.
func (b *builder) attempts(ctx context.Context, t *task, a *artifacts.Action) error {
	key := t.workKey()
	next, at, err := b.reattach(ctx, t, key, a)
	if err != nil {
		return err
	}
	if at == nil && t.forced {
		b.dropCheckpoints(t) // who asks for it again does not want the half of it that is there
	}
	retries := t.step.Node.Stage.Retries
	if retries < 0 {
		retries = b.o.Retries
	}
	for tried := 1; ; tried++ {
		t.report.attempt, t.tried = next, tried
		if at != nil {
			t.report.attempt = at.number
			err = b.follow(ctx, t, a, at)
		} else {
			err = b.try(ctx, t, a, next)
			next++
		}
		at = nil
		passing, ok := errors.AsType[transient](err)
		if !ok || tried > retries || ctx.Err() != nil {
			return err
		}
		pause := firstBackoff << (tried - 1)
		t.report.warn(fmt.Sprintf("%v; attempt %d of %d follows in %v", passing, tried+1, retries+1, pause))
		select {
		case <-b.o.Clock.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// try starts one attempt in a fresh workspace and sees it through.
func (b *builder) try(ctx context.Context, t *task, a *artifacts.Action, number int) error {
	trees, err := b.trees(ctx, t.step, a)
	if err != nil {
		return err
	}
	if err := b.fits(t, trees); err != nil {
		return err
	}
	ready, err := b.environment(ctx, t)
	if err != nil {
		return err
	}
	ws, err := b.o.Workspaces.Fresh(t.workKey(), number, layoutOf(t.step.Node.Stage, a, trees))
	if err != nil {
		return fmt.Errorf("making a workspace: %w", err)
	}
	at := &attempt{number: number, ws: ws}
	if err := b.start(ctx, t, a, at, trees, ready); err != nil {
		return errors.Join(err, ws.Close())
	}
	return b.follow(ctx, t, a, at)
}

// start lays out the workspace and starts the worker.
func (b *builder) start(ctx context.Context, t *task, a *artifacts.Action, at *attempt, trees []tree, ready env.Ready) error {
	ws := at.ws.Dir
	var err error
	if at.check, err = b.lay(b.bringing(ctx, t), trees, ws); err != nil {
		return err
	}
	at.heavy = heavy(trees)
	req, err := b.request(t.step, a, inputsOf(trees, a), t.ticket.grant)
	if err != nil {
		return err
	}
	if err := b.checkpoint(t, at, req); err != nil {
		return err
	}
	if err := furnish(ws, a.Outputs, req); err != nil {
		return err
	}
	cmd, err := b.commandOf(t.step, a, ws, ready, t.ticket.grant)
	if err != nil {
		return err
	}
	if err := b.writeSeal(ws, t.step.Node.Stage); err != nil {
		return err
	}
	if err := t.stored(ctx); err != nil {
		return err
	}
	artifacts.Reached(artifacts.StepWorkLaid)
	at.started = b.o.Clock.Now().UTC()
	at.handle, err = b.o.Executor.Start(ctx, Job{
		Workspace: ws, Argv: cmd.argv, Env: cmd.env, Network: t.step.Node.Stage.Kind.Network, Grace: b.o.Grace,
	})
	if err != nil {
		return err
	}
	artifacts.Reached(artifacts.StepWorkStarted)
	at.tails = newTails(t.report, ws)
	t.report.say(event.Event{Type: event.Started, Message: startedMessage(t.ticket.grant, at.resumed)})
	return nil
}

func startedMessage(g *grant, resumed bool) string {
	var parts []string
	if len(g.gpus) > 0 {
		parts = append(parts, "on GPU "+few(g.gpus))
	}
	if resumed {
		parts = append(parts, "goes on from what an earlier attempt finished")
	}
	return strings.Join(parts, ", ")
}

// environment installs what the stage's worker runs in.
func (b *builder) environment(ctx context.Context, t *task) (env.Ready, error) {
	name, err := t.step.Node.Stage.Env()
	if name == "" || err != nil {
		return env.Ready{}, err
	}
	return b.o.Envs.Install(ctx, name, func(done string) { // whose errors name the environment
		t.report.say(event.Event{Type: event.Queued, Message: done}) // minutes may pass: nobody shall think that it hangs
	})
}

// end makes an end of a job that nobody follows.
func (b *builder) end(h Handle, cause error) error {
	ctx := context.Background()
	if err := b.o.Executor.Cancel(ctx, h, cause); err != nil {
		return err
	}
	_, err := b.o.Executor.Wait(ctx, h)
	return err
}

// follow sees a started attempt through to a published record, and has its workspace removed; or leaves it, where what the
// worker made is whole and could not be kept anywhere else.
func (b *builder) follow(ctx context.Context, t *task, a *artifacts.Action, at *attempt) (err error) {
	defer func() {
		if unwritten(err) {
			t.report.warn("what the worker made is still there: the next build takes it up")
			err = errors.Join(err, at.ws.Release())
			return
		}
		switch {
		case err == nil && at.heavy:
			if left := at.ws.Reuse(); left != nil {
				t.report.warn(left.Error())
			}
			return
		case err == nil:
			t.leave = append(t.leave, at.ws.Reuse)
			return
		}
		err = errors.Join(err, at.ws.Close())
	}()
	if err := b.await(ctx, t, at); err != nil {
		return err
	}
	if err := judge(t.step.Node.Stage, b.pool.total, at.exit, at.tails.problems); err != nil {
		return crowded(at.ws.Dir, at.exit, err)
	}
	// A person who interrupts now would only throw away what is already made.
	return b.collect(context.WithoutCancel(ctx), t, a, at)
}

// await returns when the worker's process tree is gone: by itself, after its timeout, or since the build is cancelled.
func (b *builder) await(ctx context.Context, t *task, at *attempt) error {
	type waited struct {
		exit Exit
		err  error
	}
	done := make(chan waited, 1)
	go func() { // ends with the worker, which is waited for below
		e, err := b.o.Executor.Wait(context.WithoutCancel(ctx), at.handle)
		done <- waited{e, err}
	}()
	tick := time.NewTicker(tailEvery)
	defer tick.Stop()
	quiet := newSilence(b.o.Clock.Now())
	cancelled, kill, late := ctx.Done(), b.o.Kill, b.late(t, at)
	var why error
	cancel := func(cause error) {
		if why == nil {
			why = cause
		}
		if err := b.o.Executor.Cancel(context.WithoutCancel(ctx), at.handle, cause); err != nil {
			t.report.warn(err.Error())
		}
	}
	for {
		select {
		case <-tick.C:
			at.tails.poll(false)
			b.listen(t, at, quiet)
		case <-cancelled:
			cancelled = nil
			cancel(context.Cause(ctx))
		case <-kill:
			kill = nil
			if why == nil {
				cancel(ErrInterrupted)
			}
			cancel(ErrInterrupted)
		case <-late:
			late = nil
			cancel(errTimeout{t.step.Node.Stage.Timeout.String()})
		case w := <-done:
			at.tails.poll(true)
			if at.exit = w.exit; at.ended.IsZero() {
				at.ended = b.o.Clock.Now().UTC()
			}
			if why != nil {
				return why
			}
			if errors.Is(w.err, ErrLost) {
				return transient{w.err}
			}
			return w.err
		}
	}
}

// late tells when the attempt has taken longer than its stage allows; nil never does.
func (b *builder) late(t *task, at *attempt) <-chan time.Time {
	limit := t.step.Node.Stage.Timeout
	if limit <= 0 {
		return nil
	}
	spent := max(0, b.o.Clock.Now().Sub(at.started)) // by an earlier build, perhaps, whose clock was ahead of ours
	return b.o.Clock.After(max(0, limit-spent))
}

// collect turns what a worker that ended well has left into a published record.
func (b *builder) collect(ctx context.Context, t *task, a *artifacts.Action, at *attempt) error {
	k := t.step.Node.Stage.Kind
	result := &protocol.Result{}
	if !k.Native {
		var err error
		if result, err = protocol.ReadResult(at.ws.Dir); err != nil {
			return fmt.Errorf("the worker ended without an error, but left no usable result: %w", err)
		}
	}
	if err := declared(result, k); err != nil {
		return err
	}
	if err := strays(at.ws.Dir, k, at.found); err != nil {
		return err
	}
	at.gpus = len(t.ticket.grant.gpus)
	reused, unfit := b.reused(ctx, t, a, at, result)
	if unfit == nil {
		// What follows may read all that went in and came out, which takes no device. Nothing of it is a passing trouble:
		// another attempt would need the whole grant again.
		t.lighten()
	}
	if err := at.check(); err != nil {
		return err
	}
	if unfit != nil { // said second: a worker that changed an input may have lost it by that
		return unfit
	}
	if err := soundTensors(at.ws.Dir, k); err != nil {
		return err
	}
	if err := b.discreet(at.ws.Dir, t.step.Node.Stage); err != nil {
		return err
	}
	m := &made{}
	defer b.room.free(m)
	if err := b.adopt(ctx, t, a, at, result, reused, m); err != nil {
		return err
	}
	return b.publish(ctx, t, a, at, result, m)
}

// nextAttempt is a number that no attempt of the key has had.
func nextAttempt(numbers []int) int {
	if len(numbers) == 0 {
		return 1
	}
	return slices.Max(numbers) + 1
}
