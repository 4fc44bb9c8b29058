package disk

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
	w.unlinkInputs()
	if w.layout == nil || w.lock.f != nil || filepath.Base(w.Dir) != "1" || w.empty(unix.AT_FDCWD, w.Dir, "", 0o700) != nil || w.store.putAside(w) != nil {
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
func (w *Workspace) empty(at int, name, below string, mode uint32) error {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	dir := os.NewFile(uintptr(fd), filepath.Join(w.Dir, below))
	defer dir.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size > maxSpareFolder || !ours(&st) || attributed(fd) {
		return errors.Join(errUnfit, err)
	}
	if uint32(st.Mode)&0o7777&^unix.S_ISGID != mode { // as inputs have, which are read-only
		if err := unix.Fchmod(fd, mode|uint32(st.Mode)&unix.S_ISGID); err != nil {
			return os.NewSyscallError("chmod", err)
		}
	}
	list, err := dir.ReadDir(-1)
	if err != nil || len(list) > maxSpareEntries {
		return errors.Join(errUnfit, err)
	}
	for _, e := range list {
		if err := w.emptyEntry(fd, below, e); err != nil {
			return err
		}
	}
	return nil
}

func (w *Workspace) emptyEntry(dir int, below string, e fs.DirEntry) error {
	name := below + e.Name()
	switch {
	case e.IsDir() && slices.Contains(w.layout, name+"/"):
		return w.empty(dir, e.Name(), name+"/", 0o755)
	case e.IsDir():
		return removeTree(filepath.Join(w.Dir, name))
	case e.Type().IsRegular() && slices.Contains(w.layout, name):
		return blank(dir, e.Name(), e.Name())
	case e.Type().IsRegular() && slices.Contains(w.layout, name+partSuffix): // written by a rename, and so it will be again
		return blank(dir, e.Name(), e.Name()+partSuffix)
	}
	return os.NewSyscallError("unlink", unix.Unlinkat(dir, e.Name(), 0))
}

// partSuffix ends the name under which a file is written that gets its own by a rename.
const partSuffix = ".part"

// blank makes a file of a folder empty and gives it its name in the layout. One that is not as it was made is removed.
func blank(dir int, name, to string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return os.NewSyscallError("stat", err)
	}
	plain := st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o7777&^0o044 == 0o600
	if !plain || st.Nlink != 1 || st.Size > maxSpareFile || !ours(&st) {
		return os.NewSyscallError("unlink", unix.Unlinkat(dir, name, 0))
	}
	if st.Size > 0 {
		fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Close(fd)
		}
		if err != nil {
			return os.NewSyscallError("truncate", err)
		}
	}
	if name == to {
		return nil
	}
	return os.NewSyscallError("rename", unix.Renameat(dir, name, dir, to))
}

func ours(st *unix.Stat_t) bool { return int(st.Uid) == os.Geteuid() }

// attributed: a folder has attributes that not the kernel has given it, an access list for one, which what is made in it would inherit.
func attributed(folder int) bool {
	names := make([]byte, 1<<10)
	n, err := unix.Flistxattr(folder, names)
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
