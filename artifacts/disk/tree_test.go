package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

var testKey = artifacts.Key(artifacts.Sum([]byte("a key")))

// work is a workspace with an out/ folder.
func work(t testing.TB, s *disk.Store) string {
	t.Helper()
	w, err := s.Workspace(testKey, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := os.MkdirAll(filepath.Join(w.Dir, "out"), 0o755); err != nil {
		t.Fatal(err)
	}
	return w.Dir
}

func write(t testing.TB, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func adopt(t *testing.T, s *disk.Store, dir string) *artifacts.Manifest {
	t.Helper()
	m, err := s.AdoptTree(t.Context(), dir, "files", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", dir, err)
	}
	return m
}

func listing(m *artifacts.Manifest) string {
	var out []string
	for _, f := range m.Files {
		line := f.Path
		if f.Exec {
			line += "*"
		}
		out = append(out, line)
	}
	return strings.Join(out, " ")
}

func content(t *testing.T, s *disk.Store, m *artifacts.Manifest, path string) string {
	t.Helper()
	i := slices.IndexFunc(m.Files, func(f artifacts.File) bool { return f.Path == path })
	if i < 0 {
		t.Fatalf("no %s in %s", path, listing(m))
	}
	b, err := artifacts.NewCache(s, s).GetBytes(t.Context(), m.Files[i].Digest)
	must(t, err)
	return string(b)
}

func blobPath(s *disk.Store, d artifacts.Digest) string {
	return filepath.Join(s.Dir(), "blobs", "sha256", d.Hex())
}

// oddFiles are the files of what writeOdd makes, as listing gives them.
const oddFiles = "a/closed a/run.sh* again b.txt link* shortcut/closed shortcut/run.sh* z.txt"

// writeOdd makes an output with all that one may have: a program, a file that nobody may read, equal files, an empty folder, links of each
// kind, a folder that cannot be written to. The output itself gets the mode.
func writeOdd(t *testing.T, dir string, mode os.FileMode) {
	t.Helper()
	write(t, filepath.Join(dir, "b.txt"), "b", 0o644)
	write(t, filepath.Join(dir, "a", "run.sh"), "#!", 0o755)
	write(t, filepath.Join(dir, "a", "closed"), "closed", 0)
	write(t, filepath.Join(dir, "again"), "b", 0o666)
	must(t,
		os.MkdirAll(filepath.Join(dir, "empty", "er"), 0o755),
		os.Symlink("a/run.sh", filepath.Join(dir, "link")),
		os.Symlink("a", filepath.Join(dir, "shortcut")),
		os.Link(filepath.Join(dir, "b.txt"), filepath.Join(dir, "z.txt")),
		os.Chmod(filepath.Join(dir, "a"), 0o500),
		os.Chmod(dir, mode))
}

func TestAdoptTree(t *testing.T) {
	s := open(t, t.TempDir())
	dir := filepath.Join(work(t, s), "out", "model")
	writeOdd(t, dir, 0o500)
	m := adopt(t, s, dir)
	if got, want := listing(m), oddFiles; got != want {
		t.Errorf("files %q, want %q", got, want)
	}
	for p, want := range map[string]string{"a/closed": "closed", "link": "#!", "shortcut/run.sh": "#!", "z.txt": "b", "again": "b"} {
		if got := content(t, s, m, p); got != want {
			t.Errorf("%s holds %q, want %q", p, got, want)
		}
	}
	blobs, err := os.ReadDir(filepath.Join(s.Dir(), "blobs", "sha256"))
	must(t, err)
	if len(blobs) != 3 {
		t.Errorf("%d blobs for three different contents", len(blobs))
	}
	for _, b := range blobs {
		fi, err := b.Info()
		must(t, err)
		if fi.Mode() != 0o444 {
			t.Errorf("blob has mode %v", fi.Mode())
		}
	}
}

func TestAdoptMovesWithoutCopying(t *testing.T) {
	s := open(t, t.TempDir())
	dir := filepath.Join(work(t, s), "out", "model")
	write(t, filepath.Join(dir, "weights"), "many bytes", 0o644)
	before, err := os.Stat(filepath.Join(dir, "weights"))
	must(t, err)
	m := adopt(t, s, dir)
	after, err := os.Stat(blobPath(s, m.Files[0].Digest))
	must(t, err)
	if !os.SameFile(before, after) {
		t.Error("the blob is another file than the worker's")
	}
}

// A second name outside of the output stays within the worker's reach, so the blob must be another file.
func TestAdoptCopiesWhatHasASecondName(t *testing.T) {
	s := open(t, t.TempDir())
	w := work(t, s)
	dir := filepath.Join(w, "out", "model")
	write(t, filepath.Join(dir, "weights"), "right", 0o644)
	kept := filepath.Join(w, "kept")
	must(t, os.Link(filepath.Join(dir, "weights"), kept))
	m := adopt(t, s, dir)
	write(t, kept, "wrong", 0o644)
	if got := content(t, s, m, "weights"); got != "right" {
		t.Errorf("the worker changed a blob to %q", got)
	}
}

func TestAdoptOneFile(t *testing.T) {
	s := open(t, t.TempDir())
	file := filepath.Join(work(t, s), "out", "result")
	write(t, file, "42", 0o644)
	m := adopt(t, s, file)
	if listing(m) != "result" || content(t, s, m, "result") != "42" {
		t.Errorf("files %q", listing(m))
	}
}

func TestAdoptEmptyFolder(t *testing.T) {
	s := open(t, t.TempDir())
	dir := filepath.Join(work(t, s), "out", "nothing")
	must(t, os.Mkdir(dir, 0o755))
	m := adopt(t, s, dir)
	d, err := artifacts.NewCache(s, s).PutManifest(t.Context(), m)
	must(t, err)
	back, err := artifacts.NewCache(s, s).Manifest(t.Context(), d)
	if err != nil || len(back.Files) != 0 {
		t.Errorf("%v, %v", back, err)
	}
}

// unstorable are outputs that cannot be stored, and why.
var unstorable = map[string]struct {
	make func(t *testing.T, dir string)
	says string
}{
	"a link out":           {func(t *testing.T, d string) { must(t, os.Symlink("/etc/passwd", d+"/x")) }, "leads out"},
	"a link to a sibling":  {func(t *testing.T, d string) { must(t, os.Symlink("../other/f", d+"/x")) }, "leads out"},
	"a link upwards":       {func(t *testing.T, d string) { must(t, os.Symlink("..", d+"/x")) }, "leads out"},
	"a link to nowhere":    {func(t *testing.T, d string) { must(t, os.Symlink("gone", d+"/x")) }, "nowhere"},
	"a link in a circle":   {func(t *testing.T, d string) { must(t, os.Symlink(".", d+"/x")) }, "circle"},
	"a link to itself":     {func(t *testing.T, d string) { must(t, os.Symlink("x", d+"/x")) }, "nowhere"},
	"a named pipe":         {func(t *testing.T, d string) { must(t, syscall.Mkfifo(d+"/x", 0o644)) }, "named pipe"},
	"a link to a pipe":     {func(t *testing.T, d string) { must(t, syscall.Mkfifo(d+"/p", 0o644), os.Symlink("p", d+"/x")) }, "named pipe"},
	"letter case":          {func(t *testing.T, d string) { write(t, d+"/A", "1", 0o644); write(t, d+"/a", "2", 0o644) }, "letter case"},
	"letter case, folders": {func(t *testing.T, d string) { write(t, d+"/A/x", "1", 0o644); write(t, d+"/a/y", "2", 0o644) }, "letter case"},
	"two normal forms":     {func(t *testing.T, d string) { write(t, d+"/\u00e9", "1", 0o644); write(t, d+"/e\u0301", "2", 0o644) }, "twice"},
	"not UTF-8":            {func(t *testing.T, d string) { write(t, d+"/\xff", "1", 0o644) }, "UTF-8"},
	"a backslash":          {func(t *testing.T, d string) { write(t, d+`/a\b`, "1", 0o644) }, "backslash"},
	"a line break":         {func(t *testing.T, d string) { write(t, d+"/a\nb", "1", 0o644) }, "control character"},
	"not there":            {func(t *testing.T, d string) { must(t, os.RemoveAll(d)) }, "did not write it"},
	"itself a link": {func(t *testing.T, d string) {
		must(t, os.RemoveAll(d), os.Symlink("/etc", d))
	}, "symlink"},
}

func TestAdoptRefuses(t *testing.T) {
	for name, c := range unstorable {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			w := work(t, s)
			write(t, filepath.Join(w, "out", "other", "f"), "not this port's", 0o644)
			dir := filepath.Join(w, "out", "model")
			must(t, os.Mkdir(dir, 0o755))
			c.make(t, dir)
			_, err := s.AdoptTree(t.Context(), dir, "files", nil)
			if !errors.Is(err, disk.ErrOutput) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("AdoptTree = %v, want one that says %q", err, c.says)
			}
			if blobs, err := os.ReadDir(filepath.Join(s.Dir(), "blobs", "sha256")); err != nil || len(blobs) > 0 {
				t.Errorf("%d blobs, %v", len(blobs), err)
			}
			if left, err := filepath.Glob(filepath.Join(w, "taken-*")); err != nil || len(left) > 0 {
				t.Errorf("left over: %v, %v", left, err)
			}
			if _, err := os.Lstat(dir); (err == nil) != (name != "not there") {
				t.Errorf("what was refused was not put back: %v", err)
			}
		})
	}
}

