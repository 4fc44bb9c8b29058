package disk

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// draft is a file of the scratch folder that has all its bytes and no name yet. It is open until it is settled.
type draft struct {
	fd    int    // -1 once it is closed
	path  string // "" once it has its name, or is removed
	inode inode  // of a blob
	err   error  // it is of no use, and removed
}

// draft makes one. It goes past os.File, whose poller costs more system calls than the file.
func (s *Store) draft(b []byte, mode fs.FileMode) *draft {
	d := &draft{fd: -1}
	dir, err := s.scratch()
	if err != nil {
		d.err = err
		return d
	}
	path := filepath.Join(dir, rand.Text())
	d.fd, err = retry(func() (int, error) {
		return unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		d.err = s.explain(&fs.PathError{Op: "open", Path: path, Err: err})
		return d
	}
	d.path = path
	for len(b) > 0 && err == nil {
		var n int
		n, err = retry(func() (int, error) { return unix.Write(d.fd, b) })
		b = b[max(n, 0):]
	}
	if err == nil {
		err = unix.Fchmod(d.fd, uint32(mode))
	}
	if err != nil {
		d.fail(s.explain(&fs.PathError{Op: "write", Path: path, Err: err}))
	}
	return d
}

// fail removes it, where err is not nil.
func (d *draft) fail(err error) {
	if err != nil {
		d.err = errors.Join(err, d.drop())
	}
}

// seal gives it the times of a blob.
func (d *draft) seal() error {
	at := unix.NsecToTimespec(sealed.UnixNano())
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, d.path, []unix.Timespec{at, at}, 0); err != nil {
		return os.NewSyscallError("utimensat", err)
	}
	var st unix.Stat_t
	err := unix.Fstat(d.fd, &st)
	d.inode = inode{uint64(st.Dev), st.Ino} //nolint:unconvert // Dev is signed on other systems
	return os.NewSyscallError("fstat", err)
}

// manyDrafts is from how many on the whole file system is flushed. Each flush of a new file ends a transaction of the journal, some
// 130 µs on a fast disk; one of the file system takes 200 µs for two files and 300 for eight.
const manyDrafts = 2

// settleAll puts drafts on stable storage, those that there are, and closes them; one that fails is removed.
func (s *Store) settleAll(drafts []*draft) {
	drafts = slices.DeleteFunc(drafts, func(d *draft) bool { return d == nil || d.err != nil })
	flush := s.fsync
	if len(drafts) >= manyDrafts && s.whole() && flushWhole(drafts[0].fd, len(drafts)) {
		flush = written
	} else {
		for _, d := range drafts { // so that the first flush ends the transaction of the journal that all are in, and not one of its own
			startFlush(d.fd)
		}
	}
	for _, d := range drafts {
		_, err := retry(func() (int, error) { return 0, flush(d.fd) })
		d.fail(s.explain(errors.Join(os.NewSyscallError("fsync", err), d.close())))
	}
}

// manyFolders is the same for folders: they have no bytes to write, so the flush of the first one serves all.
const manyFolders = 4

// syncDirs leaves in dirs what came of flushing each.
func (s *Store) syncDirs(dirs map[string]error) {
	whole := len(dirs) >= manyFolders && s.whole() && s.flushWhole(len(dirs))
	for dir := range dirs {
		if dirs[dir] = s.syncDir(dir); whole && dirs[dir] == nil {
			return // one is asked all the same: kernels before 5.17 keep from syncfs that a journal was given up
		}
	}
}

func (s *Store) flushWhole(dirs int) bool {
	d, err := os.Open(s.dir)
	if err != nil {
		return false
	}
	defer d.Close()
	return flushWhole(int(d.Fd()), dirs)
}

func (d *draft) close() error {
	if d.fd < 0 {
		return nil
	}
	err := unix.Close(d.fd)
	d.fd = -1
	return os.NewSyscallError("close", err)
}

// drop removes it, unless that was done or it has its name.
func (d *draft) drop() error {
	if d.path == "" {
		return d.close()
	}
	err := errors.Join(d.close(), os.Remove(d.path))
	d.path = ""
	return err
}

// retry is for what a signal may interrupt.
func retry(do func() (int, error)) (int, error) {
	for {
		n, err := do()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
