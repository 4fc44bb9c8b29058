package bucket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
)

var (
	stage    = artifacts.Key(artifacts.Sum([]byte("stage")))
	leasedAs = "leases/" + stage.Hex()
)

func lease(t *testing.T, p *bucket.Place, holder string, waiting func([]byte)) *bucket.Lease {
	t.Helper()
	l, err := p.Lease(t.Context(), stage, []byte(holder), waiting, nil)
	if err != nil {
		t.Errorf("Lease: %v", err)
	}
	return l
}

// later lets d pass for everyone in the test's bubble.
func later(d time.Duration) { <-time.After(d) }

// cut is one machine's view of a bucket, which can be cut off.
type cut struct {
	*mem.Bucket
	off atomic.Bool
}

var errOff = fmt.Errorf("no route: %w", artifacts.ErrUnreachable)

func (c *cut) Write(ctx context.Context, name string, b artifacts.Body, old *artifacts.Version) (artifacts.Object, error) {
	if c.off.Load() {
		return artifacts.Object{}, errOff
	}
	return c.Bucket.Write(ctx, name, b, old)
}

func TestTwoMachinesOneLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := mem.NewBucket()
		a, b := create(t, o, bucket.Settings{Note: noted(sound())}), create(t, o, bucket.Settings{})
		first := lease(t, a, `{"host":"a","pid":7}`, nil)
		var told []string
		began, done := time.Now(), make(chan *bucket.Lease)
		go func() {
			done <- lease(t, b, `{"host":"b"}`, func(h []byte) { told = append(told, string(h)) })
		}()
		later(10 * time.Minute)
		first.Say([]byte(`{"host":"a","pid":7,"progress":{"done":1}}`))
		later(10 * time.Minute)
		if err := first.Release(t.Context()); err != nil {
			t.Error(err)
		}
		second := <-done
		if waited := time.Since(began); waited < 20*time.Minute || waited > 20*time.Minute+10*time.Second {
			t.Errorf("waited %v", waited)
		}
		if got := strings.Join(told, " "); got != `{"host":"a","pid":7} {"host":"a","pid":7,"progress":{"done":1}}` {
			t.Errorf("told %s", got)
		}
		if err := errors.Join(first.Release(t.Context()), second.Release(t.Context())); err != nil {
			t.Error(err)
		}
		if _, _, err := a.Get(t.Context(), leasedAs); !errors.Is(err, artifacts.ErrMissing) {
			t.Errorf("left behind: %v", err)
		}
	})
}

