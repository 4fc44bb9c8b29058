package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// ErrOutput: what a worker left cannot be stored. The fault is the worker's, not the cache's.
var ErrOutput = errors.New("output cannot be stored")

// unfit is an ErrOutput that says only why: whoever stores an output says what is being done.
type unfit struct{ error }

func (u unfit) Unwrap() error        { return u.error }
func (u unfit) Is(target error) bool { return target == ErrOutput }

func unfitFor(format string, args ...any) error { return unfit{fmt.Errorf(format, args...)} }

var errStillWritten = unfitFor("something still writes to it after the worker ended")

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
	if err := s.nameBlobs(ctx, blobs); err != nil {
		return nil, err // whoever takes over the workspace puts it back
	}
	artifacts.Reached(artifacts.StepAdoptKept)
	if !out.workspace {
		return m, out.forget()
	}
	return m, nil
}

func (o *taken) hash(ctx context.Context, typ string, labels map[string]string) (*artifacts.Manifest, []adopted, error) {
	root, err := os.OpenRoot(o.tree())
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	t := tree{root: root}
	if err := t.start(o.base); err != nil {
		return nil, nil, err
	}
	m, err := t.manifest()
	if err != nil {
		return nil, nil, err
	}
	m.Type, m.Labels = typ, labels
	blobs, err := o.hashAll(ctx, &t)
	if err != nil {
		return nil, nil, err
	}
	for i, e := range t.entries {
		m.Files[i].Blob = blobs[t.index[e.inode]].Blob
	}
	return m, blobs, nil
}

// adopted is a file that is hashed and on stable storage, still under a temporary name.
type adopted struct {
	artifacts.Blob
	inode // none of a copy
	path  string
	mode  fs.FileMode // of the file as its worker left it
}

// hashAll makes the files durable and reads each once, the processors side by side. Whatever is written to a sealed file
// moves its time. So many files can be flushed together before they are read: what is read is on the disk if no time has moved.
func (o *taken) hashAll(ctx context.Context, t *tree) ([]adopted, error) {
	together := false
	if len(t.files) >= manyFiles {
		var err error
		if together, err = flushTogether(o.home); err != nil {
			return nil, err
		}
	}
	all := make([]adopted, len(t.files))
	progress := meterOf(ctx, "hashing", int64(len(t.files)), t.size())
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range t.files {
		g.Go(func() error {
			var err error
			if all[i], err = o.hashOne(ctx, f, together, progress); err != nil {
				return fmt.Errorf("%s: %w", f.path, err)
			}
			progress.add(1, "files")
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return all, nil
}

// hashOne reads a file once. One with a second name may still be within the worker's reach under it, or be a blob that
// was linked into an input, so its bytes are copied in the same read.
func (o *taken) hashOne(ctx context.Context, file file, durable bool, progress *meter) (adopted, error) {
	path := filepath.Join(o.tree(), filepath.FromSlash(file.path))
	if file.mode&0o400 == 0 {
		// The other bits stay until the file is a blob: a tree that is put back must still tell programs from files.
		if err := os.Chmod(path, file.mode|0o400); err != nil {
			return adopted{}, err
		}
	}
	f, err := openOnce(path)
	if err != nil {
		return adopted{}, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return adopted{}, err
	}
	if !before.Mode().IsRegular() || file.sealed && !before.ModTime().Equal(sealed) {
		return adopted{}, errStillWritten
	}
	out := adopted{inode: file.inode, path: path, mode: file.mode}
	out.MediaType = artifacts.FileMediaType
	if links(before) > 1 || !file.sealed {
		out.inode = inode{}
		out.path, out.Digest, out.Size, err = o.copyDurably(ctx, f, before.Size())
		progress.add(out.Size, "bytes")
	} else {
		out.Digest, out.Size, err = sumDurably(ctx, f, before.Size(), durable, progress)
	}
	if err != nil {
		return adopted{}, err
	}
	after, err := f.Stat()
	if err != nil {
		return adopted{}, err
	}
	if out.Size != before.Size() || after.Size() != out.Size || !after.ModTime().Equal(before.ModTime()) {
		return adopted{}, errStillWritten
	}
	return out, nil
}

func (o *taken) copyDurably(ctx context.Context, f *os.File, size int64) (path string, d artifacts.Digest, n int64, err error) {
	own, err := os.CreateTemp(o.home, "copy")
	if err != nil {
		return "", d, 0, err
	}
	d, n, err = copySum(ctx, own, f, size)
	err = errors.Join(err, sealAt(unix.AT_FDCWD, own.Name()))
	if err == nil {
		err = own.Sync()
	}
	return own.Name(), d, n, errors.Join(err, own.Close())
}

// sumDurably flushes a file too, unless it is durable but for what the disk could not write.
func sumDurably(ctx context.Context, f *os.File, size int64, durable bool, progress *meter) (d artifacts.Digest, n int64, err error) {
	if durable {
		if d, n, err = sum(ctx, progress.reader(f), size); err == nil {
			err = flushed(f)
		}
		return d, n, err
	}
	wait := flushAhead(f, size)
	d, n, err = sum(ctx, progress.reader(f), size)
	wait()
	if err == nil {
		err = f.Sync()
	}
	return d, n, err
}

// flushAhead has the disk write a large file while that is hashed. It makes nothing durable.
func flushAhead(f *os.File, size int64) (wait func()) {
	const large = 4 << 20
	if size < large {
		return func() {}
	}
	var started sync.WaitGroup
	started.Go(func() { startFlush(int(f.Fd())) })
	return started.Wait
}

// nameBlobs gives each file its digest as name. A damaged blob of that name is replaced by it.
func (s *Store) nameBlobs(ctx context.Context, blobs []adopted) error {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, b := range blobs {
		// This needs no fsync, nor did the time: without them the blob is hashed again before it is used.
		g.Go(func() error { return os.Chmod(b.path, 0o444) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	progress := meterOf(ctx, "storing", int64(len(blobs)), 0)
	// One after the other: the kernel lets nobody else move files between folders meanwhile.
	for i, b := range blobs {
		if err := unix.Rename(b.path, s.dir+"/"+blobName(b.Digest)); err != nil {
			return fmt.Errorf("naming blob %s: %w", b.Digest.Short(), err)
		}
		if b.inode != (inode{}) {
			s.hashed.Store(b.Digest, b.inode)
		}
		progress.add(1, "files")
		if i == 0 {
			artifacts.Reached(artifacts.StepAdoptNamed)
		}
	}
	return s.syncDir(blobsDir)
}
