package disk

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const lockSuffix = ".lock"

// scratch is this Store's own folder below tmp/. Its lock file stands beside it: made first and removed last, so a
// folder without one has no owner.
type scratch struct {
	dir   string
	lock  *lock
	badge badge

	spares []spare
}

func (s *Store) scratch() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.private != nil {
		return s.private.dir, nil
	}
	if s.readOnly != nil {
		return "", s.readOnly
	}
	l, err := lockNew(filepath.Join(s.dir, tmpDir), lockSuffix)
	if err != nil {
		return "", s.explain(err)
	}
	dir := strings.TrimSuffix(l.path, lockSuffix)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", errors.Join(s.explain(err), l.remove())
	}
	s.private = &scratch{dir: dir, lock: l, badge: badge{path: l.path}}
	return dir, nil
}

func (p *scratch) remove() error { return errors.Join(removeTree(p.dir), p.lock.remove()) }

// temp opens a new file in the scratch folder.
func (s *Store) temp() (*os.File, error) {
	dir, err := s.scratch()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, rand.Text()), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, s.explain(err)
	}
	return f, nil
}

// writeTemp puts b on stable storage under a temporary name.
func (s *Store) writeTemp(b []byte, mode fs.FileMode) (string, error) {
	f, err := s.temp()
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, bytes.NewReader(b))
	if err = errors.Join(err, s.settle(f, mode)); err != nil {
		return "", errors.Join(s.explain(err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// settle closes f once its bytes and mode are on stable storage.
func (s *Store) settle(f *os.File, mode fs.FileMode) error {
	return errors.Join(f.Chmod(mode), f.Sync(), f.Close())
}

// rename moves a temporary file of ours to a name below the cache folder, and makes the name durable.
func (s *Store) rename(tmp, name string) error {
	rel, err := filepath.Rel(s.dir, tmp)
	if err != nil {
		return err
	}
	if err := s.makeParents(name); err != nil {
		return errors.Join(s.explain(err), os.Remove(tmp))
	}
	if err := s.root.Rename(rel, name); err != nil {
		return errors.Join(s.explain(err), os.Remove(tmp))
	}
	return s.syncDir(filepath.Dir(name))
}

// makeParents creates the folders of name and makes each new one durable.
func (s *Store) makeParents(name string) error {
	dir := filepath.Dir(name)
	if dir == "." {
		return nil
	}
	if _, err := s.root.Lstat(dir); err == nil {
		return nil
	}
	if err := s.makeParents(dir); err != nil {
		return err
	}
	if err := s.root.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.syncDir(filepath.Dir(dir))
}

func (s *Store) syncDir(name string) error {
	d, err := s.root.Open(name)
	if err != nil {
		return err
	}
	_, err = retry(func() (int, error) { return 0, s.fsync(int(d.Fd())) })
	return s.explain(errors.Join(os.NewSyscallError("fsync", err), d.Close()))
}

// explain says what to do about a full disk.
func (s *Store) explain(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("no space left for the cache in %s: free some, or set TINFRA_CACHE to a larger disk: %w", s.dir, err)
	}
	return err
}

// removeTree also removes what lies in read-only folders.
func removeTree(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			return os.Chmod(p, 0o700)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(os.RemoveAll(dir), err)
}
