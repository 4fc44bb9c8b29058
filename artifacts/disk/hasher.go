package disk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Hasher knows the digests of people's own files. What it has hashed it remembers in the cache folder with each file's
// size, inode and times, and does not read again while these stay as they were.
// What it learns it writes down when Keep is called. It is safe for concurrent use.
type Hasher struct {
	s       *Store
	now     func() time.Time
	reading chan struct{} // as many as there are processors to hash

	mu       sync.Mutex // guards what follows
	memories map[string]*memory
}

// Files is the Hasher of local files.
func (s *Store) Files() *Hasher {
	return &Hasher{s: s, now: time.Now, reading: make(chan struct{}, runtime.GOMAXPROCS(0)), memories: map[string]*memory{}}
}

// seen is what is remembered of a file. Times are Unix nanoseconds.
type seen struct {
	Size   int64            `json:"size"`
	Dev    uint64           `json:"dev"`
	Ino    uint64           `json:"ino"`
	Mtime  int64            `json:"mtime"`
	Ctime  int64            `json:"ctime"`
	Digest artifacts.Digest `json:"digest"`
}

// memory is the file hash/<digest of the folder's path>: a line with the digest of the rest, and JSON.
type memory struct {
	Format int             `json:"format"`
	Dir    string          `json:"dir"`
	Files  map[string]seen `json:"files"`

	learnt bool // something that is not written down yet
}

// racy: a file may be written to again within one tick of its time stamps, and look unchanged. So a digest is
// remembered only if the file was that old already when it was hashed. Two seconds is the coarsest tick in use.
const racy = 2 * time.Second

func look(fi fs.FileInfo) seen {
	id := inodeOf(fi)
	return seen{Size: fi.Size(), Dev: id.dev, Ino: id.ino, Mtime: fi.ModTime().UnixNano(), Ctime: changeTime(fi)}
}

