package s3

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	firstDelay    = 100 * time.Millisecond
	longestDelay  = 10 * time.Second
	longestAsked  = 30 * time.Second // of a Retry-After
	doublings     = 7                // 100 ms × 2^7 is above the longest delay
	maxTextLength = 300
)

// call is one operation with all its tries.
type call struct {
	c           *Client
	doing       string // for people: "reading", "writing"
	name        string // the whole one, with the client's folder
	right       string // the permission that it takes
	conditional bool   // a write on a condition

	patience
	renewed bool // credentials were renewed once because of it
	unsure  bool // a try that failed may have taken effect
	broken  int  // 4xx answers whose body broke off
}

func (c *Client) call(doing, name, right string) *call {
	return &call{c: c, doing: doing, name: c.root + name, right: right, patience: patience{since: time.Now()}}
}

// repeat tries until there is an answer, patience runs out, or the next answer would be the same. The attempt that it returns is the
// caller's to end.
func (k *call) repeat(ctx context.Context, try func(*attempt) error) (*attempt, error) {
	for {
		a := k.c.begin(ctx)
		err := try(a)
		if err == nil {
			return a, nil
		}
		a.end()
		if err := k.again(ctx, a, err); err != nil {
			return nil, err
		}
	}
}

// again waits until the next try is due. Where there shall be none it returns the error of the call.
func (k *call) again(ctx context.Context, a *attempt, err error) error {
	if ctx.Err() != nil {
		return k.interrupted(ctx)
	}
	f := k.judge(a, err)
	if f.renew && !k.renewed {
		k.renewed = true
		k.c.renew(a.keys)
		return nil
	}
	if !f.again {
		return k.told(a, err)
	}
	k.unsure = k.unsure || f.unsure
	delay, left := k.next(k.limit(f), f.after)
	if !left {
		return k.gaveUp(a, err, f)
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return k.interrupted(ctx)
	}
}

func (k *call) limit(f fate) time.Duration {
	switch {
	case !k.c.wire.answered.Load():
		return min(firstPatience, k.c.patience)
	case f.rotten:
		return min(rottenPatience, k.c.patience)
	}
	return k.c.patience
}

// renew lets the next request ask for credentials anew, unless another call has done so since this one took its own.
func (s *server) renew(generation int) {
	if s.wallet.current() == generation {
		s.keys.Expire()
	}
}

// patience counts the time without progress. Progress is what a later try need not do again, or that a try has come further than all
// before it; so a server that takes the same megabyte over and over is left at some time,
// and so is one that gives a byte a second.
type patience struct {
	mu    sync.Mutex
	since time.Time
	tries int
}

// moved says that there was progress.
func (p *patience) moved() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since, p.tries = time.Now(), 0
}

// idle is how long there was no progress, for people.
func (p *patience) idle() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := time.Since(p.since)
	if idle < 5*time.Second {
		return idle.Round(100 * time.Millisecond)
	}
	return idle.Round(time.Second)
}

// next is how long to wait: a random part (so that many clients do not come back at once) of a time that doubles, but at least what the server
// asked for. It is false when patience has run out; the last try is made when it does.
func (p *patience) next(limit, asked time.Duration) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := limit - time.Since(p.since)
	if left <= 0 {
		return 0, false
	}
	most := min(firstDelay<<min(p.tries, doublings), longestDelay)
	p.tries++
	return min(max(rand.N(most)+1, min(asked, longestAsked)), left), true
}
