package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
)

// schedule takes every task to its end. Its goroutine alone decides what starts, in the graph's order, so two builds
// of one plan start alike. After a failure without --keep-going nothing more starts; what runs is let finish.
func (b *builder) schedule(ctx context.Context) {
	handed := make(chan *task)
	running := 0
	var ready []*task
	for _, t := range b.tasks {
		if t.waits == 0 {
			ready = append(ready, t)
		}
	}
	for {
		for len(ready) > 0 {
			slices.SortFunc(ready, func(x, y *task) int { return cmp.Compare(x.order, y.order) })
			t := ready[0]
			ready = ready[1:]
			if t.waits > 0 || t.busy || t.state != "" {
				continue // one that it needs was opened again since it was ready: it is told when that is done
			}
			t.busy = true
			if b.launch(ctx, t, handed) {
				running++
				continue
			}
			ready = append(ready, b.finish(ctx, t)...)
		}
		if running == 0 {
			return
		}
		t := <-handed
		running--
		var again bool
		if ready, again = b.reopen(ctx, t); !again {
			ready = b.finish(ctx, t)
		}
	}
}

// launch starts a task whose producers are done. It is false for one that needs no run: its state is then set, or it
// waits for the run of another.
func (b *builder) launch(ctx context.Context, t *task, handed chan<- *task) bool {
	if why := b.withheld(t); why != "" {
		t.state, t.reason = artifacts.Blocked, why
		return false
	}
	if err := b.plan.Settle(context.WithoutCancel(ctx), t.step); err != nil {
		b.fail(t, settleTrouble(err))
		return false
	}
	if t.restore() {
		return false
	}
	if t.step.State == plan.Hit {
		t.state, t.reason, t.record, t.digest = artifacts.Hit, t.step.Reason, t.step.Record, t.step.RecordDigest
		if !t.step.Known {
			b.keepAction(context.WithoutCancel(ctx), t)
		}
		if b.o.Forget == nil { // else it may have to run yet
			b.tidy(t)
		}
		return false
	}
	if why := b.halted(ctx); why != "" {
		t.state, t.reason = artifacts.Blocked, why
		return false
	}
	if t.step.Key.IsZero() {
		var err error
		if t.place, err = b.placeOf(t.step); err != nil {
			b.fail(t, err)
			return false
		}
	}
	if leader := b.leader(t); leader != nil {
		if !leader.done() {
			leader.same = append(leader.same, t)
			return false
		}
		b.adoptFrom(t, leader)
		return false
	}
	if err := b.exceeds(t); err != nil {
		b.fail(t, err)
		return false
	}
	b.spawn(ctx, t, handed)
	return true
}

// spawn has a task run on a goroutine of its own, which hands it back.
func (b *builder) spawn(ctx context.Context, t *task, handed chan<- *task) {
	booked, stay := make(chan struct{}), &stay{}
	t.report.base.Key, t.report.claim = keyText(t.step.Key), nil
	t.booked, t.stay, t.tried = booked, stay, 0
	if t.was != nil && !t.was.gone {
		t.report.say(event.Event{Type: event.Planned, State: string(plan.Run), Reason: t.step.Reason})
	}
	b.enqueue(t)
	b.workers.Go(func() {
		if err := b.run(ctx, t); err != nil {
			t.err = err
		}
		leave, r := t.leave, *t.report
		t.leave, stay.made = nil, t.digest
		if isLost(t.err) { // it comes back, and would wait for its own lease
			b.left(leave, r)
			handed <- t
			return
		}
		handed <- t
		<-booked // else another machine would have the key before the result is on its way there
		b.left(leave, r)
	})
}

// withheld says why a task is not even looked at.
func (b *builder) withheld(t *task) string {
	for _, p := range t.before() {
		from := b.byAddress[p.Stage.Address]
		switch {
		case from == nil, !from.done():
		case from.state == artifacts.Blocked:
			return fmt.Sprintf("waits for %s, which is blocked", from.address())
		case from.err != nil && isRequire(from.err):
			return fmt.Sprintf("a require of %s failed", from.address())
		case errors.Is(from.err, ErrInterrupted):
			return fmt.Sprintf("%s was interrupted", from.address())
		case from.err != nil:
			return fmt.Sprintf("%s failed", from.address())
		}
	}
	return ""
}

// halted says why nothing more starts.
func (b *builder) halted(ctx context.Context) string {
	if ctx.Err() != nil {
		return "interrupted"
	}
	if first := b.stopped.Load(); first != nil && !b.o.KeepGoing {
		return fmt.Sprintf("not started, since %s failed", first.address())
	}
	return ""
}

// enqueue asks for resources: those that the worker of an earlier build still holds, where there is one.
func (b *builder) enqueue(t *task) {
	held := b.heldGPUs(t.workKey())
	if !b.pool.has(held) {
		held = nil
	}
	t.ticket = b.pool.add(t.order, t.step.Node.Stage.Needs, held)
}

func isRequire(err error) bool {
	_, ok := errors.AsType[requireError](err)
	return ok
}

// settleTrouble: what the author can mend stays theirs, anything else is the cache's.
func settleTrouble(err error) error {
	if _, ok := errors.AsType[plan.Diagnostics](err); ok {
		return err
	}
	return cacheTrouble{err}
}

