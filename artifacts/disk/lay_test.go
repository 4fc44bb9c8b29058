package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

// writeUnseen changes a file's bytes and leaves its size and its time of modification as they were.
func writeUnseen(p string) error {
	return errors.Join(os.Chmod(p, 0o644), os.WriteFile(p, []byte("wrong"), 0o644), os.Chtimes(p, disk.Sealed, disk.Sealed), os.Chmod(p, 0o444))
}

func writeMapped(p string) error {
	if err := os.Chmod(p, 0o644); err != nil {
		return err
	}
	f, err := os.OpenFile(p, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, 5, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	copy(b, "wrong")
	return unix.Munmap(b)
}

// Links of the same blob come and go while a stage runs: that is no change, and what an earlier process laid is looked
// at as closely.
func TestCheckIsNotFooledByLinks(t *testing.T) {
	s, m, l, in := laid(t)
	other := filepath.Join(filepath.Dir(in), "other")
	_, err := s.Lay(t.Context(), m, other)
	must(t, err, l.Check(), os.Chmod(filepath.Join(other, "deep"), 0o755), os.Remove(filepath.Join(other, "deep", "weights")), l.Check(), s.Found(m, in).Check())
	_, err = s.Lay(t.Context(), m, filepath.Join(filepath.Dir(in), "third"))
	must(t, err, writeUnseen(filepath.Join(filepath.Dir(in), "third", "deep", "weights")))
	for what, check := range map[string]func() error{"laid by us": l.Check, "found": s.Found(m, in).Check} {
		if err := check(); !errors.Is(err, disk.ErrInputChanged) || !strings.Contains(err.Error(), "deep/weights") {
			t.Errorf("%s: Check = %v", what, err)
		} else if !errors.Is(err, artifacts.ErrShared) {
			t.Errorf("%s: Check = %v: that blames the stage whose worker did nothing", what, err)
		}
	}
	assertSoundOrGone(t, s, m.Files[0])
}

// What only its own worker can have done is told from what may be another stage's deed.
func TestCheckKnowsItsOwnWorker(t *testing.T) {
	for name, change := range map[string]func(p string) error{
		"removed":  os.Remove,
		"added":    func(p string) error { return os.WriteFile(p+".more", nil, 0o644) },
		"replaced": func(p string) error { return errors.Join(os.Remove(p), os.WriteFile(p, []byte("wrong"), 0o644)) },
	} {
		_, _, l, in := laid(t)
		must(t, os.Chmod(filepath.Join(in, "deep"), 0o755), change(filepath.Join(in, "deep", "weights")))
		if err := l.Check(); !errors.Is(err, disk.ErrInputChanged) || errors.Is(err, artifacts.ErrShared) {
			t.Errorf("%s: Check = %v", name, err)
		}
	}
}

// A writer that survived its stage, on another machine say, changes a blob after it got its name: the next glance tells.
func TestAWriterThatOutlivesTheAdoption(t *testing.T) {
	s := open(t, t.TempDir())
	w, err := s.Workspace(testKey, 1)
	must(t, err)
	dir := filepath.Join(w.Dir, "out", "files")
	write(t, filepath.Join(dir, "x"), "right", 0o644)
	late, err := os.OpenFile(filepath.Join(dir, "x"), os.O_RDWR, 0)
	must(t, err)
	m, err := s.AdoptTree(t.Context(), dir, "files", nil)
	must(t, err)
	if got := content(t, s, m, "x"); got != "right" {
		t.Errorf("stored %q", got)
	}
	_, err = late.WriteAt([]byte("wrong"), 0)
	must(t, err, late.Close())
	if _, err := s.Stat(t.Context(), m.Files[0].Digest); !errors.Is(err, artifacts.ErrDamaged) {
		t.Errorf("Stat = %v", err)
	}
	assertSoundOrGone(t, s, m.Files[0])
	must(t, w.Close())
}
