package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/artifacts/storetest"
)

func open(t testing.TB, dir string) *disk.Store {
	t.Helper()
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Place { return open(t, t.TempDir()) })
}

func TestOpenRefuses(t *testing.T) {
	format := func(text string) func(*testing.T) string {
		return func(t *testing.T) string {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "format"), text, 0o644)
			return dir
		}
	}
	for name, c := range map[string]struct {
		dir  func(t *testing.T) string
		says string
	}{
		"a newer format": {format(`{"format":2}`), "use a newer tinfra"},
		"format 0":       {format(`{"format":0}`), "not a cache's format file"},
		"rubbish":        {format("hello"), "not a cache's format file"},
		"empty":          {format(""), "not a cache's format file"},
		"a file": {func(t *testing.T) string {
			f := filepath.Join(t.TempDir(), "f")
			write(t, f, "", 0o644)
			return f
		}, "TINFRA_CACHE"},
		"not writable": {func(*testing.T) string { return "/proc/tinfra" }, "TINFRA_CACHE"},
	} {
		dir := c.dir(t)
		s, err := disk.Open(dir)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, want %q and the folder", name, err, c.says)
		}
	}
}

func TestOpenAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "cache")
	first := open(t, dir)
	v, err := first.Set(t.Context(), "refs/x", []byte("kept"), artifacts.Absent)
	must(t, err)
	val, got, err := open(t, dir).Get(t.Context(), "refs/x")
	if err != nil || string(val) != "kept" || got != v {
		t.Errorf("%q, %q, %v", val, got, err)
	}
}

// Damage that moves no time stamp, as a failing disk does, is found by Verify; other damage at the first use.
func TestVerifyFindsDamage(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"a flipped bit": func(p string) error {
			fi, err := os.Stat(p)
			return errors.Join(err, os.Chmod(p, 0o644), os.WriteFile(p, []byte("righs"), 0o644), os.Chtimes(p, fi.ModTime(), fi.ModTime()))
		},
		"truncated":          func(p string) error { return errors.Join(os.Chmod(p, 0o644), os.Truncate(p, 3)) },
		"overwritten":        func(p string) error { return errors.Join(os.Chmod(p, 0o644), os.WriteFile(p, []byte("wrong"), 0o644)) },
		"replaced by a link": func(p string) error { return errors.Join(os.Remove(p), os.Symlink("/etc/passwd", p)) },
		"replaced by a pipe": func(p string) error { return errors.Join(os.Remove(p), syscall.Mkfifo(p, 0o644)) },
		"replaced by folder": func(p string) error { return errors.Join(os.Remove(p), os.MkdirAll(filepath.Join(p, "deep"), 0o755)) },
	} {
		t.Run(name, func(t *testing.T) {
			s, m, _, _ := laid(t)
			f := m.Files[0]
			if p := problems(t, s); len(p) > 0 {
				t.Fatalf("a sound cache has problems: %+v", p)
			}
			must(t, damage(blobPath(s, f.Digest)))
			p := problems(t, s)
			if len(p) != 1 || p[0].Name != artifacts.BlobsFolder+f.Digest.Hex() || p[0].Kind != artifacts.Damaged {
				t.Errorf("problems %+v", p)
			}
			// Nothing stands in the way of the bytes when they are made again.
			must(t, s.Put(t.Context(), f.Blob, strings.NewReader("right")))
			if p := problems(t, s); len(p) > 0 {
				t.Errorf("after it was made again: %+v", p)
			}
		})
	}
}

func TestStrayFilesAreNoProblem(t *testing.T) {
	s, _, _, _ := laid(t)
	write(t, filepath.Join(s.Dir(), "tmp", "half"), "half", 0o644)
	write(t, filepath.Join(s.Dir(), "blobs", "sha256", "README"), "?", 0o644)
	write(t, filepath.Join(s.Dir(), "notes"), "?", 0o644)
	if p := problems(t, s); len(p) > 0 {
		t.Errorf("%+v", p)
	}
}
