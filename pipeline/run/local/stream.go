package local

import (
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// Bounds of what a stream keeps on disk, in bytes. A builder reads fewer at either end, however far it is behind.
const (
	keptFirst = 16 << 20
	keptLast  = 64 << 20
	trimStep  = 16 << 20 // no hole is made for less
)

// stream is a file to which a worker may write without an end. Its middle is given back to the disk by holes, so what
// stands after them keeps its offset and the writer notices nothing.
type stream struct {
	path string
	hole int64 // end of the hole, 0 for none
}

func streamsOf(workspace string) []*stream {
	var all []*stream
	for _, name := range []string{protocol.StdoutFile, protocol.StderrFile, protocol.EventsFile} {
		all = append(all, &stream{path: filepath.Join(workspace, name)})
	}
	return all
}

// trim makes a hole where there is room for one. Where the file system has none, the stream stays whole. A file with a
// second name is somebody else's as well.
func (s *stream) trim() {
	var st unix.Stat_t
	if unix.Lstat(s.path, &st) != nil || st.Size < keptFirst+keptLast+trimStep {
		return // by far the most
	}
	fd, err := unix.Open(s.path, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 {
		return
	}
	if st.Size < s.hole { // begun anew by the worker
		s.hole = 0
	}
	from, to := max(s.hole, keptFirst), (st.Size-keptLast)/trimStep*trimStep
	if to <= from {
		return
	}
	if unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, to-from) == nil {
		s.hole = to
	}
}
