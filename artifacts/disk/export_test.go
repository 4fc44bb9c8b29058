package disk

import "time"

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
