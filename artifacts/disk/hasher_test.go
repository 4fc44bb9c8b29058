package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

func hashOf(t *testing.T, m *artifacts.Manifest, err error, path string) artifacts.Digest {
	t.Helper()
	must(t, err)
	for _, f := range m.Files {
		if f.Path == path {
			return f.Digest
		}
	}
	t.Fatalf("no %s in %s", path, listing(m))
	return artifacts.Digest{}
}

func TestHasher(t *testing.T) {
	s := open(t, t.TempDir())
	dir := t.TempDir()
	write(t, filepath.Join(dir, "b", "run"), "#!", 0o755)
	write(t, filepath.Join(dir, "a"), "A", 0o644)
	write(t, filepath.Join(dir, "not asked for"), "", 0o644)
	m, err := s.Files().Manifest(t.Context(), dir, []string{"b/run", "a"})
	must(t, err)
	if listing(m) != "a b/run*" || m.Type != "files" || m.Files[0].Digest != artifacts.Sum([]byte("A")) {
		t.Errorf("%s, %+v", listing(m), m)
	}
	if _, err := s.Stat(t.Context(), m.Files[0].Digest); !errors.Is(err, artifacts.ErrMissing) {
		t.Errorf("hashing stored something: %v", err)
	}
	must(t, s.Files().Import(t.Context(), m, dir))
	if got := content(t, s, m, "b/run"); got != "#!" {
		t.Errorf("imported %q", got)
	}
	must(t, s.Files().Import(t.Context(), m, dir)) // again: nothing to do
}

func TestHasherRefuses(t *testing.T) {
	s := open(t, t.TempDir())
	dir := t.TempDir()
	write(t, filepath.Join(dir, "sub", "x"), "", 0o644)
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "out")), syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644))
	for _, p := range []string{"out", "pipe", "sub", "gone", "../x", "/etc/passwd", "sub/../sub/x", ""} {
		if m, err := s.Files().Manifest(t.Context(), dir, []string{p}); err == nil {
			t.Errorf("%q gave %+v", p, m.Files)
		}
	}
}

func TestImportNoticesAChange(t *testing.T) {
	s := open(t, t.TempDir())
	dir := t.TempDir()
	write(t, filepath.Join(dir, "x"), "planned", 0o644)
	m, err := s.Files().Manifest(t.Context(), dir, []string{"x"})
	must(t, err)
	write(t, filepath.Join(dir, "x"), "changed", 0o644)
	if err := s.Files().Import(t.Context(), m, dir); err == nil || !strings.Contains(err.Error(), "x changed since the plan") {
		t.Errorf("Import = %v", err)
	}
}

// A file written twice within one tick, to the same length, looks unchanged: a fresh file's digest is not remembered.
func TestFreshFilesAreHashedAgain(t *testing.T) {
	s := open(t, t.TempDir())
	dir := t.TempDir()
	p := filepath.Join(dir, "x")
	tick := time.Now().Add(-time.Hour)
	for _, text := range []string{"one", "two", "six"} {
		write(t, p, text, 0o644)
		must(t, os.Chtimes(p, tick, tick)) // the modification time is no help
		h := s.Files()
		m, err := h.Manifest(t.Context(), dir, []string{"x"})
		h.Keep()
		if got := hashOf(t, m, err, "x"); got != artifacts.Sum([]byte(text)) {
			t.Errorf("%s has the digest of something else", text)
		}
		if kept, err := filepath.Glob(filepath.Join(s.Dir(), "hash", "*")); err != nil || len(kept) > 0 {
			t.Fatalf("the digest of a fresh file was remembered: %v, %v", kept, err)
		}
	}
}

// TestStatCache proves that a digest is remembered by making the memory lie in a way that only reading would find, and
// that each thing that gives a change away makes the file be read.
func TestStatCache(t *testing.T) {
	s := open(t, t.TempDir())
	dir := t.TempDir()
	p := filepath.Join(dir, "x")
	write(t, p, "one", 0o644)
	later := func() time.Time { return time.Now().Add(3 * time.Second) }
	read := func() artifacts.Digest {
		t.Helper()
		h := s.FilesAt(later)
		m, err := h.Manifest(t.Context(), dir, []string{"x"})
		h.Keep()
		return hashOf(t, m, err, "x")
	}
	one, lie := artifacts.Sum([]byte("one")), artifacts.Sum([]byte("lie"))
	if read() != one {
		t.Fatal("wrong digest")
	}
	memory := memoryFile(t, s.Dir())
	truth, err := os.ReadFile(memory)
	must(t, err)
	_, text, _ := strings.Cut(string(truth), "\n")
	forged := strings.ReplaceAll(text, one.Hex(), lie.Hex())
	forge := func(b string) {
		t.Helper()
		must(t, os.WriteFile(memory, []byte(b), 0o644))
	}
	forge(artifacts.Sum([]byte(forged)).String() + "\n" + forged)
	if read() != lie {
		t.Error("the file was read though nothing says that it changed")
	}
	for what, b := range map[string]string{
		"empty": "", "cut": string(truth[:len(truth)/2]), "rubbish": "\x00\xff", "a flipped digest": strings.ReplaceAll(string(truth), one.Hex(), lie.Hex()),
		"another format": strings.ReplaceAll(string(truth), `"format":1`, `"format":2`), "JSON only": text,
	} {
		forge(b)
		if read() != one {
			t.Errorf("%s: memory that is not sound was believed", what)
		}
	}
	forge(artifacts.Sum([]byte(forged)).String() + "\n" + forged)
	must(t, os.Chmod(p, 0o600)) // moves the change time only
	if read() != one {
		t.Error("a moved change time was not noticed")
	}
}

func memoryFile(t *testing.T, cache string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(cache, "hash", "*"))
	if err != nil || len(all) != 1 {
		t.Fatalf("memory %v, %v", all, err)
	}
	return all[0]
}
