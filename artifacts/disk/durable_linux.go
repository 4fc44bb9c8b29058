package disk

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// manyFiles from which on flushing their file system costs less than flushing each: a flush of its own costs a file some
// 100 µs on the best of disks. What other processes have not written yet is written too, and waited for; the kernel keeps
// that to a fraction of the memory, and a file that is new would wait for much of it in any case, for the journal's sake.
const manyFiles = 512

// flushTogether puts all that was written to the file system of dir on stable storage. It is false where that cannot be
// had, or is not known to promise as much as a flush of each file does: over a network, by FUSE, in layers. Unlike flushWhole it
// asks nobody how much there is to write: what there is is mostly the caller's.
func flushTogether(dir string) (bool, error) {
	if !flushesWhole(dir)() {
		return false, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer d.Close()
	// An error may be of another process's file, or have been told to another process: each file is asked for its own.
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return false, nil
	}
	return true, nil
}

// flushed tells of an error in writing f that nobody has been told yet. It waits for what is being written and starts nothing.
func flushed(f *os.File) error {
	err := written(int(f.Fd()))
	if err != nil && !errors.Is(err, unix.ENOSYS) {
		return &fs.PathError{Op: "sync_file_range", Path: f.Name(), Err: err}
	}
	return nil
}

// startFlush has the disk begin to write what an open file holds, so that less is left for the flush. It makes nothing durable.
func startFlush(fd int) {
	_ = unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE)
}

const noAccessTime = unix.O_NOATIME
