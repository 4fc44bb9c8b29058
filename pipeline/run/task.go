package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/graph"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
)

// task is one step on its way through a build. The scheduler's goroutine owns it, except while it runs: then its own
// goroutine does, until it is handed back.
type task struct {
	step   *plan.Step
	order  int
	waits  int     // producers and gates that are not done
	users  []*task // wait for this one
	same   []*task // have the same key: one run makes all
	forced bool
	busy   bool // it runs, or waits for the run of an equal one

	// Of a build in which results turn out to be lost; see reopen.go.
	was    *ended           // nil: it was not opened again
	used   artifacts.Digest // the record by which its users were settled
	stale  bool             // something that it uses was made again while it was busy
	remade int              // how often its files were found to be gone
	runs   int              // that have ended
	told   bool             // its end was

	report  *reporter
	ticket  *ticket
	lighten func()         // gives back what it does not take to store what the worker made
	vacate  func()         // gives back resources before the end of its run
	booked  chan struct{}  // closed when its result, if it has one, is on its way to other machines
	kept    bool           // its action is stored or on the way, with what that names
	storing chan error     // of its action; nil when that was waited for
	leave   []func() error // what is left to be done once it has been handed back, in this order
	stay    *stay
	place   artifacts.Key // names the workspace and the lease of a step without a key
	tried   int           // attempts in this build

	state   artifacts.State // "" until done
	reason  string
	err     error
	record  *artifacts.Record
	digest  artifacts.Digest
	log     artifacts.Digest
	labels  map[string]string // of what it made in this build
	seconds float64
}

// stay is one run of a task, from its start until all is left as it was found.
type stay struct {
	made artifacts.Digest // its record; set when it is handed back
}

func (t *task) address() string { return t.step.Node.Stage.Address }

// done tells whether it has ended, and was not opened again.
func (t *task) done() bool { return !t.busy && t.state != "" }

// running tells whether its own goroutine owns it.
func (t *task) running() bool { return t.booked != nil }

// before are the stages that it waits for, some perhaps twice.
func (t *task) before() []*graph.Node {
	return slices.Concat(t.step.Node.Data, t.step.Node.Gates)
}

// workKey is the step's key; before the lock knows its source, a name that two builds of the same download share.
func (t *task) workKey() artifacts.Key {
	if !t.place.IsZero() {
		return t.place
	}
	return t.step.Key
}

// holder is what a build that waits for our lease can tell its person. It is the same for all leases of a build: so they cost no file each.
type holder struct {
	Build string    `json:"build"`
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"` // when the build began

	Progress *progress `json:"progress,omitempty"` // of the stage; told to other machines only
}

// run makes a step's record: it waits for resources and for other builds, and looks again whether there is anything
// left to do.
func (b *builder) run(ctx context.Context, t *task) (err error) {
	defer func() {
		if err != nil && !isNotStarted(err) && !isLost(err) {
			b.stopped.CompareAndSwap(nil, t)
		}
		b.pool.release(t.ticket)
	}()
	if t.place.IsZero() {
		_ = b.keep(ctx, t, t.step.Action) // while it waits for resources; what fails is tried again when it has them
	}
	defer func() { _ = t.stored(ctx) }()
	if err := b.granted(ctx, t); err != nil {
		return err
	}
	release, err := b.lease(ctx, t)
	if err != nil {
		return err
	}
	defer func() { t.leave = append(t.leave, release) }()
	if err = b.leased(ctx, t); err != nil {
		err = roomless(err)
	}
	return err
}

// left ends a task's stay once those that wait for it were told: what it has made is published, and its workspace and leases are in
// nobody's way. What cannot be removed is swept by the next build.
func (b *builder) left(leave []func() error, r reporter) {
	r.log, r.trails = newStoredLog(0), nil // the task's own are its scheduler's by now
	for _, do := range leave {
		if err := do(); err != nil {
			r.warn(err.Error())
		}
	}
}

// notStarted is why a task that had queued for resources does not use them.
type notStarted string

func (n notStarted) Error() string { return string(n) }

func isNotStarted(err error) bool {
	_, ok := errors.AsType[notStarted](err)
	return ok
}

// granted waits for the task's ticket. What failed meanwhile may have freed the resources: then nothing starts on them.
func (b *builder) granted(ctx context.Context, t *task) error {
	if err := b.ticketed(ctx, t); err != nil {
		return err
	}
	if why := b.halted(ctx); why != "" {
		return notStarted(why)
	}
	return nil
}

