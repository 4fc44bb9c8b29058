package main

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestSeedIsWhatABuildMakes: tinfra takes a seeded cache for its own, and finds no fault with it.
func TestSeedIsWhatABuildMakes(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "tinfra")
	if out, err := exec.Command("go", "build", "-o", program, "../cmd/tinfra").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	m, err := newMeter(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSeed(t.Context(), m, program, dir)
	if err != nil {
		t.Fatal(err)
	}
	g := graph{3, 4}
	if _, err := s.graph(g); err != nil {
		t.Fatal(err)
	}
	if err := project(tinfra{program}, g, filepath.Join(dir, "recipe")); err != nil {
		t.Fatal(err)
	}
	tell := func(args ...string) string {
		t.Helper()
		_, said, err := m.measure(t.Context(), filepath.Join(dir, "recipe"), append([]string{program}, args...), tinfraEnviron(dir))
		if err != nil {
			t.Fatal(err)
		}
		return said
	}
	if err := ranOnly(tell("build", "recipe.hcl", "--plain"), ""); err != nil {
		t.Error(err)
	}
	if _, _, err := s.history(10); err != nil {
		t.Fatal(err)
	}
	tell("cache", "verify")
}
