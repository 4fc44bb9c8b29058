package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
)

// The result of another machine is a promise. Where its files turn out to be gone, when a stage needs them, the task that makes them is opened
// again: it runs in this build, and who needs it waits. What it makes may differ from what was promised. Then all that was settled by the
// old record is settled anew, so that no build ends with results of two runs of one stage.

// goneReason is why a stage runs that was a hit.
const goneReason = "its files are gone from the shared cache"

// maxRemade is how often the files of one task may turn out to be gone in a build. The second time it runs even where the shared cache has
// yet another record of its key.
const maxRemade = 2

// goneError is of bytes that another machine's result has promised and nobody has any more. GoneKey names the result.
type goneError interface {
	error
	GoneKey() artifacts.Key
}

// lostInput is one of an input of a stage.
type lostInput struct {
	error
	port string
}

func (l lostInput) Unwrap() error { return l.error }

func isLost(err error) bool {
	_, ok := errors.AsType[lostInput](err)
	return ok
}

// ended is what became of a task before it was opened again.
type ended struct {
	key     artifacts.Key
	state   artifacts.State
	reason  string
	record  *artifacts.Record
	digest  artifacts.Digest
	log     artifacts.Digest
	seconds float64
	told    bool
	gone    bool // its files are: it is nobody's result any more
}

// reopen takes back a task that has found files of an input gone: it waits until they are made again. ok is false where that cannot be, and
// the task ends with what t.err says then.
func (b *builder) reopen(ctx context.Context, t *task) (ready []*task, ok bool) {
	lost, is := errors.AsType[lostInput](t.err)
	if !is {
		return nil, false
	}
	for _, why := range []string{b.halted(ctx), b.withheld(t)} {
		if why != "" {
			t.err = notStarted(why)
			return nil, false
		}
	}
	in := t.step.Node.Stage.Inputs[lost.port]
	if in.Ref == nil || b.byAddress[in.Ref.Address] == nil {
		return nil, false
	}
	from := b.byAddress[in.Ref.Address]
	if from.done() && !t.stale {
		if ready, t.err = b.remake(from, lost); t.err != nil {
			return nil, false
		}
	}
	t.err, t.busy, t.booked, t.report.attempt = nil, false, nil, 0
	ready = append(ready, b.unlead(t)...)
	if t.stale {
		b.unsettle(t)
	}
	if t.waits = b.awaited(t); t.waits == 0 {
		return append(ready, t), true
	}
	t.report.say(event.Event{Type: event.Queued, Message: fmt.Sprintf("waits for %s, whose files are gone from the shared cache", from.address())})
	return ready, true
}

// remake opens a task whose files are gone, with all those of its key: one run makes them.
func (b *builder) remake(t *task, lost lostInput) (ready []*task, err error) {
	if err := b.mayRemake(t, lost); err != nil {
		return nil, err
	}
	equal, steps := []*task{t}, []*plan.Step{t.step}
	for _, other := range b.tasks {
		if other != t && !other.busy && other.step.Key == t.step.Key &&
			(other.state == artifacts.Hit || other.state == "" && other.step.State == plan.Hit) {
			equal, steps = append(equal, other), append(steps, other.step)
		}
	}
	if b.o.Forget != nil {
		b.o.Forget(t.step.Key)
	}
	b.plan.Remake(steps, goneReason)
	why := lost.Error()
	if gone, ok := errors.AsType[goneError](lost.error); ok {
		why = gone.Error()
	}
	for _, one := range equal {
		one.remade++
		if !one.done() {
			continue // it waits for others yet
		}
		b.again(one)
		one.was.gone = true
		one.report.say(event.Event{Type: event.Planned, State: string(one.step.State), Reason: one.step.Reason})
		if one.waits == 0 {
			ready = append(ready, one)
		}
	}
	t.report.warn(goneReason + ", so it runs again: " + why)
	return ready, nil
}

// mayRemake says why a task whose files are gone cannot run now.
func (b *builder) mayRemake(t *task, lost lostInput) error {
	if t.state != artifacts.Hit || t.remade == maxRemade {
		return fmt.Errorf("%w; `tinfra build --force %s` makes them again", lost, t.address())
	}
	if b.o.MaxRuns != nil && b.runs() >= *b.o.MaxRuns {
		return fmt.Errorf("%w; %s would have to run again, and --max-runs %d allows no more", lost, t.address(), *b.o.MaxRuns)
	}
	if d := b.pool.total.refuse(t.step.Node.Stage); d != nil {
		return errors.Join(lost, diagnosed(d))
	}
	if _, err := b.secretsOf(t.step.Node.Stage); err != nil {
		return errors.Join(lost, err)
	}
	return nil
}

