package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
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

// TrackFrom makes files of that many bytes count as large, on a machine that may be busy.
func (s *Store) TrackFrom(least int64) { s.moves.least, s.moves.longest = least, time.Hour }

// TrackNoStep has each step take longer than it may.
func (s *Store) TrackNoStep() { s.moves.longest = -1 }

// Untouched says that Check need not read a file of the inputs.
func (l *Laid) Untouched(path string) (bool, error) {
	fi, err := os.Lstat(filepath.Join(l.dir, path))
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(l.want.Files, func(f artifacts.File) bool { return f.Path == path })
	return l.untouched(l.want.Files[i], fi), nil
}

// HashElsewhere is as if another stage hashed a blob until done is called, and found it sound.
func (s *Store) HashElsewhere(d artifacts.Digest) (done func() error) {
	turn := make(chan struct{}, 1)
	turn <- struct{}{}
	s.hashing.Store(d, turn)
	return func() error {
		fi, err := os.Lstat(s.BlobFile(d))
		if err == nil {
			s.hashed.Store(d, inodeOf(fi))
		}
		<-turn
		return err
	}
}
