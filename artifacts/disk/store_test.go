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

// What is left where a cache is deleted while a build goes on, or by half, is a cache again. A person's own folder is not,
// whatever its names are: what lies in tmp/, work/, leases/ and running/ is swept away.
func TestOpenWhatIsLeftOfACache(t *testing.T) {
	hex, day := artifacts.Sum(nil).Hex(), "2026-01-02/"
	for name, files := range map[string][]string{
		"a build that went on": {"work/" + hex + "/1/out/a", "work/" + hex + "/1.lock", "checkpoints/" + hex + "/2/piece", "holds.lock", "gc.lock",
			"lineage.sqlite", "lineage.sqlite-wal", "lineage.sqlite-shm", "lineage.sqlite.lock", "running/ABCDEFGHIJ234567"},
		"a deletion by half": {"leases/" + hex, "tmp/ABCDEFGHIJ234567/x", "tmp/ABCDEFGHIJ234567.lock", "hash/" + hex, "runs/" + hex + "/" + hex,
			"records/" + day + hex, "refs/my-recipe.v2", "lost/" + hex, "env/" + hex + "/lib/x", "env/.locks/" + hex, "env/.new-" + hex + "-1/x",
			"tools/uv-0.1/uv", "pointers.lock", ".snapshot/x"},
		"kernels and half a jar": {"tools/compiled/" + hex + "/triton/x", "tools/jars/" + hex, "tools/jars/" + hex + ".m2/org/x"},
	} {
		dir := t.TempDir()
		for _, f := range files {
			write(t, filepath.Join(dir, f), artifacts.Sum(nil).String(), 0o644)
		}
		s := open(t, dir)
		must(t, s.SweepWork(t.Context()))
		if _, err := os.Stat(filepath.Join(dir, "format")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, file := range []string{
		"work/report.txt", "work/src/main.c", "work/.git/config", "work/" + hex, "work/" + hex + "/notes", "tmp/draft/text", "tmp/draft", "tmp/draft.lock",
		"tmp/.hidden/x", "leases/contract.pdf", "running/2026-01.gpx", "checkpoints/llama/model.pt", "checkpoints/" + hex + "/best/model.pt",
		"keys/id_rsa", "builds/release/app", "records/2026/a.csv", "records/" + day + "a.csv", "runs/1/log", "lost/x", "hash/x", "env/bin/python", "tools/hammer", "tools/jars/jam",
		"refs/heads/main", "refs/paper.pdf", "notes", "work", "holds.lock/x",
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, file), "mine", 0o644)
		must(t, os.MkdirAll(filepath.Join(dir, "refs"), 0o755))
		s, err := disk.Open(dir)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "is no cache") || !strings.Contains(err.Error(), "what is left of a cache, delete it") {
			t.Errorf("a folder with %s: %v", file, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(b) != "mine" {
			t.Errorf("%s: %q, %v", file, b, err)
		}
		if list, _ := os.ReadDir(dir); len(list) > 2 {
			t.Errorf("%s: something was made beside it: %v", file, list)
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

// An empty folder at a pointer's name is nobody's, and goes when the pointer is set. One with something in it is named, and
// kept when the name is freed.
func TestFoldersInPlaceOfPointers(t *testing.T) {
	s := open(t, t.TempDir())
	full := filepath.Join(s.Dir(), "refs", "x")
	must(t, os.MkdirAll(full, 0o755))
	_, err := s.Set(t.Context(), "refs/x", []byte("kept"), artifacts.Absent)
	must(t, err)
	if val, _, err := s.Get(t.Context(), "refs/x"); err != nil || string(val) != "kept" {
		t.Errorf("%q, %v", val, err)
	}
	must(t, os.Remove(full))
	write(t, filepath.Join(full, "mine"), "mine", 0o644)
	if _, err := s.Set(t.Context(), "refs/x", []byte("kept"), artifacts.Absent); err == nil || !strings.Contains(err.Error(), "--repair moves it away") {
		t.Errorf("over a folder with something in it: %v", err)
	}
	found, err := s.Misplaced(t.Context())
	if err != nil || len(found) != 1 || found[0].Name != "refs/x" || !found[0].Pointer {
		t.Errorf("%+v, %v", found, err)
	}
	must(t, s.SetAside(found[0]))
	kept, err := filepath.Glob(filepath.Join(s.Dir(), "aside", "refs-x.*", "mine"))
	if err != nil || len(kept) != 1 {
		t.Errorf("%q, %v", kept, err)
	}
	_, err = s.Set(t.Context(), "refs/x", []byte("kept"), artifacts.Absent)
	must(t, err, s.SetAside(found[0])) // who looked before the pointer was set does not take it away
	if val, _, err := s.Get(t.Context(), "refs/x"); err != nil || string(val) != "kept" {
		t.Errorf("%q, %v", val, err)
	}
	if found, err := s.Misplaced(t.Context()); err != nil || len(found) > 0 {
		t.Errorf("%+v, %v", found, err)
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
