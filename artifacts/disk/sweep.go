package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"syscall"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// All gives every blob, in no order. It does not look at bytes, so damaged ones are given too.
func (s *Store) All(ctx context.Context) iter.Seq2[artifacts.Blob, error] {
	return func(yield func(artifacts.Blob, error) bool) {
		d, err := s.root.Open(blobsDir)
		if err != nil {
			yield(artifacts.Blob{}, fmt.Errorf("listing blobs: %w", err))
			return
		}
		defer d.Close()
		for {
			batch, err := d.ReadDir(1024)
			for _, e := range batch {
				digest, perr := artifacts.ParseHex(e.Name())
				if perr != nil {
					continue // not ours: nothing can refer to it
				}
				fi, ierr := e.Info()
				if errors.Is(ierr, fs.ErrNotExist) {
					continue
				}
				if ierr == nil && ctx.Err() != nil {
					ierr = context.Cause(ctx)
				}
				if ierr != nil {
					yield(artifacts.Blob{}, fmt.Errorf("listing blobs: %w", ierr))
					return
				}
				if !yield(artifacts.Blob{Digest: digest, Size: fi.Size()}, nil) {
					return
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(artifacts.Blob{}, fmt.Errorf("listing blobs: %w", err))
				return
			}
		}
	}
}

// Delete removes a pointer, or a blob by artifacts.BlobsFolder and its hex. What is not there is no error.
func (s *Store) Delete(ctx context.Context, name string) error {
	if hex, ok := strings.CutPrefix(name, artifacts.BlobsFolder); ok {
		d, err := artifacts.ParseHex(hex)
		if err != nil {
			return err
		}
		return s.root.RemoveAll(blobName(d)) // a damaged one may be a folder
	}
	if err := artifacts.CheckName(name); err != nil {
		return err
	}
	l, err := s.lockPointers(ctx)
	if err != nil {
		return err
	}
	return errors.Join(ignoreMissing(s.root.Remove(name)), l.release())
}

func ignoreMissing(err error) error {
	// A file where its folder would be is as good as nothing there.
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	return err
}
