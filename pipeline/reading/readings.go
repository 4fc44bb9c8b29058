package reading

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Readings are what was read, to be kept. Variables' values are not in them, only digests.
type Readings struct {
	Files     []File
	Kinds     []Kind
	Folders   []Folder
	Variables []Variable
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

// errChanged ends a comparison.
var errChanged = errors.New("changed")

// Same tells whether all would be read again as it was. learnt says that something had to be read for that, so r, which now
// has the new times, is worth keeping again. What cannot be looked at has changed.
func (r *Readings) Same(ctx context.Context) (same, learnt bool) {
	for _, v := range r.Variables {
		if variableOf(v.Name) != v {
			return false, false
		}
	}
	var again atomic.Bool
	work, ctx := errgroup.WithContext(ctx)
	n := runtime.GOMAXPROCS(0)
	for i := range n {
		work.Go(func() error {
			return r.part(ctx, i, n, &again)
		})
	}
	return work.Wait() == nil, again.Load()
}

// part compares every n-th reading, so that neighbours, large files of one folder for instance, are read at once.
func (r *Readings) part(ctx context.Context, first, n int, again *atomic.Bool) error {
	for i := first; i < len(r.Kinds); i += n {
		k := r.Kinds[i]
		switch now, err := os.Stat(k.Path); {
		case err != nil && !(missing(err) && k.Kind == absent):
			return errChanged
		case err == nil && kindOf(now.Mode()) != k.Kind:
			return errChanged
		}
	}
	for i := first; i < len(r.Folders); i += n {
		if !r.Folders[i].same(again) {
			return errChanged
		}
	}
	at := &lookout{fd: -1}
	defer at.close()
	for i := first; i < len(r.Files); i += n {
		if ctx.Err() != nil || !r.Files[i].same(ctx, at, again) {
			return errChanged
		}
	}
	return nil
}

func (f *Folder) same(again *atomic.Bool) bool {
	began := time.Now()
	now, err := lookAt(f.Path)
	if err != nil {
		return false
	}
	if now == f.Look && !f.Young {
		return true
	}
	list, err := os.ReadDir(f.Path)
	if err != nil || listing(list) != f.Digest {
		return false
	}
	again.Store(true)
	f.Look, f.Young = now, now.young(began)
	return true
}

func (f *File) same(ctx context.Context, at *lookout, again *atomic.Bool) bool {
	began := time.Now()
	now, err := at.lookAt(f.Path)
	switch {
	case err != nil || now.Mode != f.Look.Mode || now.Size != f.Look.Size:
		return false
	case now == f.Look && !f.Young:
		return true
	}
	if !sums(ctx, f.Path, f.Digest) {
		return false
	}
	again.Store(true)
	f.Look, f.Young = now, now.young(began)
	return true
}

func sums(ctx context.Context, path string, want artifacts.Digest) bool {
	in, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe in the file's place would wait for its other end
	if err != nil {
		return false
	}
	defer in.Close()
	if fi, err := in.Stat(); err != nil || !fi.Mode().IsRegular() {
		return false
	}
	d, _, err := artifacts.SumReader(stoppable{ctx, in})
	return err == nil && d == want
}

// stoppable reads until ctx ends: the other part has found a change, or a person waits no longer.
type stoppable struct {
	ctx context.Context
	in  *os.File
}

func (s stoppable) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.in.Read(p)
}
