// Package mem keeps artifacts in memory, for tests and for plans that must not write. It behaves as a disk or a bucket
// does, and must not know more of the objects than they.
package mem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Store implements artifacts.Store, artifacts.Pointers and artifacts.Sweeper. Stored bytes are never changed in place.
type Store struct {
	mu       sync.RWMutex
	blobs    map[artifacts.Digest][]byte
	pointers map[string][]byte
}

// New is an empty place.
func New() *Store {
	return &Store{blobs: make(map[artifacts.Digest][]byte), pointers: make(map[string][]byte)}
}

func (s *Store) blob(ctx context.Context, d artifacts.Digest) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, ok := s.blobs[d]
	if !ok {
		return nil, artifacts.ErrMissing
	}
	return b, nil
}

// Stat gives the size of a blob.
func (s *Store) Stat(ctx context.Context, d artifacts.Digest) (int64, error) {
	b, err := s.blob(ctx, d)
	return int64(len(b)), err
}

// Open reads n bytes from off, fewer where the blob ends before.
func (s *Store) Open(ctx context.Context, d artifacts.Digest, off, n int64) (io.ReadCloser, error) {
	b, err := s.blob(ctx, d)
	if err != nil {
		return nil, err
	}
	size := int64(len(b))
	if off < 0 || off > size {
		return nil, fmt.Errorf("blob %s: offset %d is outside of its %d bytes", d.Short(), off, size)
	}
	if n < 0 || n > size-off {
		n = size - off
	}
	return io.NopCloser(bytes.NewReader(b[off : off+n])), nil
}

// Put stores the bytes of r, which must be those that want names.
func (s *Store) Put(ctx context.Context, want artifacts.Blob, r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, want.Size+1))
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("storing %s: %w", want.Digest.Short(), err)
	case int64(len(b)) != want.Size:
		return fmt.Errorf("%w: %s does not have %d bytes", artifacts.ErrDamaged, want.Digest.Short(), want.Size)
	case artifacts.Sum(b) != want.Digest:
		return fmt.Errorf("%w: %s came as %s", artifacts.ErrDamaged, want.Digest.Short(), artifacts.Sum(b).Short())
	}
	artifacts.Reached(artifacts.StepPutWritten)
	s.mu.Lock()
	s.blobs[want.Digest] = b
	s.mu.Unlock()
	artifacts.Reached(artifacts.StepPutRenamed)
	return nil
}

func version(val []byte) artifacts.Version { return artifacts.Version(artifacts.Sum(val).Hex()) }

// Get reads a pointer.
func (s *Store) Get(_ context.Context, name string) ([]byte, artifacts.Version, error) {
	if err := artifacts.CheckName(name); err != nil {
		return nil, artifacts.Absent, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	val, ok := s.pointers[name]
	if !ok {
		return nil, artifacts.Absent, artifacts.ErrMissing
	}
	return bytes.Clone(val), version(val), nil
}

// Set changes a pointer from the version old to val.
func (s *Store) Set(_ context.Context, name string, val []byte, old artifacts.Version) (artifacts.Version, error) {
	if err := artifacts.CheckName(name); err != nil {
		return artifacts.Absent, err
	}
	artifacts.Reached(artifacts.StepPointer)
	s.mu.Lock()
	defer s.mu.Unlock()
	have := artifacts.Absent
	if val, ok := s.pointers[name]; ok {
		have = version(val)
	}
	if have != old {
		return artifacts.Absent, fmt.Errorf("%s: %w", name, artifacts.ErrConflict)
	}
	s.pointers[name] = bytes.Clone(val)
	return version(val), nil
}

// List gives the names that begin with prefix and come after the name after, in bytewise order.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := artifacts.CheckPrefix(prefix); err != nil {
			yield("", err)
			return
		}
		s.mu.RLock()
		names := slices.Sorted(maps.Keys(s.pointers))
		s.mu.RUnlock()
		for _, n := range names {
			if ctx.Err() != nil {
				yield("", context.Cause(ctx))
				return
			}
			if strings.HasPrefix(n, prefix) && n > after && !yield(n, nil) {
				return
			}
		}
	}
}

// All gives every blob, in no order.
func (s *Store) All(ctx context.Context) iter.Seq2[artifacts.Blob, error] {
	return func(yield func(artifacts.Blob, error) bool) {
		s.mu.RLock()
		blobs := maps.Clone(s.blobs)
		s.mu.RUnlock()
		for d, b := range blobs {
			if ctx.Err() != nil {
				yield(artifacts.Blob{}, context.Cause(ctx))
				return
			}
			if !yield(artifacts.Blob{Digest: d, Size: int64(len(b))}, nil) {
				return
			}
		}
	}
}

// Delete removes a pointer, or a blob by artifacts.BlobsFolder and its hex. What is not there is no error.
func (s *Store) Delete(_ context.Context, name string) error {
	hex, isBlob := strings.CutPrefix(name, artifacts.BlobsFolder)
	if !isBlob {
		if err := artifacts.CheckName(name); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.pointers, name)
		return nil
	}
	d, err := artifacts.ParseHex(hex)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.blobs, d)
	return nil
}
