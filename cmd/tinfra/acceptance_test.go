//go:build acceptance

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// accepted is a command line of tinfra, run to its end.
type accepted struct {
	code           int
	stdout, stderr string
	took           time.Duration
}

func accept(t *testing.T, cache string, args ...string) accepted {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(self)
	cmd.Args = append([]string{"tinfra"}, args...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "TINFRA_CACHE="+cache)
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	err = cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	got := accepted{cmd.ProcessState.ExitCode(), out.String(), errs.String(), time.Since(began)}
	t.Logf("tinfra %s: exit %d after %.2f s\n%s", strings.Join(args, " "), got.code, got.took.Seconds(), got.stdout)
	return got
}

func (a accepted) must(t *testing.T, code int) {
	t.Helper()
	if a.code != code {
		t.Fatalf("exit %d, want %d\n%s", a.code, code, a.stderr)
	}
}

// TestAcceptance is the README's build on a real model: cold, warm, spoilt, and forgiven.
func TestAcceptance(t *testing.T) {
	const recipe = "recipes/smollm2-int4.hcl"
	cache := os.Getenv("TINFRA_ACCEPTANCE_CACHE") // kept for a look at it; by default a fresh one
	if cache == "" {
		cache = t.TempDir()
	}
	accept(t, cache, "env", "install", "fetch", "torch").must(t, exitOK)

	cold := accept(t, cache, "build", recipe, "--locked")
	cold.must(t, exitOK)
	base, int4 := metric(t, cache, recipe, "perplexity.base", "perplexity"), metric(t, cache, recipe, "perplexity.int4", "perplexity")
	if base < 15 || base > 30 || int4 <= base || int4 > base+12 {
		t.Errorf("perplexities %.3f and %.3f are not those of this model", base, int4)
	}

	warm := accept(t, cache, "build", recipe, "--locked")
	warm.must(t, exitOK)
	if !strings.Contains(warm.stdout, "8 hit") || strings.Contains(warm.stderr, "start ") {
		t.Errorf("the second build ran something:\n%s", warm.stderr)
	}
	t.Logf("cold %v, warm %v", cold.took, warm.took) // told, not judged: machines are noisy

	accept(t, cache, "build", recipe, "--locked", "--var", "bits=2").must(t, exitRequire)
	forgiven := accept(t, cache, "build", recipe, "--locked", "--var", "bits=2", "--var", "max_loss=1e12")
	forgiven.must(t, exitOK)
	if !strings.Contains(forgiven.stdout, "8 hit") || strings.Contains(forgiven.stderr, "start ") {
		t.Errorf("a raised threshold ran something:\n%s", forgiven.stderr)
	}
	accept(t, cache, "cache", "verify").must(t, exitOK)
}

func metric(t *testing.T, cache, recipe, address, name string) float64 {
	t.Helper()
	shown := accept(t, cache, "show", address, "--recipe", recipe, "--json")
	shown.must(t, exitOK)
	var step struct {
		Result struct{ Metrics map[string]float64 }
	}
	if err := json.Unmarshal([]byte(shown.stdout), &step); err != nil {
		t.Fatal(err)
	}
	v, ok := step.Result.Metrics[name]
	if !ok {
		t.Fatalf("%s has no metric %s", address, name)
	}
	return v
}
