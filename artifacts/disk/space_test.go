package disk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

const smallDisk = 512 << 10

// fillDisk runs in a mount namespace of its own, whose cache folder is a file system of smallDisk bytes.
func fillDisk(ctx context.Context, s *disk.Store) error {
	dir := s.Dir()
	if err := s.Close(); err != nil {
		return err
	}
	if err := syscall.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d", smallDisk)); err != nil {
		fmt.Println("cannot mount:", err)
		return nil
	}
	s, err := disk.Open(dir)
	if err != nil {
		return err
	}
	big := bytes.Repeat([]byte("x"), 2*smallDisk)
	err = s.Put(ctx, artifacts.Blob{Digest: artifacts.Sum(big), Size: int64(len(big))}, bytes.NewReader(big))
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "TINFRA_CACHE") {
		return fmt.Errorf("Put on a full disk = %w", err)
	}
	// What was half written is gone, so there is room again.
	small := big[:smallDisk/2]
	if err := s.Put(ctx, artifacts.Blob{Digest: artifacts.Sum(small), Size: int64(len(small))}, bytes.NewReader(small)); err != nil {
		return fmt.Errorf("after a failed Put: %w", err)
	}
	if err := extractFull(ctx, s, small); err != nil {
		return err
	}
	if err := openReadOnly(ctx, dir, s, small); err != nil {
		return err
	}
	fmt.Println("filled")
	return nil
}

// openReadOnly: a cache that is all there and cannot be written to is good for reading, and says so before anything that
// would have to be kept is begun. A folder that is no cache is none.
func openReadOnly(ctx context.Context, dir string, s *disk.Store, b []byte) error {
	if err := s.Close(); err != nil {
		return err
	}
	if err := syscall.Mount("none", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return err
	}
	s, err := disk.Open(dir)
	if err != nil {
		return fmt.Errorf("Open of a read-only cache = %w", err)
	}
	defer s.Close()
	blob := artifacts.Blob{Digest: artifacts.Sum(b), Size: int64(len(b))}
	for doing, err := range map[string]error{
		"Writable": s.Writable(),
		"Put":      s.Put(ctx, blob, bytes.NewReader(b)),
		"Set":      func() error { _, err := s.Set(ctx, "keys/x", nil, artifacts.Absent); return err }(),
	} {
		if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "TINFRA_CACHE") {
			return fmt.Errorf("%s in a read-only cache = %w", doing, err)
		}
	}
	if n, err := s.Stat(ctx, blob.Digest); err != nil || n != blob.Size {
		return fmt.Errorf("Stat in a read-only cache = %d, %w", n, err)
	}
	if _, err := disk.Open(filepath.Join(dir, "leases")); !errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("Open of a folder on a read-only disk that is no cache = %w", err)
	}
	return nil
}

// extractFull copies a blob twice where there is room for once and a half.
func extractFull(ctx context.Context, s *disk.Store, b []byte) error {
	f := artifacts.File{Path: "x", Exec: true, Blob: artifacts.Blob{Digest: artifacts.Sum(b), Size: int64(len(b))}}
	m := &artifacts.Manifest{Type: "files", Files: []artifacts.File{f}}
	pad := filepath.Join(s.Dir(), "pad")
	if err := os.WriteFile(pad, b[:len(b)/2], 0o600); err != nil {
		return err
	}
	dir := filepath.Join(s.Dir(), "work", "x")
	if _, err := s.Lay(ctx, m, dir); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "TINFRA_CACHE") {
		return fmt.Errorf("Lay on a full disk = %w", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "x")); err == nil {
		return errors.New("half an input was left")
	}
	return nil
}

func TestFullDisk(t *testing.T) {
	cmd := child(t, "fill", t.TempDir())
	cmd.Stderr = nil
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	var problem strings.Builder
	cmd.Stderr = &problem
	out, err := cmd.Output()
	switch {
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || strings.HasPrefix(string(out), "cannot mount"):
		t.Skipf("this system gives no mount namespace to make a small disk in: %v %s", err, out)
	case err != nil || string(out) != "filled\n":
		t.Errorf("%v: %s%s", err, out, problem.String())
	}
}
