package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// maxRead is how many names an output may have, folders too, to be read into memory.
const maxRead = 16

// errTooMany ends a look at a tree that has more names than it was asked for.
var errTooMany = errors.New("too many files")

// ReadTree reads the files of dir, or the one file that dir is, and gives them with the Manifest that lists them; the caller
// stores both. No Manifest: they are too many, or more than so many bytes, and have to be adopted. Whoever wrote them
// may still reach dir, but not what was read; dir stays as it is, but for modes and times.
func (s *Store) ReadTree(ctx context.Context, dir, typ string, labels map[string]string, most int64) (*artifacts.Manifest, []artifacts.Payload, error) {
	m, files, err := readTree(ctx, dir, most)
	if errors.Is(err, errTooMany) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, s.explain(err)
	}
	m.Type, m.Labels = typ, labels
	return m, files, nil
}

func readTree(ctx context.Context, dir string, most int64) (*artifacts.Manifest, []artifacts.Payload, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, nil, err
	}
	root, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	t := tree{root: root, most: maxRead}
	if err := t.startAt(filepath.Base(dir)); err != nil {
		return nil, nil, err
	}
	if t.size() > most {
		return nil, nil, errTooMany
	}
	m, err := t.manifest()
	if err != nil {
		return nil, nil, err
	}
	files, err := t.read(ctx)
	if err != nil {
		return nil, nil, err
	}
	for i, e := range t.entries {
		m.Files[i].Blob = files[t.index[e.inode]].Blob
	}
	return m, files, nil
}

// startAt makes sure that the folder can be read: its worker may have forbidden it.
func (t *tree) startAt(name string) error {
	fi, err := t.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return unfitFor("the worker did not write it")
	}
	if err == nil && fi.IsDir() && fi.Mode().Perm()&0o700 != 0o700 {
		err = t.root.Chmod(name, fi.Mode().Perm()|0o700)
	}
	if err != nil {
		return err
	}
	return t.start(name)
}

// read reads all files, and hashes what it has read.
func (t *tree) read(ctx context.Context) ([]artifacts.Payload, error) {
	all := make([]artifacts.Payload, len(t.files))
	for i, f := range t.files {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var err error
		if all[i].Bytes, err = t.readOne(f); err != nil {
			return nil, fmt.Errorf("%s: %w", f.path, err)
		}
	}
	artifacts.Reached(artifacts.StepAdoptTaken)
	for i := range all {
		p := &all[i]
		p.Blob = artifacts.Blob{MediaType: artifacts.FileMediaType, Digest: artifacts.Sum(p.Bytes), Size: int64(len(p.Bytes))}
	}
	if n := len(all); n > 0 {
		all[0].Steps = append(all[0].Steps, artifacts.StepAdoptNamed)
		all[n-1].Steps = append(all[n-1].Steps, artifacts.StepAdoptKept)
	}
	artifacts.Reached(artifacts.StepAdoptHashed)
	return all, nil
}

// readOne goes through the root: between the look at the tree and now, its writer may have put a link in a folder's place.
func (t *tree) readOne(file file) ([]byte, error) {
	if file.mode&0o400 == 0 {
		if err := t.root.Chmod(file.path, file.mode|0o400); err != nil {
			return nil, err
		}
	}
	f, err := t.root.OpenFile(file.path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a named pipe would wait for its other end
	if err != nil {
		return nil, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() || inodeOf(before) != file.inode || before.Size() != file.size || file.sealed && !before.ModTime().Equal(sealed) {
		return nil, errStillWritten
	}
	text := make([]byte, before.Size()+1) // one byte more tells that it grows
	n, err := io.ReadFull(f, text)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	after, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if int64(n) != before.Size() || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		return nil, errStillWritten
	}
	return text[:n:n], nil
}
