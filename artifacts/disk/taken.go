package disk

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// taken is an output that was moved away from its worker, into a folder with a random name: its workspace's own, or the
// scratch folder for what is in no workspace. A mark in there says where the output came from. It is there for as long
// as the tree is whole, so that a process which dies while it hashes many gigabytes loses none of them.
type taken struct {
	dir  string // where it came from
	base string // its name
	home string
}

const (
	takenPrefix = "taken-"
	markFile    = "origin"
	treeDir     = "tree"
)

func (o *taken) tree() string { return filepath.Join(o.home, treeDir) }

// take moves dir away. A folder cannot be moved unless it is writable.
func (s *Store) take(dir string) (*taken, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	fi, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the worker did not write it", ErrOutput)
	}
	if err != nil {
		return nil, err
	}
	if fi.IsDir() {
		if err := os.Chmod(dir, fi.Mode().Perm()|0o700); err != nil {
			return nil, err
		}
	}
	above, err := s.workspaceOf(dir)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(above, dir)
	if err != nil {
		return nil, err
	}
	o := &taken{dir, filepath.Base(dir), filepath.Join(above, takenPrefix+rand.Text()[:16])}
	err = os.MkdirAll(o.tree(), 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(o.home, markFile), []byte(rel), 0o600)
	}
	if err == nil {
		err = os.Rename(dir, filepath.Join(o.tree(), o.base))
	}
	if err != nil {
		return nil, errors.Join(err, o.remove())
	}
	return o, nil
}

// workspaceOf is the workspace that holds dir, or the scratch folder.
func (s *Store) workspaceOf(dir string) (string, error) {
	work := filepath.Join(s.dir, workDir)
	rel, err := filepath.Rel(work, dir)
	if err == nil && filepath.IsLocal(rel) {
		if e := strings.SplitN(rel, string(filepath.Separator), 3); len(e) == 3 {
			return filepath.Join(work, e[0], e[1]), nil
		}
	}
	return s.scratch()
}

func (o *taken) unmark() error { return os.Remove(filepath.Join(o.home, markFile)) }

func (o *taken) remove() error { return removeTree(o.home) }

func (o *taken) putBack() error {
	return errors.Join(os.Rename(filepath.Join(o.tree(), o.base), o.dir), o.remove())
}

// restoreTaken puts back what a process took from a workspace and did not live to store.
func restoreTaken(workspace string) error {
	list, err := os.ReadDir(workspace)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(workspace)
	if err != nil {
		return err
	}
	defer root.Close()
	var errs []error
	for _, e := range list {
		if strings.HasPrefix(e.Name(), takenPrefix) {
			errs = append(errs, restoreOne(root, e.Name()), removeTree(filepath.Join(workspace, e.Name())))
		}
	}
	return errors.Join(errs...)
}

func restoreOne(root *os.Root, home string) error {
	mark, err := root.ReadFile(filepath.Join(home, markFile))
	if err != nil {
		return ignoreMissing(err)
	}
	origin := string(mark)
	if _, err := root.Lstat(origin); err == nil {
		return nil // it was never taken
	}
	return ignoreMissing(root.Rename(filepath.Join(home, treeDir, filepath.Base(origin)), origin))
}
