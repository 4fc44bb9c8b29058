package env

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Nobody has vouched for what a pack says: least of all for a program that it would have run.
func TestAPackNamesNoProgramThatIsRun(t *testing.T) {
	dir := t.TempDir()
	ran := filepath.Join(dir, "ran")
	evil := filepath.Join(dir, "python3")
	if err := os.WriteFile(evil, []byte("#!/bin/sh\ntouch "+ran+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := packable(t, t.TempDir(), true)
	minor := here(t).Python
	for _, program := range []string{evil, "./python3", "python3/../" + evil} {
		parts := packOf(t, packList{Format: packFormat, Name: "tiny", Interpreter: program, Description: description{Python: minor}})
		_, err := s.Unpack(t.Context(), parts, Onto{Overlay: filepath.Join(dir, "overlay")}, func(string) {})
		if err == nil || !strings.Contains(err.Error(), "which is none of this machine's PATH: say by --python which one it is for") {
			t.Errorf("%s: %v", program, err)
		}
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a program that the pack names was run")
	}
}

// The block for tinfra.hcl names what the packages were left out for, and not what that was made of.
func TestTheInterpreterOfAnOverlayIsTheOneThatWasMeant(t *testing.T) {
	python := machinePython(t)
	minor := here(t).Python
	link := filepath.Join(t.TempDir(), "python"+minor)
	if err := os.Symlink(python, link); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		packed string // for this interpreter
		onto   string
		path   bool // the link's folder is on PATH
		own    string
		want   string
	}{
		"on PATH":         {packed: link, path: true, want: link},
		"by the flag":     {packed: "/elsewhere/bin/python3", onto: link, want: link},
		"by tinfra.hcl":   {packed: "/elsewhere/bin/python3", own: link, want: link},
		"for no such one": {want: python},
	} {
		t.Run(name, func(t *testing.T) {
			if c.path {
				t.Setenv("PATH", filepath.Dir(link)+":"+os.Getenv("PATH"))
			}
			s := packable(t, t.TempDir(), true)
			if c.own != "" {
				s.Use(Local{Own: map[string]Own{"tiny": {Python: c.own}}})
			}
			found, err := s.interpreterFor(t.Context(), &packList{Name: "tiny", Interpreter: c.packed, Description: description{Python: minor}}, c.onto)
			if err != nil || found.Path != c.want {
				t.Errorf("%+v, %v, want %s", found, err, c.want)
			}
			if _, err := s.interpreterFor(t.Context(), &packList{Name: "tiny", Description: description{Python: "3.1"}}, link); err == nil ||
				!strings.Contains(err.Error(), "it was packed for Python 3.1; "+link+" is Python "+minor) {
				t.Errorf("another version: %v", err)
			}
		})
	}
}

// Where a pack goes is looked at before anything is brought for it.
func TestAPackThatCannotBeWrittenIsNotMade(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "pack")
	if err := os.WriteFile(there+".000", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := packable(t, filepath.Join(dir, "cache"), true)
	for out, words := range map[string]string{there: "pack.000 is there already", filepath.Join(dir, "no", "pack"): "there is no folder " + filepath.Join(dir, "no")} {
		_, err := s.Pack(t.Context(), PackOptions{Name: "tiny", Out: out}, func(line string) { t.Errorf("%s: %s", out, line) })
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %q", err, words)
		}
	}
}

func TestUnpackingOnAFullDiskSaysWhatToDo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may mount a small disk")
	}
	made := pack(t, packable(t, packingCache(), false), PackOptions{})
	cache := t.TempDir()
	if err := syscall.Mount("tmpfs", cache, "tmpfs", 0, "size=16k"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Unmount(cache, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	_, err := packable(t, cache, true).Unpack(t.Context(), made.Files, Onto{}, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "no space left on the disk: free some, or set TINFRA_CACHE") {
		t.Errorf("%v", err)
	}
	onlyEnvironments(t, cache)
}
