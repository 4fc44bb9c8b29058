package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// PutAll stores many small blobs: all are flushed, then named in their order, then the folder is flushed once.
func (s *Store) PutAll(ctx context.Context, all []artifacts.Payload) []error {
	errs := make([]error, len(all))
	names := make([]artifacts.Digest, 0, len(all))
	for _, p := range all {
		names = append(names, p.Digest)
	}
	if err := s.Hold(ctx, names...); err != nil {
		return s.each(errs, err)
	}
	drafts := make([]*draft, len(all))
	for i, p := range all {
		drafts[i], errs[i] = s.blobDraft(ctx, p)
	}
	s.settleAll(drafts, errs)
	named := false
	for i, d := range drafts {
		if d == nil || errs[i] != nil {
			continue
		}
		artifacts.Reached(artifacts.StepPutWritten)
		if err := os.Rename(d.path, filepath.Join(s.dir, blobName(all[i].Digest))); err != nil {
			errs[i] = errors.Join(err, os.Remove(d.path))
			continue
		}
		named = true
		s.hashed.Store(all[i].Digest, d.inode)
		artifacts.Reached(artifacts.StepPutRenamed)
	}
	var err error
	if named {
		err = s.syncDir(blobsDir)
	}
	for i, d := range drafts {
		if d != nil {
			errs[i] = errors.Join(errs[i], err)
		}
		if errs[i] != nil {
			errs[i] = fmt.Errorf("storing %s: %w", all[i].Digest.Short(), s.explain(errs[i]))
		}
	}
	return errs
}

// blobDraft is nil for a blob that is there, intact.
func (s *Store) blobDraft(ctx context.Context, p artifacts.Payload) (*draft, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if n, err := s.Stat(ctx, p.Digest); err == nil && n == p.Size && s.sound(ctx, p.Digest) == nil {
		return nil, nil
	}
	if got := artifacts.Sum(p.Bytes); got != p.Digest || int64(len(p.Bytes)) != p.Size {
		return nil, fmt.Errorf("%w: %s came as %s", artifacts.ErrDamaged, p.Digest.Short(), got.Short())
	}
	d, err := s.draft(p.Bytes, 0o444)
	if err != nil {
		return nil, err
	}
	if err := d.seal(); err != nil {
		return nil, errors.Join(err, d.drop())
	}
	return d, nil
}

func (s *Store) each(errs []error, err error) []error {
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// chain is some changes of pointers, each to be made once the one before it is durable.
type chain struct {
	changes []artifacts.Change
	drafts  []*draft
	err     error
}

// SetAll changes pointers level by level: all values are flushed; then the first change of each chain is made and the
// folders are flushed, then the second.
func (s *Store) SetAll(ctx context.Context, chains [][]artifacts.Change) []error {
	all := make([]*chain, len(chains))
	for i, changes := range chains {
		all[i] = &chain{changes: changes}
		all[i].err = s.draftChain(all[i])
	}
	s.settleChains(all)
	var err error
	for level, more := 0, true; err == nil && more; level++ {
		more, err = s.setLevel(ctx, all, level)
	}
	errs := make([]error, len(all))
	for i, c := range all {
		for _, d := range c.drafts {
			if d.path != "" {
				c.err = errors.Join(c.err, d.drop())
			}
		}
		errs[i] = errors.Join(c.err, err)
	}
	return errs
}

func (s *Store) draftChain(c *chain) error {
	for _, change := range c.changes {
		if err := artifacts.CheckName(change.Name); err != nil {
			return err
		}
		d, err := s.draft([]byte(change.Value), 0o644)
		if err != nil {
			return err
		}
		c.drafts = append(c.drafts, d)
	}
	return nil
}

func (s *Store) settleChains(all []*chain) {
	var drafts []*draft
	for _, c := range all {
		drafts = append(drafts, c.drafts...)
	}
	errs := make([]error, len(drafts))
	s.settleAll(drafts, errs)
	for _, c := range all {
		n := len(c.drafts)
		c.err = errors.Join(append(errs[:n:n], c.err)...)
		errs = errs[n:]
		for range n {
			artifacts.Reached(artifacts.StepPointer)
		}
	}
}

// setLevel is false where no chain is that long. The lock is held for the changes only: while a disk is waited for, other builds
// go on, and one that is stopped there stops nobody.
func (s *Store) setLevel(ctx context.Context, all []*chain, level int) (long bool, err error) {
	l, err := s.lockPointers(ctx)
	if err != nil {
		return false, err
	}
	touched := make(map[string]error) // folders, and what came of flushing them
	made := make([][]string, len(all))
	for i, c := range all {
		if level >= len(c.changes) || c.err != nil {
			continue
		}
		long = true
		if made[i], c.err = s.setOne(c.changes[level], c.drafts[level]); c.err != nil {
			c.err = blocked(s.explain(c.err))
		}
		for _, dir := range made[i] {
			touched[dir] = nil
		}
	}
	if err := l.release(); err != nil {
		return false, err
	}
	s.syncDirs(touched)
	for i, c := range all {
		for _, dir := range made[i] {
			c.err = errors.Join(c.err, touched[dir])
		}
		if c.err == nil && level < len(c.changes) {
			artifacts.Reached(c.changes[level].Step)
		}
	}
	return long, nil
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
