package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// batch is one on its way. Each member of blobs is that of the same place in Blobs, or nil for one that is there; two batches
// may share a draft.
type batch struct {
	artifacts.Batch
	blobs  []*draft
	values []*draft // of the names
	err    error    // ends it: no name is made any more
}

// StoreAll flushes the bytes of all blobs and the values of all pointers, then names the blobs in their order and flushes
// their folder. Then the first pointer of each batch is named and the folders are flushed, then the second.
func (s *Store) StoreAll(ctx context.Context, all []artifacts.Batch) []error {
	errs := make([]error, len(all))
	var names []artifacts.Digest
	for _, b := range all {
		for _, p := range b.Blobs {
			names = append(names, p.Digest)
		}
	}
	if err := s.Hold(ctx, names...); err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	batches := s.draftAll(ctx, all)
	s.nameDrafts(batches)
	var err error
	for level, more := 0, true; err == nil && more; level++ {
		more, err = s.setLevel(ctx, batches, level)
	}
	for i, b := range batches {
		for _, d := range b.values {
			b.err = errors.Join(b.err, d.drop())
		}
		errs[i] = b.err
		if len(b.Names) > 0 {
			errs[i] = errors.Join(b.err, err)
		}
	}
	return errs
}

// draftAll writes and flushes all that has to be written.
func (s *Store) draftAll(ctx context.Context, all []artifacts.Batch) []*batch {
	batches := make([]*batch, 0, len(all))
	shared := make(map[artifacts.Digest]*draft)
	var drafts []*draft
	for _, one := range all {
		b := &batch{Batch: one}
		for _, p := range b.Blobs {
			d, ok := shared[p.Digest]
			if !ok {
				d = s.blobDraft(ctx, p)
				shared[p.Digest] = d
				drafts = append(drafts, d)
			}
			b.blobs = append(b.blobs, d)
		}
		b.err = s.draftNames(b)
		batches, drafts = append(batches, b), append(drafts, b.values...)
	}
	s.settleAll(drafts)
	return batches
}

// blobDraft is nil for a blob that is there, intact.
func (s *Store) blobDraft(ctx context.Context, p artifacts.Payload) *draft {
	if ctx.Err() != nil {
		return &draft{fd: -1, err: context.Cause(ctx)}
	}
	if n, err := s.Stat(ctx, p.Digest); err == nil && n == p.Size && s.sound(ctx, p.Digest) == nil {
		return nil
	}
	if got := artifacts.Sum(p.Bytes); got != p.Digest || int64(len(p.Bytes)) != p.Size {
		return &draft{fd: -1, err: fmt.Errorf("%w: %s came as %s", artifacts.ErrDamaged, p.Digest.Short(), got.Short())}
	}
	d := s.draft(p.Bytes, 0o444)
	if d.err == nil {
		d.fail(s.explain(d.seal()))
	}
	return d
}

func (s *Store) draftNames(b *batch) error {
	for _, change := range b.Names {
		if err := artifacts.CheckName(change.Name); err != nil {
			return err
		}
		b.values = append(b.values, s.draft([]byte(change.Value), 0o644))
	}
	return nil
}

// nameDrafts makes blobs of drafts. The folder is flushed for a batch of which all are there, too: who named them may not have
// done it yet.
func (s *Store) nameDrafts(batches []*batch) {
	some := false
	for _, b := range batches {
		for i, d := range b.blobs {
			some = true
			if d != nil && d.err == nil && d.path != "" {
				s.nameDraft(d, b.Blobs[i].Digest)
			}
		}
	}
	var err error
	if some {
		err = s.syncDir(blobsDir)
	}
	for _, b := range batches {
		for i, d := range b.blobs {
			failed := err
			if d != nil {
				failed = errors.Join(d.err, err)
			}
			if failed != nil {
				b.err = errors.Join(b.err, fmt.Errorf("storing %s: %w", b.Blobs[i].Digest.Short(), failed))
			}
		}
		for _, d := range b.values {
			b.err = errors.Join(b.err, d.err)
		}
		b.reached()
	}
}

func (s *Store) nameDraft(d *draft, digest artifacts.Digest) {
	artifacts.Reached(artifacts.StepPutWritten)
	if err := os.Rename(d.path, filepath.Join(s.dir, blobName(digest))); err != nil {
		d.fail(s.explain(err))
		return
	}
	d.path = ""
	s.hashed.Store(digest, d.inode)
	artifacts.Reached(artifacts.StepPutRenamed)
}

// reached tells of the points that its blobs are.
func (b *batch) reached() {
	if b.err != nil {
		return
	}
	for _, p := range b.Blobs {
		for _, step := range p.Steps {
			artifacts.Reached(step)
		}
	}
	for range b.values {
		artifacts.Reached(artifacts.StepPointer)
	}
}

// setLevel is false where no batch has so many names. The lock is held for the changes only: while a disk is waited for, other builds
// go on, and one that is stopped there stops nobody.
func (s *Store) setLevel(ctx context.Context, all []*batch, level int) (long bool, err error) {
	if !slices.ContainsFunc(all, func(b *batch) bool { return b.err == nil && level < len(b.Names) }) {
		return false, nil
	}
	l, err := s.lockPointers(ctx)
	if err != nil {
		return false, err
	}
	touched := make(map[string]error) // folders, and what came of flushing them
	made := make([][]string, len(all))
	for i, b := range all {
		if level >= len(b.Names) || b.err != nil {
			continue
		}
		if made[i], b.err = s.setOne(b.Names[level], b.values[level]); b.err != nil {
			b.err = blocked(s.explain(b.err))
		}
		for _, dir := range made[i] {
			touched[dir] = nil
		}
	}
	if err := l.release(); err != nil {
		return false, err
	}
	s.syncDirs(touched)
	for i, b := range all {
		for _, dir := range made[i] {
			b.err = errors.Join(b.err, touched[dir])
		}
		if b.err == nil && level < len(b.Names) {
			artifacts.Reached(b.Names[level].Step)
		}
	}
	return true, nil
}

// setOne gives the folders that have to be flushed before the change is durable.
func (s *Store) setOne(c artifacts.Change, d *draft) ([]string, error) {
	val, have, err := s.get(c.Name)
	switch {
	case err != nil && !errors.Is(err, artifacts.ErrMissing):
		return nil, err
	case err == nil && string(val) == c.Value:
		return []string{filepath.Dir(c.Name)}, nil // who set it may not have flushed it yet
	case have != c.Old:
		return nil, fmt.Errorf("%s: %w", c.Name, artifacts.ErrConflict)
	}
	if have == artifacts.Absent {
		s.clearName(c.Name)
	}
	dirs, err := s.makeDirs(filepath.Dir(c.Name))
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(s.dir, d.path)
	if err != nil {
		return nil, err
	}
	if err := s.root.Rename(rel, c.Name); err != nil {
		return nil, err
	}
	d.path = ""
	return dirs, nil
}

// makeDirs creates a folder of pointers and those above it. It gives all that have to be flushed for a name in it to last.
func (s *Store) makeDirs(dir string) ([]string, error) {
	dirs := []string{dir}
	for ; dir != "."; dir = filepath.Dir(dir) {
		if _, err := s.root.Lstat(dir); err == nil {
			break
		}
		dirs = append(dirs, filepath.Dir(dir))
	}
	for i := len(dirs) - 2; i >= 0; i-- {
		if err := s.root.Mkdir(dirs[i], 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	return dirs, nil
}
