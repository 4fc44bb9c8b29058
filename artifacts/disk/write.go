package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

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
	for _, f := range m.Files {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := w.file(ctx, f); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return nil
}

func (w *writer) file(ctx context.Context, f artifacts.File) error {
	n, err := w.s.Stat(ctx, f.Digest)
	if err != nil {
		return err
	}
	if n != f.Size {
		return fmt.Errorf("%w: the blob has %d bytes instead of %d", artifacts.ErrDamaged, n, f.Size)
	}
	if err := w.s.sound(ctx, f.Digest); err != nil {
		return err
	}
	if parent := path.Dir(f.Path); parent != "." {
		if err := w.root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	linked := w.input && !f.Exec
	// Whether the cache's file system can reflink is asked once; a folder outside of it may differ.
	if !linked || !w.s.noReflink.Load() {
		done, err := w.fill(f, reflink)
		if done || errors.Is(err, fs.ErrExist) || errors.Is(err, artifacts.ErrMissing) {
			return err
		}
		w.s.noReflink.Store(w.s.noReflink.Load() || linked)
	}
	if linked {
		if done, err := w.hardLink(f); done || err != nil {
			return err
		}
	}
	_, err = w.fill(f, func(dst, src *os.File) error {
		d, n, err := artifacts.SumReader(io.TeeReader(cancelReader{ctx, src}, dst))
		if err == nil && (d != f.Digest || n != f.Size) {
			err = fmt.Errorf("%w: blob %s holds other bytes", artifacts.ErrDamaged, f.Digest.Short())
		}
		return err
	})
	return err
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
	err = w.s.root.Link(blobName(f.Digest), rel)
	if errors.Is(err, fs.ErrExist) {
		return false, err
	}
	return err == nil, nil // too many links, or not allowed here: a copy does as well
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
