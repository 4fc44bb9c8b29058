package reading

import (
	"bytes"
	"cmp"
	"encoding/hex"
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
	"github.com/Ruihan11/tiny-infra/artifacts/glance"
)

// Readings are what was read, to be kept. Variables' values are not in them, only digests.
type Readings struct {
	Files     []File // folder by folder
	Kinds     []Kind
	Folders   []Folder
	Variables []Variable
}

// In gives the readings of the files of one folder that are named by digests, in the order of these. The folder ends with a slash.
func (r *Readings) In(folder string) []File {
	first := File{Folder: folder}
	from, _ := slices.BinarySearchFunc(r.Files, &first, func(f File, want *File) int { return f.compare(want) })
	n := 0
	for from+n < len(r.Files) && r.Files[from+n].Folder == folder && r.Files[from+n].Name == "" {
		n++
	}
	return r.Files[from : from+n]
}

// Named finds the file of a digest among those of a folder, as In gives them; -1 where it was not read.
func Named(in []File, d artifacts.Digest) int {
	i, ok := slices.BinarySearchFunc(in, d, func(f File, d artifacts.Digest) int { return bytes.Compare(f.Hex[:], d[:]) })
	if !ok {
		return -1
	}
	return i
}

// Add adds readings of files, which are in the order of all, to those that are there. ok is false where a file was read another way
// before.
func (r *Readings) Add(more []File) (ok bool) {
	all := make([]File, 0, len(r.Files)+len(more))
	for i, j := 0, 0; i < len(r.Files) || j < len(more); {
		order := 1
		switch {
		case j == len(more):
			order = -1
		case i < len(r.Files):
			order = r.Files[i].compare(&more[j])
		}
		if order == 0 && !r.Files[i].Says(more[j].sight) {
			return false
		}
		if order <= 0 {
			all = append(all, r.Files[i])
			i++
		} else {
			all = append(all, more[j])
		}
		if order >= 0 {
			j++
		}
	}
	r.Files = all
	return true
}

// File is a regular file as it was read.
type File struct {
	Folder string           // where it is, with a slash at its end
	Name   string           // "": the digits of Hex
	Hex    artifacts.Digest // half as long as a text, and there are thousands
	sight
}

func fileAt(path string, seen sight) File {
	folder, name := filepath.Split(path)
	if d, err := artifacts.ParseHex(name); err == nil {
		return File{Folder: folder, Hex: d, sight: seen}
	}
	return File{Folder: folder, Name: name, sight: seen}
}

func (f *File) path() string {
	if f.Name == "" {
		return f.Folder + f.Hex.Hex()
	}
	return f.Folder + f.Name
}

func (f *File) compare(g *File) int {
	return cmp.Or(strings.Compare(f.Folder, g.Folder), strings.Compare(f.Name, g.Name), bytes.Compare(f.Hex[:], g.Hex[:]))
}

// sight is what was seen of a file, or of a folder: there the digest is that of the names and the types of what is in it. A Young one
// had been written to so shortly before it was read that its times do not tell whether it was written to since.
type sight struct {
	Look   look
	Digest artifacts.Digest
	Young  bool
}

// Kind is what stands at a path.
type Kind struct{ Path, Kind string }

// Folder is one as it was listed.
type Folder struct {
	Path string
	sight
}

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

func lookAt(path string) (look, error) {
	var st unix.Stat_t
	for {
		switch err := unix.Stat(path, &st); err {
		case nil:
			return lookOf(&st), nil
		case unix.EINTR:
		default:
			return look{}, &fs.PathError{Op: "stat", Path: path, Err: err}
		}
	}
}

func lookOf(st *unix.Stat_t) look {
	return look{st.Size, uint64(st.Dev), st.Ino, st.Mtim.Nano(), st.Ctim.Nano(), uint32(st.Mode)}
}

// lookout keeps the last folder open, since files of one folder come one after the other, and a walk from the root costs more than
// the rest of a look.
type lookout struct {
	folder string
	fd     int // -1: none is open
	room   [glance.Room]byte
	stat   unix.Stat_t
}

func (o *lookout) lookAt(f *File) (look, error) {
	if f.Folder != o.folder {
		o.close()
		if fd, err := unix.Open(f.Folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			o.folder, o.fd = f.Folder, fd
		}
	}
	name, ok := f.name(&o.room)
	if o.fd < 0 || !ok {
		return lookAt(f.path())
	}
	if err := glance.At(o.fd, name, 0, &o.stat); err != nil {
		return look{}, &fs.PathError{Op: "stat", Path: f.path(), Err: err}
	}
	return lookOf(&o.stat), nil
}

func (f *File) name(room *[glance.Room]byte) (_ []byte, ok bool) {
	if f.Name != "" {
		return glance.Name(room, f.Name)
	}
	n := hex.Encode(room[:], f.Hex[:])
	room[n] = 0
	return room[:n+1], true
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
