//go:build gpu

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// These run on a machine with a GPU, from one binary (go test -c -tags gpu ./cmd/tinfra): TINFRA_GPU_PROJECT names the
// folder that holds recipes/ and tinfra.hcl, TINFRA_CACHE a cache that is kept.

// onGPU is tinfra on this machine, in that folder.
type onGPU struct {
	*testing.T
	project, cache, path string
}

func newOnGPU(t *testing.T) onGPU {
	t.Helper()
	cache := os.Getenv("TINFRA_CACHE")
	if cache == "" {
		cache = t.TempDir()
	}
	return onGPU{t, cmp.Or(os.Getenv("TINFRA_GPU_PROJECT"), filepath.Join("..", "..")), cache, os.Getenv("PATH")}
}

// run is a command line of tinfra, which must end with that code.
func (g onGPU) run(code int, args ...string) (stdout, stderr string) {
	g.Helper()
	self, err := os.Executable()
	if err != nil {
		g.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(g.Context(), self)
	cmd.Args = append([]string{"tinfra"}, args...)
	cmd.Dir = g.project
	cmd.Env = append(os.Environ(), "TINFRA_CACHE="+g.cache, "PATH="+g.path)
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exited *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exited) {
		g.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		g.Fatalf("tinfra %s: exit %d, want %d\n%s\n%s", strings.Join(args, " "), got, code, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// JSON is the same with what it writes read into v.
func (g onGPU) JSON(v any, args ...string) {
	g.Helper()
	stdout, _ := g.run(exitOK, append(args, "--json")...)
	if err := json.Unmarshal([]byte(stdout), v); err != nil {
		g.Fatalf("tinfra %s: %v\n%s", strings.Join(args, " "), err, stdout)
	}
}

const tinyRecipe = "recipes/llama3-tiny.hcl"

// states is what a plan says of each stage.
func (g onGPU) states(more ...string) map[string]string {
	g.Helper()
	var p struct {
		Stages []struct{ Stage, State string }
	}
	g.JSON(&p, append([]string{"plan", tinyRecipe, "--offline"}, more...)...)
	states := map[string]string{}
	for _, s := range p.Stages {
		states[s.Stage] = s.State
	}
	return states
}

func (g onGPU) metrics(stage string) map[string]float64 {
	g.Helper()
	var step struct {
		Result struct{ Metrics map[string]float64 }
	}
	g.JSON(&step, "show", stage, "--recipe", tinyRecipe)
	return step.Result.Metrics
}

func TestGPUDoctor(t *testing.T) {
	var x struct {
		Facts map[string]string
		Kinds []kindLacksJSON
	}
	newOnGPU(t).JSON(&x, "doctor", "--offline")
	for _, fact := range []string{"gpu.0.name", "gpu.driver", "gpu.driver.branch", "gpu.cuda"} {
		if x.Facts[fact] == "" {
			t.Errorf("doctor says nothing of %s", fact)
		}
	}
	if !strings.HasPrefix(x.Facts["gpu.arch"], "sm_") || x.Facts["gpu.count"] == "0" {
		t.Errorf("it says %v", x.Facts)
	}
	for _, kind := range []string{"bnb", "tensorrt", "contest", "contest_entry"} { // others may do with a part of what their environment has
		at := slices.IndexFunc(x.Kinds, func(k kindLacksJSON) bool { return k.Kind == kind })
		if at < 0 {
			t.Errorf("doctor knows no kind %s", kind)
		} else if lacks := x.Kinds[at].Lacks; len(lacks) > 0 {
			t.Errorf("%s cannot run here: %s", kind, strings.Join(lacks, ", "))
		}
	}
	t.Logf("%v", x.Facts)
}

// TestGPUTiny is the flagship at toy size: all of it, then nothing, then what another group size decides.
func TestGPUTiny(t *testing.T) {
	g := newOnGPU(t)
	g.run(exitOK, "build", tinyRecipe, "--offline")
	stdout, _ := g.run(exitOK, "build", tinyRecipe, "--offline", "--max-runs", "0")
	if strings.Contains(stdout, " ran") {
		t.Errorf("the second build ran something:\n%s", stdout)
	}
	for stage, state := range g.states("--var", "group_size=32") {
		address := strings.TrimPrefix(stage, "module.gpu.")
		grouped := strings.Contains(address, "gptq") || strings.Contains(address, "awq")
		runs := grouped && !strings.HasPrefix(address, "calibrate.") || strings.HasPrefix(address, "contest")
		if (state != "hit") != runs {
			t.Errorf("with another group size %s is %s", stage, state)
		}
	}
	for _, stage := range []string{"gptq.int4", "awq.int4", `int8.model["int8"]`, `bnb.model["nf4"]`, `bnb.model["llm_int8"]`} {
		if m := g.metrics("module.gpu." + stage); m["peak_gpu_bytes"] <= 0 {
			t.Errorf("%s does not say what it took of the GPU: %v", stage, m)
		}
	}
	for _, engine := range []string{"fp16", "bf16", "gptq", "awq", "int8"} {
		m := g.metrics(`module.gpu.onnx_check.engine["` + engine + `"]`)
		t.Logf("%s: %v", engine, m)
		if d, ok := m["relative_difference"]; !ok || d > 0.05 {
			t.Errorf("the engine of %s is %v off", engine, d)
		}
	}
}

// TestGPUEngineElsewhere holds an engine of this GPU against the facts of another.
func TestGPUEngineElsewhere(t *testing.T) {
	g := newOnGPU(t)
	g.run(exitOK, "build", tinyRecipe, "--offline", "--target", "module.gpu.tensorrt.fp16")
	other := t.TempDir()
	smi := "#!/bin/sh\ncase \"$1\" in --version) echo 'CUDA Version : 13.0' ;; *) echo '0, GPU-aa11, NVIDIA A100, 81559, 8.0, 580.65.06' ;; esac\n"
	if err := os.WriteFile(filepath.Join(other, "nvidia-smi"), []byte(smi), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	g.path = other + string(os.PathListSeparator) + g.path
	_, stderr := g.run(exitOK, "get", "module.gpu.tensorrt.fp16.engine", "--recipe", tinyRecipe, "-o", filepath.Join(t.TempDir(), "engine"))
	if !strings.Contains(stderr, "sm_90") {
		t.Errorf("get does not warn of another GPU's engine: %s", stderr)
	}
}
