package lineage

import (
	"context"
	"fmt"
	"time"

	"github.com/gofrs/flock"
)

// guard is the lock beside the index: held shared by whoever has the index open, and exclusively by whoever throws it
// away. Without it, a process could unlink a write-ahead log that belongs to another one's new file.
type guard struct{ f *flock.Flock }

const (
	guardPoll    = 5 * time.Millisecond
	guardPatient = 10 * time.Second // how long others may keep an index open that must be thrown away
)

func newGuard(path string) *guard {
	return &guard{flock.New(path+".lock", flock.SetPermissions(0o666))}
}

// share waits while another process makes the index anew, which takes milliseconds: it fills it later.
func (g *guard) share(ctx context.Context) error {
	return g.wait(ctx, g.f.TryRLockContext)
}

func (g *guard) exclude(ctx context.Context) error {
	return g.wait(ctx, g.f.TryLockContext)
}

func (g *guard) wait(ctx context.Context, try func(context.Context, time.Duration) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, guardPatient)
	defer cancel()
	if _, err := try(ctx, guardPoll); err != nil {
		return fmt.Errorf("locking %s: %w", g.f.Path(), err)
	}
	return nil
}

func (g *guard) release() error { return g.f.Close() }
