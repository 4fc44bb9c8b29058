package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// ErrOutput: what a worker left cannot be stored. The fault is the worker's, not the cache's.
var ErrOutput = errors.New("output cannot be stored")

// unfit is an ErrOutput that says only why: whoever stores an output says what is being done.
type unfit struct{ error }

func (u unfit) Unwrap() error        { return u.error }
func (u unfit) Is(target error) bool { return target == ErrOutput }

func unfitFor(format string, args ...any) error { return unfit{fmt.Errorf(format, args...)} }

// AdoptTree makes blobs of the files in dir, or of the one file that dir is, and gives the Manifest that lists them;
// the caller stores it. dir is moved out of its writer's reach before the first byte is read, and is gone afterwards. It
// must lie in the cache's file system, since nothing is copied. Where a file cannot be stored dir is put back. What was in a
// workspace is put back by whoever takes that over, too, until Noted says that the Manifest is kept.
func (s *Store) AdoptTree(ctx context.Context, dir, typ string, labels map[string]string) (*artifacts.Manifest, error) {
	m, err := s.adoptTree(ctx, dir, typ, labels)
	if err != nil {
		return nil, s.explain(err)
	}
	return m, nil
}

func (s *Store) adoptTree(ctx context.Context, dir, typ string, labels map[string]string) (*artifacts.Manifest, error) {
	out, err := s.take(dir)
	if err != nil {
		return nil, err
	}
	artifacts.Reached(artifacts.StepAdoptTaken)
	m, blobs, err := out.hash(ctx, typ, labels)
	if err != nil {
		return nil, errors.Join(err, out.putBack())
	}
	artifacts.Reached(artifacts.StepAdoptHashed)
	names := make([]artifacts.Digest, 0, len(blobs))
	for _, b := range blobs {
		names = append(names, b.Digest)
	}
	if err := errors.Join(s.Hold(ctx, names...), out.leave(blobs)); err != nil {
		return nil, errors.Join(err, out.putBack())
	}
	if err := s.nameBlobs(blobs); err != nil {
		return nil, err // whoever takes over the workspace puts it back
	}
	artifacts.Reached(artifacts.StepAdoptKept)
	if !out.workspace {
		return m, out.forget()
	}
	return m, nil
}

func (o *taken) hash(ctx context.Context, typ string, labels map[string]string) (*artifacts.Manifest, map[inode]adopted, error) {
	root, err := os.OpenRoot(o.tree())
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	t := tree{root: root, real: make(map[inode]string)}
	if err := t.start(o.base); err != nil {
		return nil, nil, err
	}
	m := &artifacts.Manifest{Type: typ, Files: t.manifestFiles(), Labels: labels}
	if err := artifacts.CheckFiles(m.Files); err != nil {
		return nil, nil, unfit{err}
	}
	blobs, err := o.hashAll(ctx, &t)
	if err != nil {
		return nil, nil, err
	}
	for i, e := range t.entries {
		m.Files[i].Blob = blobs[e.inode].Blob
	}
	return m, blobs, nil
}

// adopted is a file that is hashed and on stable storage, still under a temporary name.
type adopted struct {
	artifacts.Blob
	path string
	mode fs.FileMode // of the file as its worker left it
}

func (o *taken) hashAll(ctx context.Context, t *tree) (map[inode]adopted, error) {
	type result struct {
		inode
		adopted
	}
	results := make([]result, 0, len(t.real))
	for id, p := range t.real {
		results = append(results, result{id, adopted{path: p}})
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range results {
		g.Go(func() error {
			r := &results[i]
			a, err := o.hashOne(ctx, r.path)
			if err != nil {
				return fmt.Errorf("%s: %w", r.path, err)
			}
			r.adopted = a
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all := make(map[inode]adopted, len(results))
	for _, r := range results {
		all[r.inode] = r.adopted
	}
	return all, nil
}

// hashOne reads a file once. One with a second name may still be within the worker's reach under it, or be a blob that
// was linked into an input, so its bytes are copied in the same read.
func (o *taken) hashOne(ctx context.Context, rel string) (adopted, error) {
	path := filepath.Join(o.tree(), filepath.FromSlash(rel))
	fi, err := os.Lstat(path)
	if err != nil {
		return adopted{}, err
	}
	// The other bits stay until the file is a blob: a tree that is put back must still tell programs from files.
	if err := os.Chmod(path, fi.Mode().Perm()|0o400); err != nil {
		return adopted{}, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return adopted{}, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return adopted{}, err
	}
	h := sha256.New()
	out, own := io.Writer(h), f
	if links(before) > 1 {
		if own, err = os.CreateTemp(o.home, "copy"); err != nil {
			return adopted{}, err
		}
		defer own.Close()
		out, path = io.MultiWriter(h, own), own.Name()
	}
	n, err := io.Copy(out, cancelReader{ctx, f})
	if err != nil {
		return adopted{}, err
	}
	after, err := f.Stat()
	if err != nil {
		return adopted{}, err
	}
	if n != before.Size() || after.Size() != n || !after.ModTime().Equal(before.ModTime()) {
		return adopted{}, unfitFor("something still writes to it after the worker ended")
	}
	if err := own.Sync(); err != nil {
		return adopted{}, err
	}
	blob := artifacts.Blob{MediaType: artifacts.FileMediaType, Digest: artifacts.Digest(h.Sum(nil)), Size: n}
	return adopted{blob, path, fi.Mode().Perm()}, nil
}

// nameBlobs gives each file its digest as name. A damaged blob of that name is replaced by it.
func (s *Store) nameBlobs(blobs map[inode]adopted) error {
	first := true
	for _, b := range blobs {
		// These two need no fsync: without them the blob is hashed again before it is used.
		if err := errors.Join(os.Chmod(b.path, 0o444), os.Chtimes(b.path, sealed, sealed)); err != nil {
			return err
		}
		if err := os.Rename(b.path, filepath.Join(s.dir, blobName(b.Digest))); err != nil {
			return err
		}
		if first {
			artifacts.Reached(artifacts.StepAdoptNamed)
			first = false
		}
	}
	return s.syncDir(blobsDir)
}
