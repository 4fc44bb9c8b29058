package shared_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
)

// onDisk is a world whose packs are files, so that the memory that is measured is not the bucket's. At each request the heap is looked at.
type onDisk struct {
	*world
	dir string

	mu   sync.Mutex
	peak uint64
}

func (o *onDisk) look() {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.peak = max(o.peak, sample[0].Value.Uint64())
}

func (o *onDisk) path(name string) (string, bool) {
	hex, ok := strings.CutPrefix(name, "packs/")
	return filepath.Join(o.dir, hex), ok
}

func (o *onDisk) Write(ctx context.Context, name string, b artifacts.Body, old *artifacts.Version) (artifacts.Object, error) {
	o.look()
	path, ok := o.path(name)
	if !ok {
		return o.world.Write(ctx, name, b, old)
	}
	f, err := os.Create(path)
	if err != nil {
		return artifacts.Object{}, err
	}
	defer f.Close()
	_, err = io.Copy(f, b.Bytes)
	return artifacts.Object{Name: name, Size: b.Size}, err
}

type section struct {
	io.Reader
	io.Closer
}

func (o *onDisk) Read(ctx context.Context, name string, off, n int64) (io.ReadCloser, artifacts.Object, error) {
	o.look()
	path, ok := o.path(name)
	if !ok {
		return o.world.Read(ctx, name, off, n)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = artifacts.ErrMissing
	}
	if err != nil {
		return nil, artifacts.Object{}, err
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, artifacts.Object{}, err
	}
	return section{io.NewSectionReader(f, off, n), f}, artifacts.Object{Name: name, Size: fi.Size()}, nil
}

// halfDull is noise of which half the bits are dull, without end.
type halfDull struct {
	r  *rand.ChaCha8
	at int
}

func (s *halfDull) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	for i := range p[:n] {
		if s.at++; s.at&(1<<14) == 0 {
			p[i] &= 0x0f
		}
	}
	return n, err
}

// TestMemoryStaysBounded: large files take no more memory than small ones, in either direction.
func TestMemoryStaysBounded(t *testing.T) {
	const (
		files = 3
		size  = 64 << 20
		limit = 200 << 20 // bytes of the heap, garbage and idle buffers of other tests included
	)
	ctx := context.Background()
	w := &onDisk{world: newWorld(t), dir: folder(t)}
	w.place = must[*bucket.Place](t)(bucket.Open(ctx, w, bucket.Settings{}))
	a := w.machine(t)
	made := a.make("x", "small=1")
	tree := &artifacts.Manifest{Type: "files"}
	for i := range files {
		seed := [32]byte{}
		binary.LittleEndian.PutUint32(seed[:], uint32(i))
		whole := func() io.Reader { return io.LimitReader(&halfDull{r: rand.NewChaCha8(seed)}, size) }
		d, _, err := artifacts.SumReader(whole())
		if err != nil {
			t.Fatal(err)
		}
		blob := artifacts.Blob{Digest: d, Size: size}
		if err := a.store.Put(ctx, blob, whole()); err != nil {
			t.Fatal(err)
		}
		tree.Files = append(tree.Files, artifacts.File{Path: fmt.Sprintf("%d.bin", i), Blob: blob})
	}
	rec := *made.rec
	rec.Outputs = map[string]artifacts.Digest{"out": must[artifacts.Digest](t)(a.cache.PutManifest(ctx, tree))}
	rec.Ended = rec.Ended.AddDate(0, 0, 1)
	raw, d, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	must[artifacts.Blob](t)(a.cache.PutBytes(ctx, artifacts.RecordMediaType, raw))

	defer debug.SetGCPercent(debug.SetGCPercent(50))
	runtime.GC()
	w.peak = 0
	a.mustShare(result{record: d})
	sharing := w.peak
	runtime.GC()
	w.peak = 0
	b := w.machine(t)
	if err := b.remote.Fetch(ctx, tree, nil); err != nil {
		t.Fatal(err)
	}
	t.Logf("at most %d MiB while sharing, %d MiB while fetching", sharing>>20, w.peak>>20)
	if sharing > limit || w.peak > limit {
		t.Errorf("%d bytes of heap while sharing, %d while fetching; %d at most", sharing, w.peak, limit)
	}
	for _, f := range tree.Files {
		if n, err := b.store.Stat(ctx, f.Digest); err != nil || n != size {
			t.Errorf("%s: %d bytes, %v", f.Path, n, err)
		}
	}
}
