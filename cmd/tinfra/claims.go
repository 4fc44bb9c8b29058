package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
	"github.com/Ruihan11/tiny-infra/artifacts/shared"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// claims are the leases of a build in the shared cache. Each says, besides what the build says of itself, which process holds it: a
// neighbour of one that was killed need not wait until the lease has died, too.
type claims struct {
	place  *bucket.Place
	remote *shared.Remote
	local  *artifacts.Cache // this machine's, and nothing beside it
	me     lifeline

	life   context.Context // of what gives leases up
	cancel context.CancelCauseFunc
	leave  sync.WaitGroup

	mu     sync.Mutex
	failed bool // the bucket gives no leases: it is not asked again
}

func newClaims(ctx context.Context, place *bucket.Place, remote *shared.Remote, local *artifacts.Cache) *claims {
	c := &claims{place: place, remote: remote, local: local, me: ownLifeline()}
	c.life, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return c
}

// Claim needs no lease for a key whose result is on this machine: another build has made it since this one was planned.
func (c *claims) Claim(ctx context.Context, key artifacts.Key, holder []byte, waiting func(holder []byte)) (run.Claim, error) {
	c.mu.Lock()
	failed := c.failed
	c.mu.Unlock()
	if failed {
		return nil, nil
	}
	if _, _, err := c.local.Lookup(ctx, key); err == nil {
		return nil, nil
	}
	l, err := c.place.Lease(ctx, key, c.signed(holder), waiting, c.me.outlived)
	if err != nil {
		if errors.Is(err, artifacts.ErrUnreachable) || errors.Is(err, artifacts.ErrRefused) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.failed { // said already
				return nil, nil
			}
			c.failed = ctx.Err() == nil
		}
		return nil, err
	}
	return &claimed{c, l}, nil
}

// signed is holder with what tells others whether its process lives.
func (c *claims) signed(holder []byte) []byte {
	var members map[string]json.RawMessage
	if c.me == (lifeline{}) || json.Unmarshal(holder, &members) != nil || members == nil {
		return holder
	}
	life, err := json.Marshal(c.me)
	if err != nil {
		return holder
	}
	members["process"] = life
	text, err := json.Marshal(members)
	if err != nil {
		return holder
	}
	return text
}

// end waits until the leases are given up. Nothing is on its way to the bucket any more, and one that does not answer is not waited for
// for long: leases die by themselves.
func (c *claims) end() {
	stop := clock.After(keepTime)
	done := make(chan struct{})
	go func() { c.leave.Wait(); close(done) }() // waited for below
	select {
	case <-done:
	case <-stop:
		c.cancel(fmt.Errorf("it takes too long"))
		<-done
	}
	c.cancel(nil)
}

// claimed is one lease.
type claimed struct {
	c     *claims
	lease *bucket.Lease
}

func (c *claimed) Say(holder []byte) { c.lease.Say(c.c.signed(holder)) }

// Release keeps the lease until the result is in the bucket: who gets it next would not find it there.
func (c *claimed) Release(record artifacts.Digest) {
	c.c.leave.Go(func() { // end waits for it
		if !record.IsZero() {
			c.c.remote.Await(record)
		}
		if err := c.lease.Release(c.c.life); err != nil {
			slog.DebugContext(c.c.life, "a lease is left to die", "error", err)
		}
	})
}
