//go:build acceptance

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

const acceptedRecipe = "recipes/smollm2-int4.hcl"

// TestAcceptance is the README's build on a real model, cold and warm: the whole chain with fewer samples, tokens and timings, or
// as it stands with TINFRA_ACCEPTANCE=full. What a graph may lose against its checkpoint is required by the recipe itself.
func TestAcceptance(t *testing.T) {
	full := os.Getenv("TINFRA_ACCEPTANCE") == "full"
	cache := os.Getenv("TINFRA_ACCEPTANCE_CACHE") // kept for a look at it; by default a fresh one
	if cache == "" {
		cache = t.TempDir()
	}
	build := []string{"build", acceptedRecipe, "--locked"}
	if !full {
		build = append(build, "--var", "eval_tokens=4096", "--var", "samples=16", "--var", "batches=[1]")
	}
	again := func(more ...string) []string { return append(slices.Clone(build), more...) }
	accept(t, cache, "env", "install", "fetch", "torch").must(t, exitOK)

	cold := accept(t, cache, build...)
	cold.must(t, exitOK)
	warm := accept(t, cache, again("--max-runs", "0")...)
	warm.must(t, exitOK)
	if strings.Contains(warm.stdout, " ran ") || strings.Contains(warm.stderr, "start ") {
		t.Errorf("the second build ran something:\n%s", warm.stderr)
	}
	t.Logf("cold %v, warm %v", cold.took, warm.took) // told, not judged: machines are noisy
	base := metric(t, cache, "perplexity.base", "perplexity")
	if base < 15 || base > 30 {
		t.Errorf("perplexity %.3f is not that of this model", base)
	}
	checkSchemes(t, cache, base, full)

	accept(t, cache, again("--max-runs", "0", "--var", "max_loss=0.001")...).must(t, exitRequire)
	other := accept(t, cache, again("--max-runs", "2", "--set", "module.int4.rtn.int4.ignore=[\"lm_head\", \"re:.*down_proj\"]")...)
	other.must(t, exitUsage) // two instances of rtn, and all that is made of them
	if !strings.Contains(other.stderr, `module.int4.compare.int4["rtn_symmetric"]`) {
		t.Errorf("what would run is not said:\n%s", other.stderr)
	}
	pages := t.TempDir()
	accept(t, cache, "report", acceptedRecipe, "-o", pages).must(t, exitOK)
	if made, err := filepath.Glob(filepath.Join(pages, "*.html")); err != nil || len(made) != 1 {
		t.Errorf("the report wrote %v, %v", made, err)
	}
	accept(t, cache, "cache", "verify").must(t, exitOK)
}

// checkSchemes holds each scheme to what it is for: to lose less than rounding does. How much less is asked of the whole run
// only, where there is calibration enough.
func checkSchemes(t *testing.T, cache string, base float64, full bool) {
	t.Helper()
	of := func(scheme string) float64 {
		return metric(t, cache, `perplexity.int4["`+scheme+`"]`, "perplexity")
	}
	least := 0.0
	if full {
		least = 0.35
	}
	for better, rounded := range map[string]string{"gptq": "rtn_symmetric", "awq": "rtn_asymmetric"} {
		closed := (of(rounded) - of(better)) / (of(rounded) - base)
		t.Logf("%s closes %.1f %% of the gap that %s leaves", better, 100*closed, rounded)
		if closed < least {
			t.Errorf("%s: %.3f, %s: %.3f, the model: %.3f: %.3f of the gap is closed, want %.2f", better, of(better), rounded, of(rounded),
				base, closed, least)
		}
	}
	hf := metric(t, cache, `benchmark.transformers["b1"]`, "decode_tokens_per_second")
	int4 := metric(t, cache, `benchmark.onnx["gptq_b1"]`, "decode_tokens_per_second")
	t.Logf("decode: %.1f token/s by transformers, %.1f by onnxruntime-genai in INT4", hf, int4) // told, not judged
}

// metric is that of a stage of the module in the last build.
func metric(t *testing.T, cache, address, name string) float64 {
	t.Helper()
	shown := accept(t, cache, "show", "module.int4."+address, "--recipe", acceptedRecipe, "--json")
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
