package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Extract writes copies of the manifest's files into dir, for people to keep: by reflink where the file system can,
// never as links of the blobs. A file that is there already is not overwritten.
func (s *Store) Extract(ctx context.Context, m *artifacts.Manifest, dir string) error {
	w := writer{s: s}
	if err := w.write(ctx, m, dir); err != nil {
		return fmt.Errorf("extracting to %s: %w", dir, err)
	}
	return nil
}

// writer lays a manifest's files out below a folder.
type writer struct {
	s     *Store
	input bool // inputs of a stage: hard links allowed, read-only, sealed
	dir   string
	root  *os.Root // of dir

	noReflink atomic.Bool // to this folder
}

func (w *writer) write(ctx context.Context, m *artifacts.Manifest, dir string) error {
	if err := artifacts.CheckFiles(m.Files); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	w.dir, w.root = dir, root
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, f := range m.Files {
		g.Go(func() error {
			if each.Err() != nil {
				return context.Cause(each)
			}
			if err := w.file(each, f); err != nil {
				return fmt.Errorf("%s: %w", f.Path, err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (w *writer) file(ctx context.Context, f artifacts.File) error {
	n, err := w.s.Stat(ctx, f.Digest)
	if err != nil {
		return err
	}
	if n != f.Size {
		return fmt.Errorf("%w: the blob has %d bytes instead of %d", artifacts.ErrDamaged, n, f.Size)
	}
	if parent := path.Dir(f.Path); parent != "." {
		if err := w.root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	linked := w.input && !f.Exec
	if done, err := w.share(ctx, f, linked); done || err != nil {
		return err
	}
	if linked {
		if err := w.s.sound(ctx, f.Digest); err != nil {
			return err
		}
		if done, err := w.hardLink(f); done || err != nil {
			return err
		}
	}
	_, err = w.fill(f, func(dst, src *os.File) error { return w.s.copySound(ctx, dst, src, f.Blob) })
	return err
}

// share makes the file by reflink. Whether the cache's file system has that is asked once in the life of the Store; a folder
// outside of it may differ, and is asked once for all files.
func (w *writer) share(ctx context.Context, f artifacts.File, linked bool) (done bool, err error) {
	if w.noReflink.Load() || linked && w.s.noReflink.Load() {
		return false, nil
	}
	shared := false
	done, err = w.fill(f, func(dst, src *os.File) error {
		if err := reflink(dst, src); err != nil {
			return err
		}
		shared = true
		return w.s.sound(ctx, f.Digest)
	})
	if done || shared || errors.Is(err, fs.ErrExist) || errors.Is(err, artifacts.ErrMissing) {
		return done, err
	}
	w.noReflink.Store(true)
	if linked {
		w.s.noReflink.Store(true)
	}
	return false, nil
}

// hardLink links within the cache folder only, where os.Root holds both ends.
func (w *writer) hardLink(f artifacts.File) (done bool, err error) {
	abs, err := filepath.Abs(filepath.Join(w.dir, filepath.FromSlash(f.Path)))
	if err != nil {
		return false, err
	}
	rel, err := filepath.Rel(w.s.dir, abs)
	if err != nil || !filepath.IsLocal(rel) {
		return false, nil
	}
	link := func() error { return w.s.root.Link(blobName(f.Digest), rel) }
	if f.Size >= w.s.moves.least {
		err = w.s.linkStep(f.Digest, link)
	} else {
		err = link()
	}
	if errors.Is(err, fs.ErrExist) {
		return false, err
	}
	return err == nil, nil // too many links, or not allowed here: a copy does as well
}

// linkStep links a large blob, so that stages which read it already know why its time of change has moved.
func (s *Store) linkStep(d artifacts.Digest, link func() error) error {
	blob, err := s.root.Open(blobName(d))
	if err != nil {
		return err
	}
	return errors.Join(s.moves.step(blob, link), blob.Close())
}

// fill makes the file and lets content write it; where that fails nothing is left.
func (w *writer) fill(f artifacts.File, content func(dst, src *os.File) error) (done bool, err error) {
	src, err := w.s.root.Open(blobName(f.Digest))
	if err != nil {
		return false, missing(err)
	}
	defer src.Close()
	dst, err := w.root.OpenFile(f.Path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false, err
	}
	mode := fs.FileMode(0o644)
	if w.input {
		mode = 0o444
	}
	if f.Exec {
		mode |= 0o111
	}
	if err := errors.Join(content(dst, src), dst.Chmod(mode), dst.Close()); err != nil {
		return false, errors.Join(err, w.root.Remove(f.Path))
	}
	if w.input {
		return true, w.root.Chtimes(f.Path, sealed, sealed)
	}
	return true, nil
}
