package reading

import (
	"context"
	"errors"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Comparison is what became of readings since.
type Comparison struct {
	Changed map[string]bool // paths, and names of variables, that would not be read as they were; empty: all would
	Learnt  bool            // something had to be read for that, so the readings, which now have the new times, are worth keeping again
}

// Compare looks at all again, and reads what looks written to; but large files only as long as nothing has changed: beside a change they
// count as changed. So does what cannot be looked at. An error means that ctx has ended.
func (r *Readings) Compare(ctx context.Context) (Comparison, error) {
	n := runtime.GOMAXPROCS(0)
	seen := make([]sighting, n)
	var work errgroup.Group
	for i := range n {
		work.Go(func() error {
			seen[i] = r.look(ctx, i, n)
			return nil
		})
	}
	_ = work.Wait() // what cannot be looked at is in what was seen
	if ctx.Err() != nil {
		return Comparison{}, context.Cause(ctx)
	}
	c := Comparison{Changed: map[string]bool{}}
	var written []*File
	for _, v := range r.Variables {
		if variableOf(v.Name) != v {
			c.Changed[v.Name] = true
		}
	}
	for _, s := range seen {
		for _, path := range s.changed {
			c.Changed[path] = true
		}
		written = append(written, s.written...)
		c.Learnt = c.Learnt || s.learnt
	}
	c.Learnt = c.Learnt || len(written) > 0
	small, large := bySize(written)
	for _, f := range readAgain(ctx, small) {
		c.Changed[f.path()] = true
	}
	if len(c.Changed) == 0 {
		large = readAgain(ctx, large)
	}
	for _, f := range large {
		c.Changed[f.path()] = true
	}
	if ctx.Err() != nil {
		return Comparison{}, context.Cause(ctx)
	}
	return c, nil
}

// sighting is what one of those who look side by side has seen.
type sighting struct {
	changed []string
	written []*File // look written to, and may be the same
	learnt  bool
}

// look compares every n-th reading, so that neighbours, large files of one folder for instance, fall to all.
func (r *Readings) look(ctx context.Context, first, n int) (s sighting) {
	for i := first; i < len(r.Kinds); i += n {
		k := r.Kinds[i]
		now, err := os.Stat(k.Path)
		if err != nil && !(missing(err) && k.Kind == absent) || err == nil && kindOf(now.Mode()) != k.Kind {
			s.changed = append(s.changed, k.Path)
		}
	}
	for i := first; i < len(r.Folders); i += n {
		same, learnt := r.Folders[i].same()
		if s.learnt = s.learnt || learnt; !same {
			s.changed = append(s.changed, r.Folders[i].Path)
		}
	}
	at := &lookout{fd: -1}
	defer at.close()
	for i := first; i < len(r.Files) && ctx.Err() == nil; i += n {
		f := &r.Files[i]
		now, err := at.lookAt(f)
		switch {
		case err != nil || now.Mode != f.Look.Mode || now.Size != f.Look.Size:
			s.changed = append(s.changed, f.path())
		case now != f.Look || f.Young:
			s.written = append(s.written, f)
		}
	}
	return s
}

func (f *Folder) same() (same, learnt bool) {
	began := time.Now()
	now, err := lookAt(f.Path)
	if err != nil {
		return false, false
	}
	if now == f.Look && !f.Young {
		return true, false
	}
	list, err := os.ReadDir(f.Path)
	if err != nil || listing(list) != f.Digest {
		return false, false
	}
	f.Look, f.Young = now, now.young(began)
	return true, true
}

// maxSmall is what is read sooner than a plan would find out otherwise, in bytes.
const maxSmall = 1 << 20

func bySize(files []*File) (small, large []*File) {
	for _, f := range files {
		if f.Look.Size <= maxSmall {
			small = append(small, f)
		} else {
			large = append(large, f)
		}
	}
	return small, large
}

// errChanged ends the reading of large files.
var errChanged = errors.New("changed")

// readAgain gives the files whose bytes are not those that they were, or that were not read to the end since one of them is such.
func readAgain(ctx context.Context, files []*File) []*File {
	same := make([]bool, len(files))
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range files {
		work.Go(func() error {
			if same[i] = f.sums(ctx); !same[i] && f.Look.Size > maxSmall {
				return errChanged
			}
			return nil
		})
	}
	_ = work.Wait() // same tells
	left := files[:0:0]
	for i, f := range files {
		if !same[i] {
			left = append(left, f)
		}
	}
	return left
}

// sums reads a file, whose look it then takes over.
func (f *File) sums(ctx context.Context) bool {
	began := time.Now()
	now, err := lookAt(f.path())
	if err != nil || ctx.Err() != nil || !sums(ctx, f.path(), f.Digest) {
		return false
	}
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