// laid is a store with a file and a program, and a workspace in which they are inputs.
func laid(t *testing.T) (*disk.Store, *artifacts.Manifest, *disk.Laid, string) {
	t.Helper()
	s := open(t, t.TempDir())
	w := work(t, s)
	write(t, filepath.Join(w, "out", "m", "deep", "weights"), "right", 0o644)
	write(t, filepath.Join(w, "out", "m", "run"), "#!", 0o755)
	m := adopt(t, s, filepath.Join(w, "out", "m"))
	in := filepath.Join(w, "in", "model")
	l, err := s.Lay(t.Context(), m, in)
	must(t, err)
	later(t, in)
	return s, m, l, in
}

// later waits until the clock of files has moved on from when dir was laid out. It moves every few milliseconds, and no worker begins sooner.
func later(t *testing.T, dir string) {
	t.Helper()
	change := func(path string) syscall.Timespec {
		fi, err := os.Stat(path)
		must(t, err)
		return fi.Sys().(*syscall.Stat_t).Ctim
	}
	probe := filepath.Join(t.TempDir(), "probe")
	for laid := change(dir); ; {
		write(t, probe, "tick", 0o644)
		if now := change(probe); now.Nano() > laid.Nano() {
			return
		}
		must(t, os.Remove(probe))
	}
}

