package env

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

const (
	locksDir   = ".locks" // below env/
	usedSuffix = ".used"
	lockMode   = 0o666 // less what the umask takes: several users may share a cache
	lockPoll   = 100 * time.Millisecond
)

func (s *Set) lockPath(name string) string { return filepath.Join(s.cache, "env", locksDir, name) }

// lock keeps other builds from installing the same thing. waiting is called once if somebody has it. A build holds what it
// uses while it waits for this; who removes has this, and only tries for the other.
func (s *Set) lock(ctx context.Context, name string, waiting func()) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(s.lockPath(name)), 0o777); err != nil {
		return nil, fmt.Errorf("making the cache folder: %w", err)
	}
	lock := flock.New(s.lockPath(name), flock.SetPermissions(lockMode))
	got, err := lock.TryLock()
	if err == nil && !got {
		waiting()
		_, err = lock.TryLockContext(ctx, lockPoll)
	}
	if err != nil {
		return nil, fmt.Errorf("waiting for another build: %w", err)
	}
	return func() { _ = lock.Unlock() }, nil
}

// hold keeps an environment from being removed while this process lives, which may be about to start a worker in it. It
// waits while one is being removed. Where the cache cannot be written to, nobody removes anything.
func (s *Set) hold(ctx context.Context, digest artifacts.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := s.lockPath(digest.Hex() + usedSuffix)
	if s.held[digest] != nil || os.MkdirAll(filepath.Dir(path), 0o777) != nil {
		return nil
	}
	used := flock.New(path, flock.SetPermissions(lockMode))
	if _, err := used.TryRLockContext(ctx, lockPoll); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
	s.held[digest] = used
	return nil
}

// letGo ends what hold began.
func (s *Set) letGo(digest artifacts.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if used := s.held[digest]; used != nil {
		_ = used.Unlock()
		delete(s.held, digest)
	}
}

// unused makes this process the only one that uses an environment, or is ErrInUse.
func (s *Set) unused(digest artifacts.Digest) (release func(), err error) {
	s.letGo(digest)
	used := flock.New(s.lockPath(digest.Hex()+usedSuffix), flock.SetPermissions(lockMode))
	got, err := used.TryLock()
	if err != nil {
		return nil, fmt.Errorf("looking whether a build uses it: %w", err)
	}
	if !got {
		return nil, ErrInUse
	}
	return func() { _ = used.Unlock() }, nil
}

// sweep removes what killed processes left of environments that nobody installs or removes now. Nobody may ever come
// back for one whose lock has changed since.
func (s *Set) sweep() {
	left, _ := filepath.Glob(filepath.Join(s.cache, "env", asidePrefix+"*"))
	for _, dir := range left {
		hex := filepath.Base(dir)[len(asidePrefix):]
		if len(hex) < hexDigits {
			continue
		}
		s.unlessHeld(hex[:hexDigits], func() { _ = os.RemoveAll(dir) })
	}
}

// unlessHeld removes what died with its process; what a live one holds by the lock of that name is left to it.
func (s *Set) unlessHeld(name string, remove func()) {
	lock := flock.New(s.lockPath(name), flock.SetPermissions(lockMode))
	if got, err := lock.TryLock(); err == nil && got {
		remove()
		_ = lock.Unlock()
	}
}

const (
	asidePrefix = ".new-" // then the digest, then a random text
	hexDigits   = 64      // of a digest
)

func asideOf(digest artifacts.Digest) string { return asidePrefix + digest.Hex() + "-" }
