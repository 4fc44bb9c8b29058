package shared

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// outbox is the results that are to be brought to the bucket. Each has a goroutine; whoever waits for the outbox waits for all of them.
type outbox struct {
	ctx    context.Context // of all that is under way; ends when the context of one who waits does
	cancel context.CancelCauseFunc
	slots  turns
	cut    turns // of one: one tree is read at a time, and its packs are sent meanwhile

	mu     sync.Mutex
	state  map[artifacts.Digest]state // of records
	failed map[artifacts.Digest]error
	ended  map[artifacts.Digest]chan struct{} // closed when what waits does not any more
	closed error                              // the bucket cannot be reached, or refuses: nobody begins
	active int                                // goroutines
	idle   chan struct{}                      // closed when there is none
	blobs  map[artifacts.Digest]bool          // are there whole

	done, total int64 // bytes of files
}

type state int

const (
	unheard state = iota
	waiting
	there  // and the key leads to it
	beaten // there; the key leads to another machine's
	left   // could not be brought
)

func (o *outbox) init() {
	o.ctx, o.cancel = context.WithCancelCause(context.Background())
	o.slots, o.cut = make(turns, resultsAtOnce), make(turns, 1)
	o.state, o.failed = make(map[artifacts.Digest]state), make(map[artifacts.Digest]error)
	o.blobs, o.ended = make(map[artifacts.Digest]bool), make(map[artifacts.Digest]chan struct{})
}

// Share says that the result with this record is to be in the bucket that is written to, and returns at once. One that came from there,
// or is known to be there, costs nothing. Wait tells what became of it; who shares, waits.
func (r *Remote) Share(record artifacts.Digest) {
	if r.write == nil || record.IsZero() {
		return
	}
	o := &r.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.state[record]; s == waiting || s == there || s == beaten {
		return
	}
	if r.findings.has(record) { // it is from there; later it may be forgotten, and its bytes are not here
		o.state[record] = there
		return
	}
	again := []artifacts.Digest{record}
	if o.closed != nil && o.active == 0 {
		o.closed = nil // it may answer again by now
		again = append(again, slices.Collect(maps.Keys(o.failed))...)
	}
	for _, d := range again {
		if o.state[d] != waiting {
			r.begin(d)
		}
	}
}

// begin starts one. The lock is held.
func (r *Remote) begin(record artifacts.Digest) {
	o := &r.outbox
	o.state[record] = waiting
	delete(o.failed, record)
	ended := make(chan struct{})
	o.ended[record] = ended
	if o.active++; o.active == 1 {
		o.idle = make(chan struct{})
	}
	go func() {
		won, err := r.shareNext(record)
		o.mu.Lock()
		defer o.mu.Unlock()
		defer close(ended)
		if o.state[record] = beaten; won {
			o.state[record] = there
		}
		if err != nil {
			o.state[record], o.failed[record] = left, err
			slog.DebugContext(o.ctx, "a result was not shared", "record", record.Short(), "error", err)
			if errors.Is(err, artifacts.ErrUnreachable) || errors.Is(err, artifacts.ErrRefused) {
				o.closed = err
			}
		}
		if o.active--; o.active == 0 {
			close(o.idle)
		}
	}()
}

// shareNext shares a result when it is its turn. Where another one has found in vain that the bucket does not answer, it is not asked
// once more for each that waits.
func (r *Remote) shareNext(record artifacts.Digest) (won bool, err error) {
	o := &r.outbox
	if err := o.slots.take(o.ctx); err != nil {
		return false, err
	}
	defer o.slots.give()
	o.mu.Lock()
	closed := o.closed
	o.mu.Unlock()
	if closed != nil {
		return false, closed
	}
	return r.share(o.ctx, record)
}

// Await returns when a record is not on its way: it is in the bucket, or will not come there, or was never shared.
func (r *Remote) Await(record artifacts.Digest) {
	r.outbox.mu.Lock()
	ended := r.outbox.ended[record]
	r.outbox.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

// Wait returns when all that was shared is there, or will not be: the error tells how many results are not, and of one of them why. They
// are in this machine's cache all the same, and Share goes on with them. When ctx ends, so does all that is under way.
func (r *Remote) Wait(ctx context.Context) error {
	o := &r.outbox
	stop := context.AfterFunc(ctx, func() { o.cancel(context.Cause(ctx)) })
	defer stop()
	o.mu.Lock()
	for o.active > 0 {
		idle := o.idle
		o.mu.Unlock()
		<-idle
		o.mu.Lock()
	}
	defer o.mu.Unlock()
	if len(o.failed) > 0 && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return o.verdict()
}

// verdict names the error of the first record, by digest: the same each time. The lock is held.
func (o *outbox) verdict() error {
	if len(o.failed) == 0 {
		return nil
	}
	first := slices.MinFunc(slices.Collect(maps.Keys(o.failed)), func(a, b artifacts.Digest) int { return slices.Compare(a[:], b[:]) })
	err := o.failed[first]
	if o.closed != nil {
		err = o.closed
	}
	if len(o.failed) == 1 {
		return fmt.Errorf("a result is not in the shared cache: %w", err)
	}
	return fmt.Errorf("%d results are not in the shared cache; of one: %w", len(o.failed), err)
}

// Confirmed tells whether nothing is left to be done for a record: it was found in a bucket, or brought. Of two machines' records of one key
// the second is brought without its bytes.
func (r *Remote) Confirmed(record artifacts.Digest) bool {
	if r.findings.has(record) {
		return true
	}
	r.outbox.mu.Lock()
	defer r.outbox.mu.Unlock()
	s := r.outbox.state[record]
	return s == there || s == beaten
}

// stands tells whether the key of a record is known to lead to it, where results are brought.
func (r *Remote) stands(record artifacts.Digest) bool {
	if r.findings.isAt(record, r.write) {
		return true
	}
	r.outbox.mu.Lock()
	defer r.outbox.mu.Unlock()
	return r.outbox.state[record] == there
}

// Progress is how many bytes of files have been brought to the bucket, or were there, of how many of the results so far shared.
func (r *Remote) Progress() (done, total int64) {
	r.outbox.mu.Lock()
	defer r.outbox.mu.Unlock()
	return r.outbox.done, r.outbox.total
}

func (o *outbox) count(done, total int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done += done
	o.total += total
}

func (o *outbox) has(blob artifacts.Digest) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.blobs[blob]
}

func (o *outbox) put(blob artifacts.Digest) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.blobs[blob] = true
}