// Manifest lists the files of dir that paths name, relative to it and with slashes. Nothing is stored.
func (h *Hasher) Manifest(ctx context.Context, dir string, paths []string) (*artifacts.Manifest, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("hashing files: %w", err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fmt.Errorf("hashing files: %w", err)
	}
	defer root.Close()
	mem := h.memoryOf(abs)
	m := &artifacts.Manifest{Type: "files", Files: make([]artifacts.File, len(paths))}
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(cap(h.reading))
	for i, p := range paths {
		g.Go(func() (err error) {
			m.Files[i], err = h.file(each, root, p, mem)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("hashing files: %w", err)
	}
	artifacts.SortFiles(m.Files)
	if err := artifacts.CheckFiles(m.Files); err != nil {
		return nil, fmt.Errorf("hashing files: %w", err)
	}
	return m, nil
}

func (h *Hasher) file(ctx context.Context, root *os.Root, p string, mem *memory) (artifacts.File, error) {
	if err := artifacts.CheckPath(p); err != nil {
		return artifacts.File{}, err
	}
	h.mu.Lock()
	old := mem.Files[p]
	h.mu.Unlock()
	f, now, fresh, err := h.hashLocal(ctx, root, p, old)
	if err != nil || !fresh {
		return f, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	_, had := mem.Files[p]
	delete(mem.Files, p)
	if now != nil {
		mem.Files[p] = *now
	}
	mem.learnt = mem.learnt || had || now != nil
	return f, nil
}

// memoryOf reads a folder's memory once: a recipe may name a thousand files of it one by one.
func (h *Hasher) memoryOf(abs string) *memory {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m := h.memories[abs]; m != nil {
		return m
	}
	m := h.recall(abs)
	if m.Files == nil {
		m = memory{Format: Format, Dir: abs, Files: map[string]seen{}}
	}
	h.memories[abs] = &m
	return &m
}

// Keep writes down what was learnt.
func (h *Hasher) Keep() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.memories {
		if m.learnt {
			h.remember(*m)
			m.learnt = false
		}
	}
}

// hashLocal reads a file unless it looks as it did when old was written down. fresh tells that it was read; now is
// what may be remembered then, if anything.
func (h *Hasher) hashLocal(ctx context.Context, root *os.Root, p string, old seen) (f artifacts.File, now *seen, fresh bool, err error) {
	// Opening a named pipe would wait for its other end.
	in, err := root.OpenFile(filepath.FromSlash(p), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return f, nil, false, err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return f, nil, false, err
	}
	if !fi.Mode().IsRegular() {
		return f, nil, false, fmt.Errorf("%s is not a regular file", p)
	}
	f = artifacts.File{Path: p, Exec: fi.Mode()&0o111 != 0, Blob: artifacts.Blob{MediaType: artifacts.FileMediaType, Size: fi.Size()}}
	before := look(fi)
	if old.Digest != (artifacts.Digest{}) {
		before.Digest = old.Digest
		if before == old {
			f.Digest = old.Digest
			return f, nil, false, nil
		}
	}
	select {
	case h.reading <- struct{}{}:
		defer func() { <-h.reading }()
	case <-ctx.Done():
		return f, nil, false, context.Cause(ctx)
	}
	start := h.now()
	d, n, err := sum(ctx, in, fi.Size()+1)
	if err != nil {
		return f, nil, false, fmt.Errorf("%s: %w", p, err)
	}
	after, err := in.Stat()
	if err != nil {
		return f, nil, false, err
	}
	f.Digest, before.Digest = d, d
	stat := look(after)
	stat.Digest = d
	if n != fi.Size() || stat != before {
		return f, nil, false, fmt.Errorf("%s changed while it was read; build again once it is complete", p)
	}
	newest := time.Unix(0, max(before.Mtime, before.Ctime))
	if start.Sub(newest) < racy {
		return f, nil, true, nil
	}
	return f, &before, true, nil
}

// Import stores the bytes of m's files, which were hashed in dir.
func (h *Hasher) Import(ctx context.Context, m *artifacts.Manifest, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("storing files: %w", err)
	}
	defer root.Close()
	names := make([]artifacts.Digest, 0, len(m.Files))
	for _, f := range m.Files {
		names = append(names, f.Digest)
	}
	if err := h.s.Hold(ctx, names...); err != nil {
		return fmt.Errorf("storing files: %w", err)
	}
	for _, f := range m.Files {
		if n, err := h.s.Stat(ctx, f.Digest); err == nil && n == f.Size {
			continue
		}
		in, err := root.Open(filepath.FromSlash(f.Path))
		if err != nil {
			return fmt.Errorf("storing files: %w", err)
		}
		err = errors.Join(h.s.Put(ctx, f.Blob, in), in.Close())
		if errors.Is(err, artifacts.ErrDamaged) {
			return fmt.Errorf("storing files: %s changed since the plan was made; build again: %w", f.Path, err)
		}
		if err != nil {
			return fmt.Errorf("storing %s: %w", f.Path, err)
		}
	}
	return nil
}

func memoryName(abs string) string {
	return hashDir + "/" + artifacts.Sum([]byte(abs)).Hex()
}

// recall gives nothing where the file is missing, broken or another's: that costs time and no correctness.
func (h *Hasher) recall(abs string) memory {
	b, err := h.s.root.ReadFile(memoryName(abs))
	if err != nil {
		return memory{}
	}
	sum, text, _ := bytes.Cut(b, []byte("\n"))
	var m memory
	if string(sum) != artifacts.Sum(text).String() || json.Unmarshal(text, &m) != nil || m.Format != Format || m.Dir != abs {
		return memory{}
	}
	return m
}

// remember may fail, on a full disk for one, and then the files are hashed again next time.
func (h *Hasher) remember(m memory) {
	b, err := json.Marshal(m)
	if err != nil {
		return
	}
	tmp, err := h.s.writeTemp(append([]byte(artifacts.Sum(b).String()+"\n"), b...), 0o644)
	if err != nil {
		return
	}
	_ = h.s.rename(tmp, memoryName(m.Dir))
}