// A holder that died is noticed by the server's clock, whatever that is, and whatever ours is.
func TestLeaseIsTakenOverByTheServersClock(t *testing.T) {
	for _, skew := range []time.Duration{0, -24 * time.Hour, 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			o := mem.NewBucket()
			o.Clock = func() time.Time { return time.Now().Add(skew) }
			p := create(t, o, bucket.Settings{Note: noted(sound())})
			damage(t, o, leasedAs, `{"beat":3,"host":"dead","nonce":"x"}`)
			later(time.Minute)
			began := time.Now()
			l := lease(t, p, `{}`, nil)
			if waited := time.Since(began); waited < 30*time.Second || waited > 34*time.Second {
				t.Errorf("skew %v: waited %v for what had been silent for a minute", skew, waited)
			}
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Who is known to be dead is waited for no longer, from the look on at which that is known.
func TestLeaseOfTheDeadIsFreeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := mem.NewBucket()
		p := create(t, o, bucket.Settings{Note: noted(sound())})
		first := lease(t, p, `{"pid":7}`, nil)
		began := time.Now()
		l, err := p.Lease(t.Context(), stage, []byte(`{"pid":8}`), nil, func(holder []byte) bool {
			return string(holder) == `{"pid":7}` && time.Since(began) > 5*time.Second
		})
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited < 5*time.Second || waited > 9*time.Second {
			t.Errorf("waited %v", waited)
		}
		<-first.Lost()
		if err := errors.Join(first.Release(t.Context()), l.Release(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// Where the server's clock was set back meanwhile, a lease is as old as it was watched for; and what is no lease dies like one.
func TestLeaseIsTakenOverByWatching(t *testing.T) {
	for _, text := range []string{`{"beat":3}`, "garbage", "null", strings.Repeat("x", 1<<17)} {
		synctest.Test(t, func(t *testing.T) {
			o := mem.NewBucket()
			p := create(t, o, bucket.Settings{Note: noted(sound())})
			damage(t, o, leasedAs, text)
			back := time.Now().Add(-time.Hour)
			o.Clock = func() time.Time { return back }
			began := time.Now()
			l := lease(t, p, `{}`, nil)
			if waited := time.Since(began); waited < 90*time.Second || waited > 96*time.Second {
				t.Errorf("waited %v", waited)
			}
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A machine that is cut off, or asleep, loses its lease. When it is back it is told, and leaves the other's alone.
func TestAHolderThatSleptDoesNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := mem.NewBucket()
		far := &cut{Bucket: o}
		a, b := create(t, far, bucket.Settings{Note: noted(sound())}), create(t, o, bucket.Settings{})
		first := lease(t, a, `{"host":"a"}`, nil)
		later(time.Minute)
		far.off.Store(true)
		second := lease(t, b, `{"host":"b"}`, nil) // a test that hangs here is one in which it was never free
		select {
		case <-first.Lost():
			t.Error("told before it could know")
		default:
		}
		far.off.Store(false)
		<-first.Lost()
		if err := first.Release(t.Context()); err != nil {
			t.Error(err)
		}
		val, _, err := b.Get(t.Context(), leasedAs)
		if err != nil || !strings.Contains(string(val), `"host":"b"`) {
			t.Errorf("the other's lease is %s, %v", val, err)
		}
		if err := second.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Whoever could not renew for a minute does not delete: the lease may be another one's by the time that the request arrives.
func TestALeaseThatIsInDoubtIsLeft(t *testing.T) {
	for _, c := range []struct {
		silent time.Duration
		left   bool
	}{{30 * time.Second, false}, {61 * time.Second, true}} {
		synctest.Test(t, func(t *testing.T) {
			far := &cut{Bucket: mem.NewBucket()}
			p := create(t, far, bucket.Settings{Note: noted(sound())})
			l := lease(t, p, `{}`, nil)
			far.off.Store(true)
			later(c.silent)
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
			if _, _, err := p.Get(t.Context(), leasedAs); c.left != (err == nil) {
				t.Errorf("after %v without renewal: %v", c.silent, err)
			}
		})
	}
}

// Being unreachable for less than that costs nothing.
func TestALeaseOutlivesAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := &cut{Bucket: mem.NewBucket()}
		p := create(t, far, bucket.Settings{Note: noted(sound())})
		l := lease(t, p, `{}`, nil)
		for range 10 {
			far.off.Store(true)
			later(50 * time.Second)
			far.off.Store(false)
			later(10 * time.Second)
		}
		select {
		case <-l.Lost():
			t.Error("lost")
		default:
		}
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestWaitingForALeaseIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := create(t, mem.NewBucket(), bucket.Settings{Note: noted(sound())})
		l := lease(t, p, `{}`, nil)
		cause := errors.New("stopped by the test")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(10*time.Second, func() { cancel(cause) })
		if _, err := p.Lease(ctx, stage, []byte(`{}`), nil, nil); !errors.Is(err, cause) {
			t.Errorf("Lease = %v", err)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestLeasesThatCannotBe(t *testing.T) {
	o := mem.NewBucket()
	p := create(t, o, bucket.Settings{Note: noted(sound())})
	for _, holder := range []string{"", "null", "[]", "build-1"} {
		if _, err := p.Lease(t.Context(), stage, []byte(holder), nil, nil); err == nil {
			t.Errorf("holder %q was accepted", holder)
		}
	}
	o.Fault = func(op, _ string) error {
		if op == "write" {
			return errOff
		}
		return nil
	}
	if _, err := p.Lease(t.Context(), stage, []byte(`{}`), nil, nil); !errors.Is(err, artifacts.ErrUnreachable) {
		t.Errorf("Lease of an unreachable bucket = %v", err)
	}
}

// The only writer waits for nobody: another lease would mean that it is not the only one.
func TestTheOnlyWriterNeedsNoLease(t *testing.T) {
	found := sound()
	found.Conditions = bucket.Conditions{}
	o := careless{mem.NewBucket()}
	p := create(t, o, bucket.Settings{Note: noted(found), SingleWriter: true})
	damage(t, o.Bucket, leasedAs, `{"beat":1}`)
	if err := lease(t, p, `{}`, nil).Release(t.Context()); err != nil {
		t.Error(err)
	}
	reader, err := bucket.Open(t.Context(), o, bucket.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Lease(t.Context(), stage, []byte(`{}`), nil, nil); !errors.Is(err, bucket.ErrNoConditions) {
		t.Errorf("a reader's lease: %v", err)
	}
}

// What another wrote as a lease is told as what a holder could have said, or not at all.
func FuzzLease(f *testing.F) {
	for _, text := range []string{`{"beat":3,"host":"a","nonce":"x"}`, "", "null", "[]", `{"a":1e999}`, `{"a":"\ud800"}`, `{"n":9007199254740993}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		holder := bucket.DecodeLease(b)
		own, err := bucket.EncodeLease(holder, "nonce", 1)
		if err != nil {
			t.Fatalf("%s cannot be a holder: %v", holder, err)
		}
		if again := bucket.DecodeLease(own); !bytes.Equal(again, holder) {
			t.Errorf("%s came back as %s", holder, again)
		}
	})
}
