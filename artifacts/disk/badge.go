package disk

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// badge is the lock file of the scratch folder: this process has locked it for as long as it lives, and it says who that is. Each further
// name of it is a lock that we hold from the moment in which it is there, and costs the file system no file: a build takes and gives
// back thousands.
type badge struct {
	path   string
	holder []byte // what it says; nil until the first lease
}

// show makes path a lock that we hold; nil where that is not to be had: somebody holds it or has left it, the badge says something else, or
// the file system gives a file one name only. Whatever holder is, nil will do.
func (s *Store) show(path string, holder []byte) *lock {
	if _, err := s.scratch(); err != nil {
		return nil
	}
	s.mu.Lock()
	if s.private == nil { // closed since
		s.mu.Unlock()
		return nil
	}
	b := &s.private.badge
	if b.holder == nil && holder != nil && os.WriteFile(b.path, holder, 0) == nil {
		b.holder = bytes.Clone(holder)
	}
	says := holder == nil || bytes.Equal(b.holder, holder)
	s.mu.Unlock()
	if !says {
		return nil
	}
	err := unix.Link(b.path, path)
	if errors.Is(err, fs.ErrNotExist) && os.MkdirAll(filepath.Dir(path), 0o777) == nil {
		err = unix.Link(b.path, path) // where the folder was swept meanwhile, a lock is taken as others take it
	}
	if err != nil {
		return nil
	}
	return &lock{path: path}
}