func (b *builder) ticketed(ctx context.Context, t *task) error {
	select {
	case <-t.ticket.ready:
		return nil
	default:
	}
	t.report.say(event.Event{Type: event.Queued, Message: "waits for resources"})
	select {
	case <-t.ticket.ready:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leased looks once more for a record, since another build may just have made it; then it makes one.
func (b *builder) leased(ctx context.Context, t *task) error {
	held := t.workKey()
	if err := b.settleAgain(ctx, t); err != nil || t.record != nil {
		return err
	}
	if held != t.workKey() { // the lock has named the source meanwhile, and its key has a lease of its own
		release, err := b.lease(ctx, t)
		if err != nil {
			return err
		}
		defer func() { t.leave = append(t.leave, release) }()
		return b.leased(ctx, t)
	}
	a := t.step.Action
	if t.place != (artifacts.Key{}) {
		var err error
		if a, err = b.plan.Draft(t.step); err != nil {
			return err
		}
	}
	if err := b.keep(ctx, t, a); err != nil {
		return err
	}
	leave, err := b.occupy(ctx, t)
	if err != nil {
		return err
	}
	defer leave()
	return b.attempts(ctx, t, a)
}

// keep stores what a stage is made of, unless that was done. Its action is on the way when it returns: t.stored waits.
func (b *builder) keep(ctx context.Context, t *task, a *artifacts.Action) error {
	if t.kept {
		return nil
	}
	if err := b.presentable(t.step.Node.Stage, a); err != nil {
		return err
	}
	for _, s := range t.step.Support {
		if err := b.support(ctx, s); err != nil {
			return err
		}
	}
	if t.kept = t.place.IsZero(); t.kept {
		storing, calm := make(chan error, 1), artifacts.Unhurried(ctx, t.ticket.ready)
		t.storing = storing
		go func() { // stored waits for it
			_, err := b.o.Cache.PutAction(calm, a)
			storing <- err
		}()
	}
	return nil
}

// stored returns when the action is, before the worker starts: the disk is at it while the workspace is laid out.
func (t *task) stored(ctx context.Context) error {
	if t.storing == nil {
		return nil
	}
	err := <-t.storing
	t.storing = nil
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return cacheTrouble{err}
}

func (b *builder) settleAgain(ctx context.Context, t *task) error {
	held := t.workKey()
	if !t.place.IsZero() && b.o.Lock != nil {
		entry, err := b.o.Lock.Entry(t.step.Source)
		if err != nil {
			return fmt.Errorf("reading the lock again: %w", err)
		}
		if entry != nil {
			if err := b.plan.SettlePins(ctx, t.step, entry.Files); err != nil {
				return err
			}
			// Those of the place, whose lease this is; nobody asks for it again.
			b.removeAttempts(t, t.place)
			b.dropCheckpoints(t)
			t.place = artifacts.Key{}
		}
	}
	if !t.place.IsZero() || t.forced || t.remade == maxRemade {
		return nil
	}
	rec, digest, err := b.o.Cache.Lookup(ctx, t.step.Key)
	switch {
	case err == nil:
		t.record, t.digest, t.state, t.reason = rec, digest, artifacts.Hit, "another build made it"
		if held == t.step.Key {
			b.removeAttempts(t, held) // it died before it could
		}
		return nil
	case errors.Is(err, artifacts.ErrMissing):
		return nil
	default:
		return cacheTrouble{err}
	}
}

// keepAction stores the action of a hit again where it is gone or damaged: nobody but the plan knows it any more, and `why` and
// lineage need it. The hit is one all the same.
func (b *builder) keepAction(ctx context.Context, t *task) {
	_, err := b.o.Cache.Action(ctx, t.step.Key)
	if errors.Is(err, artifacts.ErrMissing) || errors.Is(err, artifacts.ErrDamaged) {
		_, err = b.o.Cache.PutAction(ctx, t.step.Action)
	}
	if err != nil {
		t.report.warn("its action cannot be stored again: " + err.Error())
	}
}

// support puts one blob that the Action refers to into the store.
func (b *builder) support(ctx context.Context, s plan.Support) error {
	if err := b.o.Cache.Hold(ctx, s.Blob.Digest); err != nil {
		return cacheTrouble{fmt.Errorf("storing what the stage is made of: %w", err)}
	}
	if n, err := b.o.Cache.Kept(ctx, s.Blob.Digest); err == nil && n == s.Blob.Size {
		return nil
	}
	r, err := s.Open()
	if err != nil {
		return fmt.Errorf("storing what the stage is made of: %w", err)
	}
	defer r.Close()
	err = b.o.Cache.Put(ctx, s.Blob, r)
	if errors.Is(err, artifacts.ErrDamaged) { // what was read is not the cache's
		return fmt.Errorf("%s has changed since the build was planned; build again", s.Name)
	}
	if err != nil {
		return cacheTrouble{fmt.Errorf("storing what the stage is made of: %w", err)}
	}
	return nil
}

// storeLog keeps what was said so far.
func (b *builder) storeLog(ctx context.Context, t *task) (artifacts.Digest, error) {
	blob, err := b.o.Cache.PutBytes(ctx, artifacts.LogMediaType, t.report.log.encode())
	if err != nil {
		return artifacts.Digest{}, cacheTrouble{fmt.Errorf("storing the log of %s: %w", t.address(), err)}
	}
	t.log = blob.Digest
	return blob.Digest, nil
}
