package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// maxPointer bounds a pointer's value, in bytes.
const maxPointer = 64 << 10

func version(val []byte) artifacts.Version { return artifacts.Version(artifacts.Sum(val).Hex()) }

// Get reads a pointer.
func (s *Store) Get(_ context.Context, name string) ([]byte, artifacts.Version, error) {
	if err := artifacts.CheckName(name); err != nil {
		return nil, artifacts.Absent, err
	}
	return s.get(name)
}

func (s *Store) get(name string) ([]byte, artifacts.Version, error) {
	b, err := s.root.ReadFile(name)
	// A folder of that name, or a file where a folder would be, means that no pointer of that name was ever set.
	if errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.ENOTDIR) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, artifacts.Absent, missing(err)
	}
	return b, version(b), nil
}

// Set changes a pointer from the version old to val.
func (s *Store) Set(ctx context.Context, name string, val []byte, old artifacts.Version) (artifacts.Version, error) {
	if err := artifacts.CheckName(name); err != nil {
		return artifacts.Absent, err
	}
	if len(val) > maxPointer {
		return artifacts.Absent, fmt.Errorf("pointer %s: %d bytes are more than %d", name, len(val), maxPointer)
	}
	tmp, err := s.writeTemp(val, 0o644)
	if err != nil {
		return artifacts.Absent, err
	}
	artifacts.Reached(artifacts.StepPointer)
	l, err := s.lockPointers(ctx)
	if err != nil {
		return artifacts.Absent, errors.Join(err, os.Remove(tmp))
	}
	_, have, err := s.get(name)
	switch {
	case err != nil && !errors.Is(err, artifacts.ErrMissing):
		err = errors.Join(err, os.Remove(tmp))
	case have != old:
		err = errors.Join(fmt.Errorf("%s: %w", name, artifacts.ErrConflict), os.Remove(tmp))
	default:
		if have == artifacts.Absent {
			s.clearName(name)
		}
		err = blocked(s.rename(tmp, name))
	}
	if err = errors.Join(err, l.release()); err != nil {
		return artifacts.Absent, err
	}
	return version(val), nil
}

func (s *Store) lockPointers(ctx context.Context) (*lock, error) {
	return waitLock(ctx, filepath.Join(s.dir, pointerLock), pointerPoll, func() {})
}

// List gives the names that begin with prefix and come after the name after, in bytewise order.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := artifacts.CheckPrefix(prefix); err != nil {
			yield("", err)
			return
		}
		top := strings.TrimSuffix(prefix[:strings.LastIndexByte(prefix, '/')+1], "/")
		if top == "" {
			top = "."
		}
		l := lister{s, ctx, prefix, after, yield}
		l.folder(top)
	}
}

type lister struct {
	s             *Store
	ctx           context.Context
	prefix, after string
	yield         func(string, error) bool
}

// folder walks dir; false ends the walk. A folder sorts as its name with a slash, so that whole paths come in order.
func (l *lister) folder(dir string) bool {
	if l.ctx.Err() != nil {
		l.yield("", context.Cause(l.ctx))
		return false
	}
	names, err := l.s.entries(dir)
	if err != nil {
		l.yield("", fmt.Errorf("listing %s: %w", dir, err))
		return false
	}
	for _, n := range names {
		full := path.Join(dir, n)
		isDir := strings.HasSuffix(n, "/")
		if isDir {
			full += "/"
		}
		reaches := strings.HasPrefix(full, l.prefix) || isDir && strings.HasPrefix(l.prefix, full)
		passed := full <= l.after && (!isDir || !strings.HasPrefix(l.after, full))
		if !reaches || passed || dir == "." && artifacts.CheckName(full+"x") != nil {
			continue
		}
		if isDir {
			if !l.folder(strings.TrimSuffix(full, "/")) {
				return false
			}
		} else if artifacts.CheckName(full) == nil && !l.yield(full, nil) {
			return false
		}
	}
	return true
}

// entries are the sorted names in a folder, folders with a slash at the end. What is not there has none.
func (s *Store) entries(dir string) ([]string, error) {
	f, err := s.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := f.ReadDir(-1)
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrNotExist) { // removed since it was opened
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range list {
		switch {
		case e.IsDir():
			names = append(names, e.Name()+"/")
		case e.Type().IsRegular():
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}
