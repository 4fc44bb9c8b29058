package reading

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Readings are what was read, to be kept. Variables' values are not in them, only digests.
type Readings struct {
	Files     []File // by path
	Kinds     []Kind
	Folders   []Folder
	Variables []Variable
}

// File is the reading of a path, where it is among those of files.
func (r *Readings) File(path string) (File, bool) {
	i, ok := slices.BinarySearchFunc(r.Files, path, func(f File, path string) int { return strings.Compare(f.Path, path) })
	if !ok {
		return File{}, false
	}
	return r.Files[i], true
}

// File is a regular file as it was read. A Young one had been written to so shortly before that its times do not tell
// whether it was written to since.
type File struct {
	Path   string
	Look   look
	Digest artifacts.Digest
	Young  bool
}

// Kind is what stands at a path.
type Kind struct{ Path, Kind string }

// Folder is one, with a digest of the names and the types of what is in it.
type Folder File

// Variable is one of the environment, or all whose names begin as Name does, up to its star.
type Variable struct {
	Name  string
	Set   bool
	Value artifacts.Digest
}

// look is enough of a file's inode to see that it was written to. Times are Unix nanoseconds. Changed can be set by nobody.
type look struct {
	Size              int64
	Device, Inode     uint64
	Modified, Changed int64
	Mode              uint32
}

// racy: a file may be written to again within one tick of its time stamps, and look unchanged. Two seconds is the coarsest
// tick in use.
const racy = 2 * time.Second

func lookAt(path string) (look, error) { return lookIn(unix.AT_FDCWD, path) }

func lookIn(folder int, name string) (look, error) {
	var st unix.Stat_t
	for {
		err := unix.Fstatat(folder, name, &st, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return look{}, &fs.PathError{Op: "stat", Path: name, Err: err}
		}
		return look{st.Size, uint64(st.Dev), st.Ino, st.Mtim.Nano(), st.Ctim.Nano(), st.Mode}, nil
	}
}

// lookout keeps the last folder open, since files of one folder come one after the other, and a walk from the root costs more than
// the rest of a look.
type lookout struct {
	folder string
	fd     int // -1: none is open
}

func (o *lookout) lookAt(path string) (look, error) {
	folder, name := filepath.Split(path)
	if folder != o.folder {
		o.close()
		if fd, err := unix.Open(folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			o.folder, o.fd = folder, fd
		}
	}
	if o.fd < 0 {
		return lookAt(path)
	}
	return lookIn(o.fd, name)
}

func (o *lookout) close() {
	if o.fd >= 0 {
		_ = unix.Close(o.fd)
	}
	o.folder, o.fd = "", -1
}

// young compares with the time at which reading began; a clock that was set back makes all young.
func (l look) young(began time.Time) bool {
	return began.Sub(time.Unix(0, max(l.Modified, l.Changed))) < racy
}

const absent = "absent"

// kindOf tells what plans tell apart.
func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "folder"
	case m.IsRegular() && m&0o111 != 0:
		return "program"
	case m.IsRegular():
		return "file"
	}
	return "other"
}

// missing also says of a path that leads through a file that nothing is there.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

func listing(list []fs.DirEntry) artifacts.Digest {
	var text []byte
	for _, e := range list {
		text = fmt.Appendf(text, "%s\x00%o\n", e.Name(), e.Type())
	}
	return artifacts.Sum(text)
}
