package glance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestAtSaysWhatFstatatSays for every kind of name.
func TestAtSaysWhatFstatatSays(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("n", Room-1)
	for _, name := range []string{"a", "ünï", long} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o640))
	}
	must(t, os.Symlink("a", filepath.Join(dir, "link")))
	must(t, os.Symlink("nowhere", filepath.Join(dir, "lost")))
	folder, err := os.Open(dir)
	must(t, err)
	defer folder.Close()
	var room [Room]byte
	for _, name := range []string{"a", "ünï", long, "link", "lost", "none", "a/b", "."} {
		for _, flags := range []int{0, unix.AT_SYMLINK_NOFOLLOW} {
			var got, want unix.Stat_t
			text, ok := Name(&room, name)
			if !ok {
				t.Fatalf("%q is said to be no name", name)
			}
			gerr, werr := At(int(folder.Fd()), text, flags, &got), unix.Fstatat(int(folder.Fd()), name, &want, flags)
			if got != want || !errors.Is(gerr, werr) {
				t.Errorf("%q, flags %d: %v, %v; want %v, %v", name, flags, got, gerr, want, werr)
			}
		}
	}
	if _, ok := Name(&room, long+"n"); ok {
		t.Error("a name longer than any file's is one")
	}
}
