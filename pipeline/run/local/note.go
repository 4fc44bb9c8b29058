package local

import (
	"encoding/json"
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
	f, err := os.OpenFile(path+partSuffix, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	// Written over and then cut, not emptied and then filled: what was reserved stays ours on a full disk.
	_, err = f.Write(b)
	if err == nil {
		err = f.Truncate(int64(len(b)))
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(path+partSuffix, path)
}

const partSuffix = ".part"

// reserve takes room for what writeJSON will write to path, so that a worker that fills the disk does not keep its
// supervisor from saying so.
func reserve(path string) error {
	const room = 4096 // bytes; an Exit takes a few hundred
	return os.WriteFile(path+partSuffix, make([]byte, room), 0o600)
}
