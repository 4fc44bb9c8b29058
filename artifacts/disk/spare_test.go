package disk_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

var layout = []string{"handle.json", "exit.json.part", "stdout", "in/", "in/a/", "out/", "tmp/"}

// used is a workspace as a worker leaves it.
func used(t *testing.T, s *disk.Store) *disk.Workspace {
	t.Helper()
	w, err := s.Fresh(testKey, 1, layout)
	must(t, err)
	for name, text := range map[string]string{
		"handle.json": "{}", "exit.json": "{}", "stdout": "", "strange": "x", "in/a/x": "input", "out/y": "output", "out/deep/z": "z", "tmp/t": "t",
	} {
		write(t, filepath.Join(w.Dir, name), text, 0o600)
	}
	must(t, os.Chmod(filepath.Join(w.Dir, "in", "a"), 0o555))
	return w
}

func inodeAt(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return st.Ino
}

func namesBelow(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if d.IsDir() {
			name += "/"
		} else if fi, err := d.Info(); err != nil || fi.Size() > 0 {
			name = fmt.Sprintf("%s, which is not empty: %v", name, err)
		}
		names = append(names, name)
		return err
	}))
	slices.Sort(names)
	return names
}

func TestAWorkspaceServesAgain(t *testing.T) {
	s := open(t, t.TempDir())
	w := used(t, s)
	before := inodeAt(t, w.Dir)
	must(t, w.Reuse())
	if left, err := os.ReadDir(filepath.Join(s.Dir(), "work")); err != nil || len(left) > 0 {
		t.Errorf("%d names were left in work/, %v", len(left), err)
	}
	other, err := s.Fresh(otherKey, 1, layout[1:])
	must(t, err)
	if inodeAt(t, other.Dir) == before {
		t.Error("it serves another layout")
	}
	again, err := s.Fresh(testKey, 1, layout)
	must(t, err)
	if inodeAt(t, again.Dir) != before || again.Dir != s.Path(testKey, 1) {
		t.Error("it does not serve again")
	}
	want := slices.Sorted(slices.Values(layout))
	if got := namesBelow(t, again.Dir); !slices.Equal(got, want) {
		t.Errorf("it has %q, want %q", got, want)
	}
	// It is locked from the moment in which it is there.
	must(t, open(t, s.Dir()).SweepWork(t.Context()))
	if _, err := os.Stat(again.Dir); err != nil {
		t.Error(err)
	}
	must(t, again.Release(), open(t, s.Dir()).SweepWork(t.Context()))
	if _, err := os.Stat(again.Dir); err == nil {
		t.Error("nobody has it, and it stays")
	}
	must(t, other.Close())
}

// What a worker has done to a workspace is not handed on.
func TestWhatAWorkerHasAlteredDoesNotServeAgain(t *testing.T) {
	for name, alter := range map[string]func(dir string) error{
		"a second name": func(dir string) error {
			return os.Link(filepath.Join(dir, "stdout"), filepath.Join(dir, "..", "..", "kept"))
		},
		"a link": func(dir string) error {
			return os.Rename(filepath.Join(dir, "handle.json"), filepath.Join(dir, "..", "..", "kept"))
		},
		"a mode":             func(dir string) error { return os.Chmod(filepath.Join(dir, "stdout"), 0o777) },
		"a folder as a file": func(dir string) error { return os.Rename(filepath.Join(dir, "stdout"), filepath.Join(dir, "in", "b")) },
		"an attribute":       func(dir string) error { return unix.Setxattr(filepath.Join(dir, "out"), "user.x", []byte("x"), 0) },
		"a folder of many": func(dir string) error {
			for i := range 100 {
				if err := os.WriteFile(filepath.Join(dir, "tmp", fmt.Sprint(i)), nil, 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		"no folder": func(dir string) error {
			return os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, "..", "..", "moved"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			w := used(t, s)
			stdout := inodeAt(t, filepath.Join(w.Dir, "stdout"))
			if err := alter(w.Dir); err != nil {
				if !errors.Is(err, unix.ENOTSUP) {
					t.Fatal(err)
				}
				t.Skip(err) // no attributes here
			}
			if name == "a link" {
				must(t, os.Symlink("../../kept", filepath.Join(w.Dir, "handle.json")))
			}
			must(t, w.Reuse())
			w, err := s.Fresh(testKey, 1, layout)
			must(t, err)
			for _, n := range namesBelow(t, w.Dir) {
				if !slices.Contains(layout, n) {
					t.Errorf("%s was handed on", n)
				}
			}
			now, err := os.Lstat(filepath.Join(w.Dir, "stdout"))
			if err == nil && (name == "a second name" || name == "a mode") && inodeAt(t, filepath.Join(w.Dir, "stdout")) == stdout {
				t.Errorf("the same file was handed on: %v", now.Mode())
			}
			must(t, w.Close())
		})
	}
}

// A build that lost its lease may work beside.
func TestAnotherAttemptIsNotMovedAway(t *testing.T) {
	s := open(t, t.TempDir())
	w := used(t, s)
	other, err := open(t, s.Dir()).Workspace(testKey, 2)
	must(t, err, w.Reuse())
	if got, err := s.Attempts(testKey); err != nil || !slices.Equal(got, []int{2}) {
		t.Errorf("Attempts = %v, %v", got, err)
	}
	must(t, other.Close())
}