// runs is how many stages have run, run or may yet run. A pending one counts: that it becomes a hit is a hope.
func (b *builder) runs() int {
	n := 0
	for _, t := range b.tasks {
		n += t.runs
		if t.running() || t.state == "" && t.step.State != plan.Hit && t.step.Same == nil {
			n++
		}
	}
	return n
}

// exceeds tells of a task that was a hit, and must run after all, that this is one run too many. What has a place in the plan was counted
// before the build began.
func (b *builder) exceeds(t *task) error {
	if b.o.MaxRuns == nil || t.was == nil || t.was.gone || b.runs() <= *b.o.MaxRuns {
		return nil
	}
	return cacheTrouble{fmt.Errorf("it must run again (%s), and --max-runs %d allows no more", t.step.Reason, *b.o.MaxRuns)}
}

// awaited is how many of those that a task waits for are not done.
func (b *builder) awaited(t *task) int {
	open := map[*task]bool{}
	for _, n := range t.before() {
		if from := b.byAddress[n.Stage.Address]; from != nil && !from.done() {
			open[from] = true
		}
	}
	return len(open)
}

// again opens a task that is done. Whoever uses it and has not begun waits.
func (b *builder) again(t *task) {
	t.reset()
	b.reopened = true
	for _, u := range t.users {
		u.waits = b.awaited(u)
	}
	t.waits = b.awaited(t)
}

// reset makes a task that has ended one that has not.
func (t *task) reset() {
	t.was = &ended{
		key: t.step.Key, state: t.state, reason: t.reason, record: t.record, digest: t.digest, log: t.log, seconds: t.seconds, told: t.told,
	}
	t.state, t.reason, t.err, t.record, t.digest, t.log, t.seconds = "", "", nil, nil, artifacts.Digest{}, artifacts.Digest{}, 0
	t.labels, t.told, t.same, t.report.log, t.report.attempt = nil, false, nil, newStoredLog(halfLog), 0
}

// restore ends a task that was opened again, and of which nothing has changed, as it had ended. One whose files are gone runs.
func (t *task) restore() bool {
	w := t.was
	if w == nil || w.record == nil || w.key != t.step.Key {
		return false
	}
	if w.gone {
		if t.step.State == plan.Run && t.step.Same == nil {
			t.step.Reason = goneReason // it may have been settled once more since
		}
		return false
	}
	t.state, t.reason, t.record, t.digest, t.log, t.seconds, t.told = w.state, w.reason, w.record, w.digest, w.log, w.seconds, w.told
	return true
}

// unlead has those that wait for the run of an equal task, which does not run now, look after themselves. What they need may be there.
func (b *builder) unlead(t *task) (ready []*task) {
	if k := t.workKey(); b.leaders[k] == t {
		delete(b.leaders, k)
	}
	for _, s := range t.same {
		s.busy = false
		if s.stale {
			b.unsettle(s)
		}
		if s.waits = b.awaited(s); s.waits == 0 {
			ready = append(ready, s)
		}
	}
	t.same = nil
	return ready
}

// unsettle has a task, for which nobody waits as for an equal one, decided anew by what others have made.
func (b *builder) unsettle(t *task) {
	if k := t.workKey(); b.leaders[k] == t {
		delete(b.leaders, k)
	}
	b.plan.Reconsider(t.step)
	t.place, t.kept, t.stale = artifacts.Key{}, false, false
}

// overtaken tells whether what a task has made while it ran is perhaps not of what this build ends with.
func (b *builder) overtaken(t *task) bool { return t.stale || b.reopened && b.awaited(t) > 0 }

// outdated takes back a task that has ended well, while one that it waits for was opened again. Its result is one all the same, if perhaps
// not this build's.
func (b *builder) outdated(ctx context.Context, t *task) (ready []*task) {
	for _, s := range t.same {
		b.adoptFrom(s, t)
		ready = append(ready, b.finish(ctx, s)...)
	}
	stale := t.stale
	t.reset()
	if stale {
		b.unsettle(t)
	}
	if t.waits = b.awaited(t); t.waits == 0 {
		ready = append(ready, t)
	}
	return ready
}

// free gives those that need wait for a task no longer. Where they were settled by another record of it, they are settled anew.
func (b *builder) free(t *task) (ready []*task) {
	good := t.record != nil && t.err == nil
	changed := good && !t.used.IsZero() && t.used != t.digest
	if good {
		t.used = t.digest
	}
	for _, u := range t.users {
		switch {
		case u.busy:
			u.stale = u.stale || changed
			continue
		case u.state == "" && b.reopened:
			u.waits = b.awaited(u)
		case u.state == "":
			u.waits--
		case !changed || u.record == nil || u.err != nil:
			continue
		default:
			b.again(u)
		}
		if changed {
			b.unsettle(u)
		}
		if u.waits == 0 {
			ready = append(ready, u)
		}
	}
	return ready
}
