package artifacts

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// group is those who publish at once. One of them at a time, its leader, writes for all who have come by then; who comes
// meanwhile waits for the next group, whose leader is the first of them. So no goroutine is needed that somebody would have
// to end.
type group struct {
	place Batcher

	rush chan struct{} // of one: the leader need not wait for more

	mu      sync.Mutex // guards all below, and whether one hurries
	led     bool
	waiting []*publication
}

// patience bounds how long one waits for others to share a flush with.
const patience = 20 * time.Millisecond

type calmKey struct{}

// Unhurried is for what is stored while there is enough else to do: until calm is closed it may wait a little for others, and is
// then flushed with them.
func Unhurried(ctx context.Context, calm <-chan struct{}) context.Context {
	return context.WithValue(ctx, calmKey{}, calm)
}

// commitGrouped returns once p is durable, or will never be: one whose context ends while it waits is taken out.
func (c *Cache) commitGrouped(p *publication) error {
	g := c.group
	calm, _ := p.ctx.Value(calmKey{}).(<-chan struct{})
	p.hurries = calm == nil
	g.join(p)
	for {
		select {
		case <-p.done:
			return p.err
		case <-p.lead:
			g.gather(p, calm)
			c.commitAll(g.next())
			g.pass()
			return p.err
		case <-calm:
			calm = nil
			g.hurry(p)
		case <-p.ctx.Done():
			if g.withdraw(p) {
				return context.Cause(p.ctx)
			}
			<-p.done
			return p.err
		}
	}
}

func (g *group) join(p *publication) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, p)
	if !g.led {
		g.led = true
		close(p.lead)
	}
	g.tell()
}

func (g *group) hurry(p *publication) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p.hurries = true
	g.tell()
}

// tell wakes a leader who waits for more than need come. The lock is held.
func (g *group) tell() {
	if len(g.waiting) < maxGroup && !slices.ContainsFunc(g.waiting, func(p *publication) bool { return p.hurries }) {
		return
	}
	select {
	case g.rush <- struct{}{}:
	default:
	}
}

// gather waits for others, where neither the leader nor one of them hurries.
func (g *group) gather(p *publication, calm <-chan struct{}) {
	if p.hurries {
		return
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-calm:
	case <-g.rush:
	case <-late.C:
	case <-p.ctx.Done():
	}
}

// maxGroup bounds how long who comes next can wait.
const maxGroup = 16

func (g *group) next() []*publication {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(g.waiting), maxGroup)
	all := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	select {
	case <-g.rush: // it was for these
	default:
	}
	return all
}

// withdraw is false for one that is being written already.
func (g *group) withdraw(p *publication) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, p)
	if i < 0 {
		return false
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	select {
	case <-p.lead:
		g.passLocked()
	default:
	}
	return true
}

func (g *group) pass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.passLocked()
}

// passLocked makes the next one the leader.
func (g *group) passLocked() {
	g.led = len(g.waiting) > 0
	if g.led {
		close(g.waiting[0].lead)
		g.tell()
	}
}

// commitAll writes all at once, level by level: parts and records, runs/, records/, keys/. What fails, fails alone.
func (c *Cache) commitAll(all []*publication) {
	ctx, end := contextOfAll(all)
	defer end()
	written := make([]*publication, 0, len(all))
	batches := make([]Batch, 0, len(all))
	for _, p := range all {
		batch, err := c.batch(ctx, p)
		if p.err = err; err == nil {
			written, batches = append(written, p), append(batches, batch)
		}
	}
	for i, err := range c.group.place.StoreAll(ctx, batches) {
		c.stored(written[i], err)
	}
	for _, p := range all {
		close(p.done)
	}
}

// contextOfAll ends when nobody waits any more. It has no values: those of one are none of the others'.
func contextOfAll(all []*publication) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	var left atomic.Int64
	left.Store(int64(len(all)))
	stops := make([]func() bool, 0, len(all))
	for _, p := range all {
		stops = append(stops, context.AfterFunc(p.ctx, func() {
			if left.Add(-1) == 0 {
				cancel(context.Cause(p.ctx))
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel(nil)
	}
}

func (c *Cache) batch(ctx context.Context, p *publication) (Batch, error) {
	b := Batch{Blobs: make([]Payload, 0, len(p.parts))}
	for _, part := range p.parts {
		b.Blobs = append(b.Blobs, part.Payload)
	}
	if p.rec == nil {
		return b, nil
	}
	var err error
	b.Names, err = c.names(ctx, p)
	return b, err
}

// stored takes down what became of p.
func (c *Cache) stored(p *publication, err error) {
	switch {
	case errors.Is(err, ErrConflict):
		p.err = c.name(p)
	case err != nil:
		p.err = err
	case p.rec == nil:
	case p.won == nil:
		p.won, p.wonDigest = p.rec, p.digest
	default:
		Reached(StepKeys)
	}
}

// names are those that p needs: its key, too, unless a sound record holds that.
func (c *Cache) names(ctx context.Context, p *publication) ([]Change, error) {
	val := p.digest.String()
	chain := []Change{
		{runName(p.rec.Key, p.digest), val, Absent, StepRuns},
		{recordName(day(p.rec.Ended), p.digest.Hex()), val, Absent, StepRecords},
	}
	won, d, v, err := c.lookup(ctx, p.rec.Key)
	switch {
	case err == nil:
		p.won, p.wonDigest = won, d
		return chain, nil
	case errors.Is(err, ErrMissing):
		return append(chain, Change{keyName(p.rec.Key), val, v, StepKeys}), nil
	}
	return nil, err
}
