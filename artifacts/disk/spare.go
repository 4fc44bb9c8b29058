package disk

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// A spare is a workspace whose attempt is over, emptied, with the folders and files of its layout: the next attempt of the same layout
// gets it by a rename. To make and remove them costs a small stage more than its command, and some file systems do not give an
// inode out again that was freed a minute ago. It is a folder of a key in the scratch folder, so it goes with that, and nobody but its
// process looks at it.
type spare struct{ dir, layout string }

const (
	maxSpares = 16

	maxSpareEntries = 64       // of a folder: one that had more is slow for good
	maxSpareFolder  = 4 << 10  // bytes of the folder itself, as far as its file system counts them
	maxSpareFile    = 64 << 10 // bytes: a larger one is removed, its blocks with it
)

// errUnfit: it is not as its layout says, and so is removed.
var errUnfit = errors.New("the workspace cannot serve again")

// Fresh is Workspace for an attempt that is to begin from nothing. The layout names folders, with a slash at the end, and files that it
// may have; what is there of them is empty.
func (s *Store) Fresh(key artifacts.Key, attempt int, layout []string) (*Workspace, error) {
	if attempt == 1 {
		if at := s.spare(strings.Join(layout, "\x00")); at != "" {
			dir := s.Path(key, 1)
			if unix.Rename(at, filepath.Dir(dir)) == nil {
				return &Workspace{Dir: dir, lock: &lock{path: dir + lockSuffix}, store: s, layout: layout}, nil
			}
			if err := removeTree(at); err != nil {
				return nil, s.explain(err)
			}
		}
	}
	w, err := s.Workspace(key, attempt)
	if err == nil {
		w.layout = layout
	}
	return w, err
}

// spare is where one stands, or "". It is the caller's.
func (s *Store) spare(layout string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.private == nil {
		return ""
	}
	all := s.private.spares
	i := slices.IndexFunc(all, func(sp spare) bool { return sp.layout == layout })
	if i < 0 {
		return ""
	}
	dir := all[i].dir
	s.private.spares = slices.Delete(all, i, i+1)
	return dir
}

// Reuse removes the workspace from its place, as Close does, and keeps it for an attempt of the same layout where it is fit for that.
func (w *Workspace) Reuse() error {
	if w.layout == nil || w.lock.f != nil || filepath.Base(w.Dir) != "1" || w.empty("") != nil || w.store.putAside(w) != nil {
		return w.Close()
	}
	return nil
}

// putAside moves the folder of its key to the scratch folder, unless another attempt is in it: of a build that lost its lease.
func (s *Store) putAside(w *Workspace) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.private == nil || len(s.private.spares) == maxSpares {
		return errUnfit
	}
	at, from := filepath.Join(s.private.dir, rand.Text()), filepath.Dir(w.Dir)
	if err := unix.Rename(from, at); err != nil {
		return err
	}
	list, err := os.ReadDir(at)
	if err != nil || len(list) != 2 { // the workspace and its lock
		return errors.Join(errUnfit, err, unix.Rename(at, from))
	}
	s.private.spares = append(s.private.spares, spare{at, strings.Join(w.layout, "\x00")})
	return nil
}

// empty leaves of a folder what its layout names. A worker may have done anything to it that its user may: what is not as it was made
// is not kept. Its processes are gone.
func (w *Workspace) empty(below string) error {
	dir := filepath.Join(w.Dir, below)
	fi, err := os.Lstat(dir)
	if err != nil || !fi.IsDir() || fi.Size() > maxSpareFolder || altered(dir, fi) {
		return errors.Join(errUnfit, err)
	}
	mode := fs.FileMode(0o755)
	if below == "" {
		mode = 0o700
	}
	if fi.Mode().Perm() != mode { // as inputs have, which are read-only
		if err := os.Chmod(dir, mode); err != nil {
			return err
		}
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) > maxSpareEntries {
		return errors.Join(errUnfit, err)
	}
	for _, e := range list {
		if err := w.emptyEntry(below, e); err != nil {
			return err
		}
	}
	return nil
}

func (w *Workspace) emptyEntry(below string, e fs.DirEntry) error {
	name := below + e.Name()
	at := filepath.Join(w.Dir, name)
	switch {
	case e.IsDir() && slices.Contains(w.layout, name+"/"):
		return w.empty(name + "/")
	case e.IsDir():
		return removeTree(at)
	case e.Type().IsRegular() && slices.Contains(w.layout, name):
		return blank(at, at)
	case e.Type().IsRegular() && slices.Contains(w.layout, name+partSuffix): // written by a rename, and so it will be again
		return blank(at, at+partSuffix)
	}
	return os.Remove(at)
}

// partSuffix ends the name under which a file is written that gets its own by a rename.
const partSuffix = ".part"

// blank makes a file empty and gives it its name in the layout. One that is not as it was made is removed.
func blank(at, to string) error {
	fi, err := os.Lstat(at)
	if err != nil {
		return err
	}
	plain := fi.Mode().Perm()&^0o044 == 0o600 && fi.Mode().IsRegular()
	if !plain || links(fi) != 1 || fi.Size() > maxSpareFile || altered(at, fi) {
		return os.Remove(at)
	}
	if fi.Size() > 0 {
		fd, err := unix.Open(at, unix.O_WRONLY|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("open", err)
		}
		if err := unix.Close(fd); err != nil {
			return os.NewSyscallError("close", err)
		}
	}
	if at == to {
		return nil
	}
	return unix.Rename(at, to)
}

// altered: it is another user's, or has attributes that not the kernel has given it, an access list for one, which what is made in
// it would inherit.
func altered(path string, fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != os.Geteuid() || fi.Mode()&(fs.ModeSetuid|fs.ModeSticky) != 0 {
		return true
	}
	names := make([]byte, 1<<10)
	n, err := unix.Llistxattr(path, names)
	if errors.Is(err, unix.ENOTSUP) {
		return false
	}
	if err != nil {
		return true
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if name != "" && !strings.HasPrefix(name, "security.") {
			return true
		}
	}
	return false
}
