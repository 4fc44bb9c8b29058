package local

import (
	"encoding/json"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// writeJSON writes a whole file or none. It stands where a worker can put a pipe or a link in its way, which must neither
// hold us nor lead elsewhere.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	// Written over and then cut, not emptied and then filled: what was reserved stays ours on a full disk.
	if err := write(path+partSuffix, unix.O_NOFOLLOW|unix.O_NONBLOCK, b); err != nil {
		return err
	}
	return os.NewSyscallError("rename", unix.Rename(path+partSuffix, path))
}

// write makes a file or writes it over, and cuts it. It goes past os.File, whose poller costs more system calls than the file.
func write(path string, how int, b []byte) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC|how, 0o600)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	size := int64(len(b))
	for len(b) > 0 && err == nil {
		var n int
		if n, err = unix.Write(fd, b); errors.Is(err, unix.EINTR) {
			err = nil
		}
		b = b[max(n, 0):]
	}
	if err == nil {
		err = unix.Ftruncate(fd, size)
	}
	if closed := unix.Close(fd); err == nil {
		err = closed
	}
	if err != nil {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

const partSuffix = ".part"

// reserve takes room for what writeJSON will write to path, so that a worker that fills the disk does not keep its
// supervisor from saying so.
func reserve(path string) error {
	const room = 4096 // bytes; an Exit takes a few hundred
	return write(path+partSuffix, 0, make([]byte, room))
}
