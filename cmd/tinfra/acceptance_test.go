//go:build acceptance

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestAcceptance is what a new user does: the README's commands on the recipes of this repository, in a copy of them,
// with an empty cache. It takes minutes and needs the package registries; `make accept` runs it.
func TestAcceptance(t *testing.T) {
	recipes, err := filepath.Abs(filepath.Join("..", "..", "recipes"))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "acceptance"),
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			// The home of the caller: what configures pip and uv there holds, as it does for a new user.
			env.Setenv("HOME", os.Getenv("HOME"))
			for _, name := range os.Environ() {
				if name, value, ok := passedOn(name); ok {
					env.Setenv(name, value)
				}
			}
			env.Setenv("TINFRA_CACHE", filepath.Join(env.WorkDir, "cache"))
			return os.CopyFS(filepath.Join(env.WorkDir, "recipes"), os.DirFS(recipes))
		},
	})
}
