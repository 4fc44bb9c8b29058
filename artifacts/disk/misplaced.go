package disk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// asideDir keeps what was found in another thing's place: whose it is cannot be told.
const asideDir = "aside"

// Misplaced is a folder where the layout has a file, or the other way round. Whoever would write there cannot.
type Misplaced struct {
	Name    string
	Detail  string
	Pointer bool // else a lock file or a folder, without which no build can register

	folder bool // in the place of a file
}

var (
	lockFiles = []string{holdsLock, collectLock, pointerLock}
	folders   = []string{keysDir, "runs", "records", "builds", refsDir, "lost", runningDir, checkpointsDir, hashDir, plansDir, "env", "tools"}

	// fileFolders hold files, so many names deep.
	fileFolders = map[string]int{keysDir: 1, refsDir: 1, "lost": 1, leasesDir: 1, hashDir: 1, plansDir: 1, "runs": 2, "records": 2, "builds": 2}
)

// Misplaced looks at the names of the layout; pointers come last. The folders that Open makes have closed the cache before.
func (s *Store) Misplaced(ctx context.Context) ([]Misplaced, error) {
	var all []Misplaced
	for _, name := range lockFiles {
		if fi, err := os.Stat(filepath.Join(s.dir, name)); err == nil && fi.IsDir() {
			all = append(all, s.misplaced(name, true, false))
		}
	}
	for _, name := range folders {
		if fi, err := os.Stat(filepath.Join(s.dir, name)); err == nil && !fi.IsDir() {
			all = append(all, s.misplaced(name, false, false))
		}
	}
	for dir, depth := range fileFolders {
		err := s.foldersIn(ctx, dir, depth, func(name string) {
			all = append(all, s.misplaced(name, true, dir != leasesDir && dir != hashDir && dir != plansDir))
		})
		if err != nil {
			return nil, fmt.Errorf("looking for what is out of its place: %w", err)
		}
	}
	return all, nil
}

func (s *Store) misplaced(name string, folder, pointer bool) Misplaced {
	m := Misplaced{name, "a file is where a folder belongs", pointer, folder}
	if folder {
		m.Detail = "a folder is where a file belongs"
	}
	if !s.isEmpty(name) {
		m.Detail += "; it is not empty, so --repair moves it to " + asideDir + "/"
	}
	return m
}

func (s *Store) isEmpty(name string) bool {
	full := filepath.Join(s.dir, name)
	if list, err := os.ReadDir(full); err == nil {
		return len(list) == 0
	}
	fi, err := os.Lstat(full)
	return err == nil && fi.Size() == 0
}

// foldersIn tells of the folders that have a name which a pointer or a file of dir may have.
func (s *Store) foldersIn(ctx context.Context, dir string, depth int, tell func(string)) error {
	return s.eachEntry(ctx, dir, func(entry string) error {
		base, isDir := strings.CutSuffix(entry, "/")
		name := path.Join(dir, base)
		switch _, err := artifacts.ParseHex(base); {
		case !isDir:
		case depth > 1:
			return s.foldersIn(ctx, name, depth-1, tell)
		case err == nil, dir == refsDir && artifacts.CheckName(name) == nil:
			tell(name)
		}
		return nil
	})
}

// SetAside frees the name, unless that was done since. What is empty is removed; the rest is kept in aside/, where nothing looks at it.
func (s *Store) SetAside(m Misplaced) error {
	name, full := m.Name, filepath.Join(s.dir, m.Name)
	fi, err := os.Lstat(full)
	if err != nil || fi.IsDir() != m.folder {
		return ignoreMissing(err)
	}
	// Not os.Remove, which would also take the pointer that a build sets there by now.
	remove := unix.Unlink
	if m.folder {
		remove = unix.Rmdir
	}
	if s.isEmpty(name) {
		err = ignoreMissing(remove(full))
	} else {
		kept := path.Join(asideDir, strings.ReplaceAll(name, "/", "-")+"."+rand.Text()[:16])
		if err = s.makeParents(kept); err == nil {
			err = s.root.Rename(name, kept)
		}
	}
	if err != nil {
		return fmt.Errorf("setting %s aside: %w", name, s.explain(err))
	}
	return s.syncDir(path.Dir(name))
}

// clearName removes an empty folder from a file's name. Rmdir takes nothing else, and nothing that anyone could miss.
func (s *Store) clearName(name string) { _ = unix.Rmdir(filepath.Join(s.dir, name)) }

// blocked says what to do about something that stands in another thing's place.
func blocked(err error) error {
	for _, in := range []error{syscall.ENOTDIR, syscall.EISDIR, fs.ErrExist} {
		if errors.Is(err, in) {
			return fmt.Errorf("%w; something is in its place that is not tinfra's: `tinfra cache verify` names it, and --repair moves it away", err)
		}
	}
	return err
}