func TestLay(t *testing.T) {
	s, m, l, in := laid(t)
	must(t, l.Check())
	for p, want := range map[string]fs.FileMode{"deep/weights": 0o444, "run": 0o555, "deep": fs.ModeDir | 0o555, ".": fs.ModeDir | 0o555} {
		fi, err := os.Stat(filepath.Join(in, p))
		must(t, err)
		if fi.Mode() != want {
			t.Errorf("%s has mode %v, want %v", p, fi.Mode(), want)
		}
	}
	exe, err := os.Stat(filepath.Join(in, "run"))
	must(t, err)
	blob, err := os.Stat(blobPath(s, m.Files[1].Digest))
	must(t, err)
	if os.SameFile(exe, blob) {
		t.Error("an executable shares its file with a blob")
	}
	if _, err := s.Lay(t.Context(), m, in); err == nil {
		t.Error("laid out over files that were there")
	}
}

func TestCheckNoticesChanges(t *testing.T) {
	old := time.Unix(1, 0)
	for name, change := range map[string]func(string) error{
		"written":                    func(p string) error { return errors.Join(os.Chmod(p, 0o644), os.WriteFile(p, []byte("wrong"), 0o644)) },
		"appended":                   func(p string) error { return appendTo(p, "!") },
		"touched":                    func(p string) error { return os.Chtimes(p, old, old) },
		"written, its time set back": writeUnseen,
		"written under another name": func(p string) error {
			return errors.Join(os.Link(p, p+".too"), writeUnseen(p+".too"), os.Remove(p+".too"))
		},
		"written through a map": writeMapped,
		"another file moved over it": func(p string) error {
			return errors.Join(os.WriteFile(p+".new", []byte("wrong"), 0o444), os.Chtimes(p+".new", disk.Sealed, disk.Sealed), os.Rename(p+".new", p))
		},
		"removed":  os.Remove,
		"replaced": func(p string) error { return errors.Join(os.Remove(p), os.WriteFile(p, []byte("wrong"), 0o644)) },
		"a link":   func(p string) error { return errors.Join(os.Remove(p), os.Symlink("/etc/passwd", p)) },
		"added":    func(p string) error { return os.WriteFile(p+".more", nil, 0o644) },
		"written, then replaced": func(p string) error {
			return errors.Join(os.Chmod(p, 0o644), os.WriteFile(p, []byte("wrong"), 0o644), os.Remove(p), os.WriteFile(p, []byte("right"), 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, m, l, in := laid(t)
			must(t, os.Chmod(filepath.Join(in, "deep"), 0o755))
			must(t, change(filepath.Join(in, "deep", "weights")))
			if err := l.Check(); !errors.Is(err, disk.ErrInputChanged) || !strings.Contains(err.Error(), "deep/weights") {
				t.Errorf("Check = %v", err)
			}
			assertSoundOrGone(t, s, m.Files[0])
		})
	}
}

func appendTo(p, text string) error {
	if err := os.Chmod(p, 0o644); err != nil {
		return err
	}
	f, err := os.OpenFile(p, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func assertSoundOrGone(t *testing.T, s *disk.Store, f artifacts.File) {
	t.Helper()
	b, err := os.ReadFile(blobPath(s, f.Digest))
	if err == nil && artifacts.Sum(b) != f.Digest {
		t.Errorf("a damaged blob was left: %q", b)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Whoever comes between the damage and the check must not be served either.
func TestDamagedBlobIsNotServed(t *testing.T) {
	s, m, _, _ := laid(t)
	f := m.Files[0]
	must(t, os.Chmod(blobPath(s, f.Digest), 0o644), os.WriteFile(blobPath(s, f.Digest), []byte("wrong"), 0o644))
	if r, err := s.Open(t.Context(), f.Digest, 0, -1); !errors.Is(err, artifacts.ErrDamaged) {
		t.Fatalf("Open = %v, %v", r, err)
	}
	if _, err := s.Stat(t.Context(), f.Digest); !errors.Is(err, artifacts.ErrMissing) {
		t.Errorf("Stat = %v", err)
	}
	must(t, s.Put(t.Context(), f.Blob, strings.NewReader("right")))
	if got := content(t, s, m, f.Path); got != "right" {
		t.Errorf("after healing: %q", got)
	}
}

// A disk that decays moves no time: bytes are hashed before they are handed out.
func TestDecayedBlobIsNotServed(t *testing.T) {
	for what, serve := range map[string]func(*disk.Store, *artifacts.Manifest, string) error{
		"Lay": func(s *disk.Store, m *artifacts.Manifest, dir string) error {
			_, err := s.Lay(t.Context(), m, dir)
			return err
		},
		"Extract": func(s *disk.Store, m *artifacts.Manifest, dir string) error { return s.Extract(t.Context(), m, dir) },
	} {
		made, m, _, _ := laid(t)
		s := open(t, made.Dir()) // as another process: it has hashed nothing yet
		blob := blobPath(s, m.Files[0].Digest)
		before, err := os.Stat(blob)
		must(t, err, os.Chmod(blob, 0o644), os.WriteFile(blob, []byte("rigth"), 0o644), os.Chtimes(blob, before.ModTime(), before.ModTime()))
		if err := serve(s, m, filepath.Join(s.Dir(), "work", what)); !errors.Is(err, artifacts.ErrDamaged) {
			t.Errorf("%s = %v", what, err)
		}
		if _, err := s.Stat(t.Context(), m.Files[0].Digest); !errors.Is(err, artifacts.ErrMissing) {
			t.Errorf("after %s: Stat = %v", what, err)
		}
	}
}

func TestExtract(t *testing.T) {
	s, m, _, _ := laid(t)
	dir := filepath.Join(t.TempDir(), "new", "place")
	must(t, s.Extract(t.Context(), m, dir))
	b, err := os.ReadFile(filepath.Join(dir, "deep", "weights"))
	if err != nil || string(b) != "right" {
		t.Errorf("%q, %v", b, err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "deep", "weights"), []byte("mine"), 0o644))
	if got := content(t, s, m, "deep/weights"); got != "right" {
		t.Errorf("an extracted file shares its bytes with the cache: %q", got)
	}
	if err := s.Extract(t.Context(), m, dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second Extract = %v", err)
	}
	must(t, os.Remove(filepath.Join(dir, "run")), os.RemoveAll(filepath.Join(dir, "deep")), os.Symlink(t.TempDir(), filepath.Join(dir, "deep")))
	if err := s.Extract(t.Context(), m, dir); err == nil {
		t.Error("extracted through a link out of the folder")
	}
}
