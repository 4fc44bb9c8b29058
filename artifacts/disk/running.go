package disk

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofrs/flock"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

const (
	runningDir  = "running"
	holdsLock   = "holds.lock" // shared to write to running/, exclusive to delete what nobody holds
	collectLock = "gc.lock"    // exclusive to collect, shared to remove files of running/
)

// holds is what this process relies on, in a file of running/ that it has locked. A line is the hex of a key or a blob.
type holds struct {
	mu    sync.Mutex
	lock  *lock // nil until BeginBuild
	file  *os.File
	names map[artifacts.Digest]bool
}

// BeginBuild makes Hold count. Whoever writes to the cache, or relies on what is in it for longer than one look, begins
// with it; what it holds is free when the Store is closed or the process ends.
func (s *Store) BeginBuild() error {
	h := &s.holds
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lock != nil {
		return nil
	}
	l, err := lockNew(filepath.Join(s.dir, runningDir), "")
	if err != nil {
		return fmt.Errorf("registering this build: %w", blocked(s.explain(err)))
	}
	// Nobody removes the file while it is locked, so this is the same one.
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return errors.Join(fmt.Errorf("registering this build: %w", s.explain(err)), l.remove())
	}
	h.lock, h.file, h.names = l, f, make(map[artifacts.Digest]bool)
	return nil
}

// Hold keeps keys and blobs from being collected while this build runs. It needs no fsync: a machine that loses power
// runs no build.
func (s *Store) Hold(ctx context.Context, names ...artifacts.Digest) error {
	h := &s.holds
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lock == nil {
		return nil
	}
	var fresh []artifacts.Digest
	lines := []byte{'\n'} // a full disk may have cut the last one
	for _, d := range names {
		if !h.names[d] {
			fresh = append(fresh, d)
			lines = append(hex.AppendEncode(lines, d[:]), '\n')
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	release, err := s.shared(ctx, holdsLock)
	if err != nil {
		return fmt.Errorf("holding what the build needs: %w", blocked(s.explain(err)))
	}
	_, err = h.file.Write(lines)
	if err = errors.Join(err, release()); err != nil {
		return fmt.Errorf("holding what the build needs: %w", s.explain(err))
	}
	for _, d := range fresh {
		h.names[d] = true
	}
	return nil
}

// shared waits for a lock that is held exclusively for as long as a few files are deleted.
func (s *Store) shared(ctx context.Context, name string) (release func() error, err error) {
	f := flock.New(filepath.Join(s.dir, name), flock.SetPermissions(0o666))
	if _, err := f.TryRLockContext(ctx, pointerPoll); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, errors.Join(lockless(err), f.Close())
	}
	return f.Close, nil
}

// end lets go of everything. While a collection runs the file stays, for that to read: what it marked before this build
// published anything does not know of it otherwise.
func (s *Store) end() error {
	h := &s.holds
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lock == nil {
		return nil
	}
	l := h.lock
	h.lock = nil
	err := h.file.Close()
	free, lerr := s.unlessCollecting()
	if free == nil {
		return errors.Join(err, lerr, l.release())
	}
	return errors.Join(err, l.remove(), free())
}

// unlessCollecting gives nil while a collection runs; none begins before what it gives is called.
func (s *Store) unlessCollecting() (func() error, error) {
	f := flock.New(filepath.Join(s.dir, collectLock), flock.SetPermissions(0o666))
	ok, err := f.TryRLock()
	if err != nil || !ok {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}

// sweepRunning removes the files of builds that have ended.
func (s *Store) sweepRunning(ctx context.Context) error {
	free, err := s.unlessCollecting()
	if free == nil {
		return err
	}
	return errors.Join(s.forgetEnded(ctx), free())
}

// forgetEnded wants gc.lock held, one way or the other.
func (s *Store) forgetEnded(ctx context.Context) error { return s.removeUnlocked(ctx, runningDir) }