// leader is the task that runs in place of t, or nil. It is the first that could begin, which need not be the first in
// the graph's order: that one may wait for a gate.
func (b *builder) leader(t *task) *task {
	k := t.workKey()
	if l, ok := b.leaders[k]; ok && l != t {
		return l
	}
	b.leaders[k] = t
	if t.step.Same != nil {
		if first := b.byAddress[t.step.Same.Node.Stage.Address]; first != nil {
			t.forced = t.forced || first.forced
		}
	}
	return nil
}

// placeOf names the work on a source that is not locked yet, by all that is known of it before it is; by the recipe's
// folder too, since a relative source means another file in each.
func (b *builder) placeOf(s *plan.Step) (artifacts.Key, error) {
	draft, err := b.plan.Draft(s)
	if err != nil {
		return artifacts.Key{}, err
	}
	text, err := artifacts.JCS(map[string]any{
		"unlocked": s.Source, "kind": draft.Kind, "params": string(draft.Params),
		"worker": draft.Worker.String(), "env": draft.Env.String(), "inputs": fmt.Sprint(draft.Inputs), "salt": draft.Salt,
		"dir": artifacts.Sum([]byte(b.plan.Graph.Recipe.Dir)).String(),
	})
	if err != nil {
		return artifacts.Key{}, fmt.Errorf("naming the work on %s: %w", s.Source, err)
	}
	return artifacts.Key(artifacts.Sum(text)), nil
}

// adoptFrom ends a task with what the run of an equal one gave.
func (b *builder) adoptFrom(t, leader *task) {
	switch {
	case leader.record != nil:
		t.state, t.reason, t.record, t.digest = artifacts.Hit, "the same as "+leader.address()+", which made it", leader.record, leader.digest
		if t.step.Key.IsZero() {
			t.step.Key, t.step.Action, t.step.Pins = leader.step.Key, leader.step.Action, leader.step.Pins
		}
	case errors.Is(leader.err, ErrInterrupted):
		t.state, t.reason = artifacts.Blocked, "the same as "+leader.address()+", which was interrupted"
	case leader.err != nil:
		t.state, t.reason, t.err = artifacts.Failed, "the same as "+leader.address()+", which failed", fmt.Errorf("the same as %s, which failed", leader.address())
	default:
		t.state, t.reason = artifacts.Blocked, leader.reason
	}
}

func (b *builder) fail(t *task, err error) { t.err, t.state = err, artifacts.Failed }

// finish books what became of a task and gives those that need wait no longer.
func (b *builder) finish(ctx context.Context, t *task) []*task {
	if t.state == "" && t.err == nil && t.record == nil {
		return nil // parked with its leader
	}
	t.busy = false
	t.conclude(ctx)
	if t.record != nil {
		b.plan.Made(t.step, t.record, t.digest)
		b.share(t)
	}
	if t.booked != nil {
		if t.state == artifacts.Ran || t.state == artifacts.Failed && t.tried > 0 {
			t.runs++
		}
		close(t.booked)
		t.booked = nil
	}
	if t.record != nil && t.err == nil && b.overtaken(t) {
		return b.outdated(ctx, t)
	}
	if t.record != nil && t.err == nil {
		t.err = b.require(context.WithoutCancel(ctx), t)
	}
	if t.err != nil && t.state != artifacts.Blocked {
		t.state, t.reason = artifacts.Failed, t.report.redact.clean(oneLine(t.err))
		if !isRequire(t.err) {
			b.stopped.CompareAndSwap(nil, t)
		}
		if errors.Is(t.err, ErrInterrupted) {
			t.reason = event.Interrupted
		}
		if t.err.Error() != event.Interrupted { // else its end says all
			t.report.problem(t.err.Error())
		}
	}
	if !t.told || t.err != nil {
		b.sayFinished(ctx, t)
		t.told = true
	}
	var ready []*task
	for _, s := range t.same {
		b.adoptFrom(s, t)
		ready = append(ready, b.finish(ctx, s)...)
	}
	t.same = nil
	return append(ready, b.free(t)...)
}

// conclude sets the state of a task that came back from its run.
func (t *task) conclude(ctx context.Context) {
	switch {
	case t.state != "":
	case isNotStarted(t.err):
		t.state, t.reason, t.err = artifacts.Blocked, t.err.Error(), nil
	case t.err != nil && t.tried == 0 && ctx.Err() != nil:
		t.state, t.reason, t.err = artifacts.Blocked, "interrupted", nil
	case t.err != nil:
		t.state = artifacts.Failed
	default:
		t.state, t.reason = artifacts.Ran, t.step.Reason
	}
}

func (b *builder) sayFinished(ctx context.Context, t *task) {
	e := event.Event{Type: event.Finished, State: string(t.state), Reason: t.reason, Seconds: t.seconds}
	if t.record != nil {
		e.Metrics, e.Outputs, e.Observed, e.Labels = t.record.Metrics, digests(t.record), t.record.Observed, t.labels
	}
	t.report.attempt, t.report.base.Key = 0, keyText(t.step.Key)
	t.report.say(e)
	switch {
	case t.record != nil && t.log.IsZero():
		t.log = t.record.Log
	case t.record == nil && (t.tried > 0 || t.state == artifacts.Failed):
		if _, err := b.storeLog(context.WithoutCancel(ctx), t); err != nil {
			b.troubles = append(b.troubles, err)
		}
	}
	t.report.log = newStoredLog(0) // what it held is stored, and there may be a thousand of them
}

func keyText(k artifacts.Key) string {
	if k.IsZero() {
		return ""
	}
	return k.String()
}
