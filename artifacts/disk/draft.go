package disk

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// draft is a file of the scratch folder that has all its bytes and no name yet. It is open until it is settled.
type draft struct {
	fd   int // -1 once it is closed
	path string
}

// draft makes one. It goes past os.File, whose poller costs more system calls than the file.
func (s *Store) draft(b []byte, mode fs.FileMode) (*draft, error) {
	dir, err := s.scratch()
	if err != nil {
		return nil, err
	}
	d := &draft{-1, filepath.Join(dir, rand.Text())}
	d.fd, err = retry(func() (int, error) {
		return unix.Open(d.path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return nil, s.explain(&fs.PathError{Op: "open", Path: d.path, Err: err})
	}
	for len(b) > 0 && err == nil {
		var n int
		n, err = retry(func() (int, error) { return unix.Write(d.fd, b) })
		b = b[max(n, 0):]
	}
	if err == nil {
		err = unix.Fchmod(d.fd, uint32(mode))
	}
	if err != nil {
		return nil, s.explain(errors.Join(&fs.PathError{Op: "write", Path: d.path, Err: err}, d.drop()))
	}
	return d, nil
}

// seal gives it the times of a blob.
func (d *draft) seal() error {
	at := unix.NsecToTimespec(sealed.UnixNano())
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(unix.AT_FDCWD, d.path, []unix.Timespec{at, at}, 0))
}

// settleDraft closes it once it is on stable storage.
func (s *Store) settleDraft(d *draft) error {
	_, err := retry(func() (int, error) { return 0, s.fsync(d.fd) })
	return errors.Join(os.NewSyscallError("fsync", err), d.close())
}

func (d *draft) close() error {
	if d.fd < 0 {
		return nil
	}
	err := unix.Close(d.fd)
	d.fd = -1
	return os.NewSyscallError("close", err)
}

func (d *draft) drop() error { return errors.Join(d.close(), os.Remove(d.path)) }

// retry is for what a signal may interrupt.
func retry(do func() (int, error)) (int, error) {
	for {
		n, err := do()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
