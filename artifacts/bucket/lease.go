package bucket

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// The times of a lease. Only leaseDead is part of the format: all machines have to agree on it.
const (
	leaseRenew = 20 * time.Second
	leaseDead  = 90 * time.Second // without a renewal, by the server's clock
	leaseSure  = 60 * time.Second // since our own renewal: so long it is certain that nobody has taken it over
	leaseTell  = 5 * time.Second  // between two things that the holder says
	leaseAsk   = 3 * time.Second  // between two looks of who waits
	leaseSoon  = leaseAsk / 16    // before the second look; then twice as long each time: many a stage takes less than a second
)

// Lease is the right to build a key that no other machine builds. It saves work and nothing depends on it: who loses it and goes on does
// work twice, and the first result counts.
type Lease struct {
	objects artifacts.Objects
	name    string
	nonce   string // tells this lease from any other one of the same holder
	stop    context.CancelFunc
	done    chan struct{} // closed when nobody renews any more
	lost    chan struct{}
	release sync.Once

	mu     sync.Mutex
	holder []byte
	news   bool // holder was not told to the bucket yet

	// Of who renews, and of Release once done is closed.
	beat    int
	version artifacts.Version
	renewed time.Time // when the last renewal that succeeded began, by our monotonic clock
}

// Lease waits until no other machine builds key. Meanwhile waiting, which may be nil, is told what that one says of itself: once, and
// again when it has changed. holder is a JSON object, without members "beat" and "nonce". A lease whose holder has died is free 90 seconds after
// its last renewal, by the server's clock or by the time for which it was watched; at once where dead, which may be nil, knows the holder to
// be dead. Where there is but one writer nobody has to wait.
func (p *Place) Lease(ctx context.Context, key artifacts.Key, holder []byte, waiting func(holder []byte), dead func(holder []byte) bool) (*Lease, error) {
	if p.refusal != nil {
		return nil, p.refusal
	}
	l := &Lease{
		objects: p.objects, name: "leases/" + key.Hex(), nonce: rand.Text(), holder: holder,
		done: make(chan struct{}), lost: make(chan struct{}),
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	if p.alone {
		close(l.done)
		return l, nil
	}
	if err := l.take(ctx, waiting, dead); err != nil {
		stop()
		return nil, fmt.Errorf("lease of %s in the shared cache: %w", key.Short(), err)
	}
	go l.renew(life)
	return l, nil
}

func (l *Lease) take(ctx context.Context, waiting func([]byte), dead func([]byte) bool) error {
	for old := artifacts.Absent; ; {
		err := l.write(ctx, old)
		if !errors.Is(err, artifacts.ErrConflict) {
			return err
		}
		if old, err = l.wait(ctx, waiting, dead); err != nil {
			return err
		}
	}
}

// wait gives the version to write over: that of a lease that is dead, or Absent.
func (l *Lease) wait(ctx context.Context, waiting func([]byte), dead func([]byte) bool) (artifacts.Version, error) {
	var seen artifacts.Version
	var since time.Time
	var told []byte
	for pause := leaseSoon; ; pause = min(2*pause, leaseAsk) {
		began := time.Now()
		b, at, err := readSmall(ctx, l.objects, l.name, maxPointer)
		switch {
		case errors.Is(err, artifacts.ErrMissing):
			return artifacts.Absent, nil
		case err != nil && !errors.Is(err, artifacts.ErrDamaged): // what is too large to be one dies like one
			return artifacts.Absent, err
		case at.Version != seen:
			seen, since = at.Version, time.Now()
		}
		if at.Now.Sub(at.Modified) > leaseDead || began.Sub(since) > leaseDead {
			return at.Version, nil
		}
		holder := decodeLease(b)
		if dead != nil && dead(holder) {
			return at.Version, nil
		}
		if waiting != nil && !bytes.Equal(holder, told) {
			told = holder
			waiting(holder)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return artifacts.Absent, context.Cause(ctx)
		}
	}
}

// write makes the lease ours, or keeps it so. Each time it has other bytes, so that it has another version.
func (l *Lease) write(ctx context.Context, old artifacts.Version) error {
	l.mu.Lock()
	holder := l.holder
	l.news = false
	l.mu.Unlock()
	l.beat++
	b, err := encodeLease(holder, l.nonce, l.beat)
	if err != nil {
		return err
	}
	began := time.Now()
	o, err := l.objects.Write(ctx, l.name, artifacts.Text(b), &old)
	if err != nil {
		return err
	}
	l.version, l.renewed = o.Version, began
	return nil
}

// renew goes on through whatever keeps the bucket from being reached: until someone has taken the lease over it may still be kept.
func (l *Lease) renew(ctx context.Context) {
	defer close(l.done)
	tick := time.NewTicker(leaseTell)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !l.due() {
			continue
		}
		if err := l.write(ctx, l.version); errors.Is(err, artifacts.ErrConflict) {
			close(l.lost)
			return
		}
	}
}

func (l *Lease) due() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.news || time.Since(l.renewed) >= leaseRenew
}

// Say changes what those who wait are told, within seconds.
func (l *Lease) Say(holder []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holder, l.news = holder, true
}

// Lost is closed when another one has taken the lease over.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Release gives the lease up. One that was lost, or may have been by now, is left alone: it would be another one's that is deleted.
// When ctx ends first, it is left to die.
func (l *Lease) Release(ctx context.Context) error {
	var err error
	l.release.Do(func() { err = l.giveUp(ctx) })
	return err
}

func (l *Lease) giveUp(ctx context.Context) error {
	l.stop()
	<-l.done
	select {
	case <-l.lost:
		return nil
	default:
	}
	sure := leaseSure - time.Since(l.renewed)
	if sure <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sure)
	defer cancel()
	if err := l.objects.Remove(ctx, l.name); err != nil {
		return fmt.Errorf("giving up a lease in the shared cache: %w", err)
	}
	return nil
}

func encodeLease(holder []byte, nonce string, beat int) ([]byte, error) {
	var members map[string]any
	if err := json.Unmarshal(holder, &members); err != nil {
		return nil, fmt.Errorf("what the holder says is no JSON object: %w", err)
	}
	if members == nil {
		return nil, errors.New("what the holder says is null")
	}
	members["nonce"], members["beat"] = nonce, beat
	return artifacts.JCS(members)
}

// decodeLease gives what the holder says: nothing in what is no lease.
func decodeLease(b []byte) []byte {
	var members map[string]any
	if err := json.Unmarshal(b, &members); err != nil || members == nil {
		return []byte("{}")
	}
	delete(members, "nonce")
	delete(members, "beat")
	holder, err := artifacts.JCS(members)
	if err != nil {
		return []byte("{}")
	}
	return holder
}
