package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// sealed is the modification time of every blob. Whatever writes to a blob's file, by a hard link in a workspace for
// one, moves it: so a glance at the file tells that its bytes may no longer be those of its name.
var sealed = time.Unix(1_000_000_000, 0)

// blobName needs no os.Root to be safe: it is made of a digest, never of a text from outside.
func blobName(d artifacts.Digest) string { return blobsDir + "/" + d.Hex() }

// Stat gives the size of a blob.
func (s *Store) Stat(ctx context.Context, d artifacts.Digest) (int64, error) {
	fi, err := os.Lstat(s.dir + "/" + blobName(d))
	if err != nil {
		return 0, missing(err)
	}
	if !fi.Mode().IsRegular() {
		err := s.root.RemoveAll(blobName(d)) // a folder would stand in the way of the bytes when they are made again
		return 0, errors.Join(fmt.Errorf("blob %s: %w: it was no file and has been removed", d.Short(), artifacts.ErrDamaged), err)
	}
	if !fi.ModTime().Equal(sealed) {
		if err := s.reseal(ctx, d); err != nil {
			return 0, err
		}
	}
	return fi.Size(), nil
}

// Open reads n bytes from off, fewer where the blob ends before.
func (s *Store) Open(ctx context.Context, d artifacts.Digest, off, n int64) (io.ReadCloser, error) {
	size, err := s.Stat(ctx, d)
	if err != nil {
		return nil, err
	}
	if off < 0 || off > size {
		return nil, fmt.Errorf("blob %s: offset %d is outside of its %d bytes", d.Short(), off, size)
	}
	fd, err := retry(func() (int, error) {
		return unix.Open(s.dir+"/"+blobName(d), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, missing(os.NewSyscallError("open", err))
	}
	f := os.NewFile(uintptr(fd), d.Hex())
	if n < 0 || n > size-off {
		n = size - off
	}
	return &section{io.NewSectionReader(f, off, n), f}, nil
}

type section struct {
	*io.SectionReader
	f *os.File
}

func (s *section) Close() error { return s.f.Close() }

// Born is when the file was made, and ok is false where nobody knows. Its bytes were hashed after that.
func (s *section) Born() (at time.Time, ok bool) {
	var st unix.Statx_t
	err := unix.Statx(int(s.f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &st)
	if err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return time.Time{}, false
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)), true
}

// Put stores the bytes of r, which must be those that want names.
func (s *Store) Put(ctx context.Context, want artifacts.Blob, r io.Reader) error {
	if err := s.Hold(ctx, want.Digest); err != nil {
		return err
	}
	f, err := s.temp()
	if err != nil {
		return err
	}
	// One byte beyond the size is enough to tell that there are too many, and bounds what a stream can make us write.
	limit := want.Size + 1
	got, n, err := sum(ctx, io.TeeReader(io.LimitReader(r, limit), &eager{f: f}), limit)
	switch {
	case err != nil:
	case n != want.Size:
		err = fmt.Errorf("%w: %s has %s than the %d bytes that it should have", artifacts.ErrDamaged, want.Digest.Short(),
			map[bool]string{true: "more", false: "fewer"}[n > want.Size], want.Size)
	case got != want.Digest:
		err = fmt.Errorf("%w: %s came as %s", artifacts.ErrDamaged, want.Digest.Short(), got.Short())
	}
	if err != nil {
		return s.explain(errors.Join(err, f.Close(), os.Remove(f.Name())))
	}
	return s.seal(f, want.Digest)
}

// seal makes the temporary file f the blob d. An older file of that name is replaced: it may be the damaged one on
// whose account the bytes were made again.
func (s *Store) seal(f *os.File, d artifacts.Digest) error {
	err := os.Chtimes(f.Name(), sealed, sealed)
	if err = errors.Join(err, s.settle(f, 0o444)); err != nil {
		return s.explain(errors.Join(err, os.Remove(f.Name())))
	}
	artifacts.Reached(artifacts.StepPutWritten)
	if err := s.rename(f.Name(), blobName(d)); err != nil {
		return err
	}
	artifacts.Reached(artifacts.StepPutRenamed)
	return nil
}

// reseal looks at the bytes of a blob whose file was touched. Sound ones are sealed again; others are removed, so that
// nobody is served them.
func (s *Store) reseal(ctx context.Context, d artifacts.Digest) error {
	f, err := s.root.Open(blobName(d))
	if err != nil {
		return missing(err)
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return err
	}
	got, _, err := sum(ctx, f, math.MaxInt64)
	if err != nil {
		return fmt.Errorf("blob %s: %w", d.Short(), err)
	}
	if got != d {
		err := s.discard(d, before)
		return errors.Join(fmt.Errorf("blob %s: %w: its file was changed to %s and has been removed", d.Short(),
			artifacts.ErrDamaged, got.Short()), err)
	}
	// What is sealed stays as it is: its time of change tells stages that read it whether anybody wrote.
	if before.Mode().Perm() == 0o444 && before.ModTime().Equal(sealed) {
		return nil
	}
	// Sealing fails where the cache belongs to someone else; then it is hashed at every use, which is slow and right.
	_ = f.Chmod(0o444)
	_ = s.root.Chtimes(blobName(d), sealed, sealed)
	return nil
}

// sound hashes a blob before its bytes are handed to a stage or a person, once in the life of this process: a disk that
// decays leaves no trace in a file's times. What is damaged is removed, and so made again. Stages that begin together want
// the same blobs: one hashes them, the others wait.
func (s *Store) sound(ctx context.Context, d artifacts.Digest) error {
	turn, _ := s.hashing.LoadOrStore(d, make(chan struct{}, 1))
	select {
	case turn.(chan struct{}) <- struct{}{}:
		defer func() { <-turn.(chan struct{}) }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	fi, err := s.root.Lstat(blobName(d))
	if err != nil {
		return missing(err)
	}
	if before, ok := s.hashed.Load(d); ok && before == inodeOf(fi) {
		return nil
	}
	if err := s.reseal(ctx, d); err != nil {
		return err
	}
	s.hashed.Store(d, inodeOf(fi))
	return nil
}

// copySound copies a blob and looks at its bytes in the same read.
func (s *Store) copySound(ctx context.Context, dst, src *os.File, want artifacts.Blob) error {
	fi, err := src.Stat()
	if err != nil {
		return err
	}
	d, n, err := copySum(ctx, dst, src, want.Size+1) // a file that grows meanwhile is found out by one byte
	if err != nil {
		return err
	}
	if d != want.Digest || n != want.Size {
		if err := s.reseal(ctx, want.Digest); err != nil { // which has removed it
			return err
		}
		return fmt.Errorf("blob %s: %w: it was read as %s", want.Digest.Short(), artifacts.ErrDamaged, d.Short())
	}
	s.hashed.Store(want.Digest, inodeOf(fi))
	return nil
}

// discard removes the blob's file unless it was replaced in the meantime.
func (s *Store) discard(d artifacts.Digest, damaged fs.FileInfo) error {
	now, err := s.root.Lstat(blobName(d))
	if err != nil || !os.SameFile(now, damaged) {
		return nil
	}
	return s.root.Remove(blobName(d))
}

func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return artifacts.ErrMissing
	}
	return err
}
