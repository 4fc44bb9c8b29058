package disk

import (
	"fmt"
	"os"
	"time"
)

// FilesAt is a Hasher by another clock, so that tests need not wait for files to grow old.
func (s *Store) FilesAt(clock func() time.Time) *Hasher {
	h := s.Files()
	h.now = clock
	return h
}

// Sealed is the modification time of every blob, for writers that cover their tracks.
var Sealed = sealed

// NeededBy is what SweepWork asks of a workspace, with another way to ask after processes.
var NeededBy = neededBy

// FailSync makes the flushing of those files fail of which fails says so by their path. Each is flushed by itself then.
func (s *Store) FailSync(fails func(path string) error) {
	s.whole = func() bool { return false }
	real := s.fsync
	s.fsync = func(fd int) error {
		path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err == nil {
			err = fails(path)
		}
		if err != nil {
			return err
		}
		return real(fd)
	}
}
