package disk_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Many files are flushed together: what holds for each of a few holds for them too.
func TestAdoptManyFiles(t *testing.T) {
	s := open(t, t.TempDir())
	w := work(t, s)
	dir := filepath.Join(w, "out", "model")
	const n = 1000
	for i := range n {
		write(t, filepath.Join(dir, strconv.Itoa(i%7), strconv.Itoa(i)), strconv.Itoa(i/2), 0o644)
	}
	kept := filepath.Join(w, "kept")
	must(t, os.Link(filepath.Join(dir, "0", "0"), kept), os.Chmod(filepath.Join(dir, "1", "1"), 0o311))
	late, err := os.OpenFile(filepath.Join(dir, "2", "2"), os.O_RDWR, 0)
	must(t, err)
	m := adopt(t, s, dir)
	file := func(path string) artifacts.File {
		return m.Files[slices.IndexFunc(m.Files, func(f artifacts.File) bool { return f.Path == path })]
	}
	if len(m.Files) != n || content(t, s, m, "1/995") != "497" || !file("1/1").Exec {
		t.Errorf("stored %d files: %s", len(m.Files), listing(m))
	}
	write(t, kept, "wrong", 0o644)
	if got := content(t, s, m, "0/0"); got != "0" {
		t.Errorf("the worker changed a blob to %q", got)
	}
	_, err = late.WriteAt([]byte("x"), 0)
	must(t, err, late.Close())
	for _, f := range m.Files {
		_, err := s.Stat(t.Context(), f.Digest)
		if f.Digest == file("2/2").Digest {
			assertSoundOrGone(t, s, f) // 3/3 is as good a blob of it
		} else if err != nil {
			t.Errorf("%s: %v", f.Path, err)
		}
	}
}
