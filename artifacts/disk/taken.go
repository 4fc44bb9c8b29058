package disk

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// taken is an output that was moved away from its worker, into a folder with a random name: its workspace's own, or the
// scratch folder for what is in no workspace. A mark in there says where the output came from and, before the first file
// leaves the tree for the store, which ones do, so that a process which dies in between loses nothing.
type taken struct {
	dir  string // where it came from
	base string // its name
	home string

	workspace bool // home is in one, and so survives this process
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
		return nil, unfitFor("the worker did not write it")
	}
	if err != nil {
		return nil, err
	}
	if fi.IsDir() {
		if err := os.Chmod(dir, fi.Mode().Perm()|0o700); err != nil {
			return nil, err
		}
	}
	above, workspace, err := s.workspaceOf(dir)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(above, dir)
	if err != nil {
		return nil, err
	}
	o := &taken{dir, filepath.Base(dir), filepath.Join(above, takenPrefix+rand.Text()[:16]), workspace}
	err = os.MkdirAll(o.tree(), 0o700)
	if err == nil {
		err = o.mark(mark{Origin: rel})
	}
	if err == nil {
		err = os.Rename(dir, filepath.Join(o.tree(), o.base))
	}
	if err != nil {
		return nil, errors.Join(err, o.remove())
	}
	return o, nil
}

// workspaceOf is the workspace that holds dir, or else the scratch folder.
func (s *Store) workspaceOf(dir string) (above string, workspace bool, err error) {
	work := filepath.Join(s.dir, workDir)
	rel, err := filepath.Rel(work, dir)
	if err == nil && filepath.IsLocal(rel) {
		if e := strings.SplitN(rel, string(filepath.Separator), 3); len(e) == 3 {
			return filepath.Join(work, e[0], e[1]), true, nil
		}
	}
	above, err = s.scratch()
	return above, false, err
}

// mark is the file that says what a taken tree is. It is replaced whole, and begins with the origin.
type mark struct {
	Origin  string    `json:"origin"` // relative to the workspace
	Leaving []leaving `json:"leaving,omitempty"`
}

// leaving is a file that gets its digest as name.
type leaving struct {
	Path   string           `json:"path"` // below the tree
	Mode   fs.FileMode      `json:"mode"` // as the worker left it
	Digest artifacts.Digest `json:"digest"`
}

// mark is on stable storage when it returns: no file may leave before that.
func (o *taken) mark(m mark) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	at := filepath.Join(o.home, markFile)
	f, err := os.OpenFile(at+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(at+".part", at); err != nil {
		return err
	}
	d, err := os.Open(o.home)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// leave notes the files that are about to leave the tree. Copies that were made of linked files are not of it.
func (o *taken) leave(blobs []adopted) error {
	above, err := filepath.Rel(filepath.Dir(o.home), o.dir)
	if err != nil {
		return err
	}
	m := mark{Origin: above}
	for _, b := range blobs {
		if rel, err := filepath.Rel(o.tree(), b.path); err == nil && filepath.IsLocal(rel) {
			m.Leaving = append(m.Leaving, leaving{rel, b.mode, b.Digest})
		}
	}
	return o.mark(m)
}

func (o *taken) remove() error { return removeTree(o.home) }

// forget removes what is left of the tree; the mark goes first: what is half removed must not be put back.
func (o *taken) forget() error {
	return errors.Join(os.Remove(filepath.Join(o.home, markFile)), o.remove())
}

// originOf reads a mark no further than its first member: of an output of many files it is long.
func originOf(home string) (string, error) {
	f, err := os.Open(filepath.Join(home, markFile))
	if err != nil {
		return "", err
	}
	defer f.Close()
	text := json.NewDecoder(f)
	for _, want := range []json.Token{json.Delim('{'), "origin"} {
		if got, err := text.Token(); err != nil || got != want {
			return "", errors.Join(err, errors.New("the mark does not begin with where the output came from"))
		}
	}
	var origin string
	return origin, text.Decode(&origin)
}

// Noted says that the Manifest of what AdoptTree took from dir is kept, so that dir need not be put back any more.
func (s *Store) Noted(dir string) error {
	above, workspace, err := s.workspaceOf(dir)
	if err != nil || !workspace {
		return err
	}
	homes, err := filepath.Glob(filepath.Join(above, takenPrefix+"*"))
	for _, home := range homes {
		origin, unread := originOf(home)
		if unread == nil && filepath.Join(above, origin) == dir {
			err = errors.Join(err, (&taken{home: home}).forget())
		}
	}
	if err != nil {
		return fmt.Errorf("noting %s: %w", filepath.Base(dir), err)
	}
	return nil
}

func (o *taken) putBack() error {
	return errors.Join(os.Rename(filepath.Join(o.tree(), o.base), o.dir), o.remove())
}

// restoreTaken puts back what a process took from a workspace and did not live to store.
func (s *Store) restoreTaken(workspace string) error {
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
			errs = append(errs, s.restoreOne(root, e.Name()), removeTree(filepath.Join(workspace, e.Name())))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) restoreOne(root *os.Root, home string) error {
	text, err := root.ReadFile(filepath.Join(home, markFile))
	if err != nil {
		return ignoreMissing(err)
	}
	var m mark
	if json.Unmarshal(text, &m) != nil {
		return nil // of a machine that lost power; nothing has left, but who knows what
	}
	if _, err := root.Lstat(m.Origin); err == nil {
		return nil // it was never taken
	}
	tree := filepath.Join(home, treeDir)
	for _, l := range m.Leaving {
		if s.bringBack(filepath.Join(root.Name(), tree), l) != nil {
			return nil // half an output must never pass for one: it is made again
		}
	}
	return ignoreMissing(root.Rename(filepath.Join(tree, filepath.Base(m.Origin)), m.Origin))
}

// bringBack gives a file that has become a blob its name in the tree again.
func (s *Store) bringBack(tree string, l leaving) error {
	at, err := filepath.Rel(s.dir, filepath.Join(tree, l.Path))
	if err != nil || !filepath.IsLocal(l.Path) {
		return fmt.Errorf("%w %q", artifacts.ErrPath, l.Path)
	}
	if _, err := s.root.Lstat(at); err == nil {
		return s.root.Chmod(at, l.Mode)
	}
	if err := s.sound(context.Background(), l.Digest); err != nil {
		return err
	}
	if l.Mode&0o111 == 0 && s.root.Link(blobName(l.Digest), at) == nil {
		return nil
	}
	from, err := s.root.Open(blobName(l.Digest))
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := s.root.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Chmod(l.Mode), to.Close())
}
