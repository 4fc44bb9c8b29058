package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSoakMisplaced puts a folder at the name of a file and a file at that of a folder, empty and not. verify names it, repair
// frees the name and loses nothing that lay there, and all builds go on; over an empty folder they do so without it.
func TestSoakMisplaced(t *testing.T) {
	s := newSample(t)
	objects := s.objects(t)
	folder := map[string]string{"lock file": "pointers.lock", "held": "holds.lock", "collecting": "gc.lock", "lease": "leases/" + strings.TrimPrefix(objects["keys"].name, "keys/")}
	for _, what := range []string{"keys", "runs", "records", "builds", "old builds", "refs"} {
		folder[what] = objects[what].name
	}
	for what, name := range folder {
		s.misplaced(t, "a folder for "+what, name, func(path string, empty bool) error {
			if err := os.MkdirAll(path, 0o755); err != nil || empty {
				return err
			}
			return os.WriteFile(filepath.Join(path, "mine"), []byte("mine"), 0o644)
		})
	}
	for _, name := range []string{"keys", "refs", "running", "runs", "records", "builds", "lost", "hash", "checkpoints", "env", "tools"} {
		s.misplaced(t, "a file for "+name, name, func(path string, empty bool) error {
			return os.WriteFile(path, []byte(strings.Repeat("mine", map[bool]int{false: 1}[empty])), 0o644)
		})
	}
}

func (s *sample) misplaced(t *testing.T, what, name string, put func(path string, empty bool) error) {
	t.Helper()
	for how, empty := range map[string]bool{"empty": true, "not empty": false} {
		if !soak && empty != strings.HasPrefix(what, "a folder") {
			continue // the short form takes what a build mends, and what only the repair does
		}
		t.Run(what+"/"+how, func(t *testing.T) {
			t.Parallel()
			damaged := func() string {
				cache := s.copyOf(t)
				path := filepath.Join(cache, name)
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
				if err := put(path, empty); err != nil {
					t.Fatal(err)
				}
				return cache
			}
			isLock := strings.HasSuffix(name, ".lock")
			cache := damaged()
			if got := s.tinfra(cache, "cache", "verify"); !(isLock && empty) && (got.code != 5 || !strings.Contains(got.out, "malformed  "+name+": ")) {
				t.Errorf("verify: %+v", got)
			}
			repair := s.tinfra(cache, "cache", "verify", "--repair")
			if repair.code != 0 {
				t.Fatalf("repair: %+v", repair)
			}
			if got := s.tinfra(cache, "cache", "verify"); got.code != 0 {
				t.Fatalf("after the repair\n%s\nverify finds: %+v", repair.out, got)
			}
			if kept, _ := filepath.Glob(filepath.Join(cache, "aside", "*")); (len(kept) == 1) == empty {
				t.Errorf("kept: %q", kept)
			}
			if got := s.tinfra(cache, "build", s.recipe("a.hcl")); got.code != 0 {
				t.Errorf("building after the repair: %+v", got)
			}
			if strings.HasPrefix(what, "a folder") && empty && !strings.HasPrefix(name, "leases/") {
				cache = damaged()
				if got := s.tinfra(cache, "build", s.recipe("a.hcl")); got.code != 0 {
					t.Errorf("building without a repair: %+v", got)
				}
			}
		})
	}
}
