package mem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Bucket implements artifacts.Objects. It is as strict as the strictest server: a name cannot be an object and a folder at once,
// bytes must be those that their digest says, and the same bytes written again are another version.
//
// Fault and Clock are set before anyone uses it.
type Bucket struct {
	// Fault is asked before each operation, with "read", "write", "walk" or "remove"; its error is what the caller gets, and
	// nothing is changed. It is called by many at once.
	Fault func(op, name string) error
	// Clock is the server's; nil is this machine's.
	Clock func() time.Time

	mu      sync.RWMutex
	objects map[string]object
	folders map[string]int // how many objects lie in each, at any depth
	writes  int
}

type object struct {
	bytes    []byte // never changed in place
	version  artifacts.Version
	modified time.Time
}

// NewBucket is an empty one.
func NewBucket() *Bucket {
	return &Bucket{objects: make(map[string]object), folders: make(map[string]int)}
}

func (b *Bucket) now() time.Time {
	if b.Clock != nil {
		return b.Clock()
	}
	return time.Now()
}

func (b *Bucket) begin(ctx context.Context, op, name string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if b.Fault != nil {
		return b.Fault(op, name)
	}
	return nil
}

func (b *Bucket) describe(name string, o object) artifacts.Object {
	return artifacts.Object{Name: name, Size: int64(len(o.bytes)), Version: o.version, Modified: o.modified, Now: b.now()}
}

// Read gives bytes as they are at this moment, also if the object is replaced while they are read.
func (b *Bucket) Read(ctx context.Context, name string, off, n int64) (io.ReadCloser, artifacts.Object, error) {
	if err := artifacts.CheckPath(name); err != nil {
		return nil, artifacts.Object{}, err
	}
	if err := b.begin(ctx, "read", name); err != nil {
		return nil, artifacts.Object{}, err
	}
	b.mu.RLock()
	o, ok := b.objects[name]
	b.mu.RUnlock()
	if !ok {
		return nil, artifacts.Object{}, fmt.Errorf("%s: %w", name, artifacts.ErrMissing)
	}
	size := int64(len(o.bytes))
	switch {
	case n == 0:
		off = 0
	case off < 0 || off > size:
		return nil, artifacts.Object{}, fmt.Errorf("%s: offset %d is outside of its %d bytes", name, off, size)
	case n < 0 || n > size-off:
		n = size - off
	}
	return io.NopCloser(bytes.NewReader(o.bytes[off : off+n])), b.describe(name, o), nil
}

// Write replaces the whole object.
func (b *Bucket) Write(ctx context.Context, name string, body artifacts.Body, old *artifacts.Version) (artifacts.Object, error) {
	if err := artifacts.CheckPath(name); err != nil {
		return artifacts.Object{}, err
	}
	if err := b.begin(ctx, "write", name); err != nil {
		return artifacts.Object{}, err
	}
	if _, err := body.Bytes.Seek(0, io.SeekStart); err != nil {
		return artifacts.Object{}, fmt.Errorf("writing %s: %w", name, err)
	}
	val, err := io.ReadAll(io.LimitReader(body.Bytes, body.Size+1))
	if err != nil {
		return artifacts.Object{}, fmt.Errorf("writing %s: %w", name, err)
	}
	if int64(len(val)) != body.Size || artifacts.Sum(val) != body.Digest {
		return artifacts.Object{}, fmt.Errorf("writing %s: %w", name, artifacts.ErrDamaged)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.fits(name); err != nil {
		return artifacts.Object{}, err
	}
	have, replaced := b.objects[name]
	if old != nil && have.version != *old {
		return artifacts.Object{}, fmt.Errorf("%s: %w", name, artifacts.ErrConflict)
	}
	if !replaced {
		b.count(name, 1)
	}
	b.writes++
	o := object{val, artifacts.Version(strconv.Itoa(b.writes)), b.now()}
	b.objects[name] = o
	return b.describe(name, o), nil
}

// fits refuses a name that is a folder, or lies below an object.
func (b *Bucket) fits(name string) error {
	if b.folders[name] > 0 {
		return fmt.Errorf("%s cannot be written: it is a folder", name)
	}
	for folder := range foldersOf(name) {
		if _, ok := b.objects[folder]; ok {
			return fmt.Errorf("%s cannot be written: %s is an object", name, folder)
		}
	}
	return nil
}

func (b *Bucket) count(name string, by int) {
	for folder := range foldersOf(name) {
		b.folders[folder] += by
	}
}

func foldersOf(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i, c := range []byte(name) {
			if c == '/' && !yield(name[:i]) {
				return
			}
		}
	}
}

// Walk gives the names that are there when it begins.
func (b *Bucket) Walk(ctx context.Context, prefix, after string) iter.Seq2[artifacts.Object, error] {
	return func(yield func(artifacts.Object, error) bool) {
		if err := b.begin(ctx, "walk", prefix); err != nil {
			yield(artifacts.Object{}, err)
			return
		}
		b.mu.RLock()
		all := maps.Clone(b.objects)
		b.mu.RUnlock()
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if ctx.Err() != nil {
				yield(artifacts.Object{}, context.Cause(ctx))
				return
			}
			if strings.HasPrefix(name, prefix) && name > after && !yield(b.describe(name, all[name]), nil) {
				return
			}
		}
	}
}

// Remove deletes one object.
func (b *Bucket) Remove(ctx context.Context, name string) error {
	if err := artifacts.CheckPath(name); err != nil {
		return err
	}
	if err := b.begin(ctx, "remove", name); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.objects[name]; ok {
		b.count(name, -1)
		delete(b.objects, name)
	}
	return nil
}
