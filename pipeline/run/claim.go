package run

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// Claims keep machines from doing the same work at once. They save work and nothing depends on them: who cannot have one, or loses it,
// goes on, and of two results the first one counts.
type Claims interface {
	// Claim waits until no other machine works on key. Meanwhile waiting is told what that one says of itself, and again when it has
	// changed. holder is a JSON object. nil: there is nothing to claim.
	Claim(ctx context.Context, key artifacts.Key, holder []byte, waiting func(holder []byte)) (Claim, error)
}

// Claim is what keeps the others away from one key.
type Claim interface {
	// Say changes what those who wait are told. It is called often and waits for no network.
	Say(holder []byte)
	// Release lets the others have the key when the record, where it is not zero, is no more on its way to where they find it. It waits
	// for neither.
	Release(record artifacts.Digest)
}

// lease makes this build the only one that works on the key: of this machine first, then of all. While another one does, the resources
// are given back: whoever holds resources and waits for a lease, while the other build does the reverse, waits for ever.
func (b *builder) lease(ctx context.Context, t *task) (func() error, error) {
	var other *follower
	waiting := func(who []byte) {
		b.pool.release(t.ticket)
		if other == nil {
			other = b.watchOther(ctx, t)
		}
		other.held(who)
	}
	release, err := b.o.Leaser.Lease(ctx, t.workKey(), b.me, waiting)
	if err != nil {
		err = cacheTrouble{err}
	}
	var claim Claim
	var unclaimed error
	if err == nil {
		claim, unclaimed = b.claim(ctx, t, waiting)
	}
	if other != nil {
		other.stop()
	}
	if err != nil {
		return nil, err
	}
	if claim != nil {
		t.report.claim = &told{claim, b.who}
		local, stay := release, t.stay
		release = func() error {
			claim.Release(stay.made)
			return local()
		}
	}
	switch {
	case unclaimed == nil:
	case ctx.Err() != nil:
		return nil, errors.Join(context.Cause(ctx), release())
	default:
		t.report.warn("another machine may do the same work: " + unclaimed.Error())
	}
	if other == nil {
		return release, nil
	}
	b.enqueue(t)
	if err := b.granted(ctx, t); err != nil {
		return nil, errors.Join(err, release())
	}
	return release, nil
}

// claim asks for the key among machines. The place of a download that is not locked yet is this machine's: what another one finds out of it
// stands in a lock file that is not ours.
func (b *builder) claim(ctx context.Context, t *task, waiting func([]byte)) (Claim, error) {
	if b.o.Claims == nil || !t.place.IsZero() {
		return nil, nil
	}
	return b.o.Claims.Claim(ctx, t.step.Key, b.me, waiting)
}

// told is a claim whose holder says how far it is.
type told struct {
	claim Claim
	who   holder
}

// progress is that of a stage, as a holder tells it to other machines.
type progress struct {
	Done  float64 `json:"done"`
	Total float64 `json:"total,omitempty"`
	Unit  string  `json:"unit,omitempty"`
	What  string  `json:"what,omitempty"`
}

// progress takes an event as anyone may see it.
func (c *told) progress(e event.Event) {
	h := c.who
	h.Progress = &progress{e.Done, e.Total, e.Unit, e.What}
	if text, err := json.Marshal(h); err == nil { // of what is no number there is nothing to tell
		c.claim.Say(text)
	}
}
