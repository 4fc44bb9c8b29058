package disk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// lock is a file that one process at a time holds. The kernel frees it when the holder dies.
type lock struct {
	path string
	f    *flock.Flock // nil where the path is a name of our badge
}

// tryLock gives nil when someone else holds the file. A file that was removed while we waited for it protects nothing
// any more, so the lock counts only if the path still leads to what was locked. One that can be had and has other names was the badge
// of a process that is dead: to hold it would hold all that it stood for, so it makes way for a file of its own. The cache's own locks
// stay, whatever names somebody gave them who linked a whole cache.
func tryLock(path string) (*lock, error) {
	for {
		f := flock.New(path, flock.SetPermissions(0o666))
		ok, err := f.TryLock()
		if errors.Is(err, fs.ErrNotExist) {
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				return nil, fmt.Errorf("locking %s: %w", path, err)
			}
			continue
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", path, lockless(err)), f.Close())
		}
		if !ok {
			return nil, f.Close()
		}
		held, err := f.Stat()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
		}
		if now, err := os.Stat(path); err == nil && os.SameFile(held, now) {
			if links(held) == 1 || slices.Contains(lockFiles, filepath.Base(path)) {
				return &lock{path, f}, nil
			}
			if err := os.Remove(path); err != nil {
				return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
			}
		}
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
	}
}

// lockNew makes a file of a random name and locks it. Someone who sweeps may hold it for a moment, between its making and
// its locking, and remove it: then another name is as good.
func lockNew(dir, suffix string) (*lock, error) {
	for {
		l, err := tryLock(filepath.Join(dir, rand.Text()[:16]+suffix))
		if l != nil || err != nil {
			return l, err
		}
	}
}

// isLocked asks and makes nothing: a file that is gone by now is nobody's. Two may ask at once.
func isLocked(path string) (bool, error) {
	f := flock.New(path, flock.SetFlag(os.O_RDONLY))
	ok, err := f.TryRLock()
	if err != nil {
		err = ignoreMissing(err)
		return false, errors.Join(lockless(err), f.Close())
	}
	return !ok, f.Close()
}

// lockless says what to do about a file system that knows no locks: without them two builds would take each other's work
// for that of the dead.
func lockless(err error) error {
	for _, no := range []error{syscall.ENOLCK, syscall.ENOSYS, syscall.EOPNOTSUPP} {
		if errors.Is(err, no) {
			return fmt.Errorf("the file system gives no locks, which a cache needs: set TINFRA_CACHE to a folder on a local disk: %w", err)
		}
	}
	return err
}

// How soon a waiter notices that a lock is free. Polling, since a blocked flock cannot be cancelled.
const (
	leasePoll   = 50 * time.Millisecond // held for as long as a stage runs
	pointerPoll = time.Millisecond      // held for as long as one file is renamed
)

// waitLock waits for the file; busy is called each time that it was found held.
func waitLock(ctx context.Context, path string, every time.Duration, busy func()) (*lock, error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		l, err := tryLock(path)
		if l != nil || err != nil {
			return l, err
		}
		busy()
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// release lets another process have what the lock stands for.
func (l *lock) release() error {
	if l.f == nil {
		return l.remove()
	}
	return l.f.Close()
}

// remove takes the file away while it is held, so that no one else's lock on it can be lost.
func (l *lock) remove() error {
	err := os.Remove(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if l.f != nil {
		err = errors.Join(err, l.f.Close())
	}
	return err
}
