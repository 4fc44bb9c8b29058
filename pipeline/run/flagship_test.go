package run_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/graph"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages"
	"github.com/Ruihan11/tiny-infra/stages/env"
)

// standIn takes the place of Python in every environment: into each output it writes what it was asked for, and it
// reports a speed that grows with the batch, INT4 twice as fast as all else.
const standIn = `#!/bin/sh
asked=$(cat request.json)
for out in out/*/; do sha256sum < request.json > "$out/made"; done
metric() { echo "{\"protocol\":1,\"metrics\":{$1}}" > tmp/result; mv tmp/result result.json; exit 0; }
case "$asked" in
*'"kind":"perplexity"'*) metric '"perplexity":130000' ;;
*'"kind":"onnx_check"'*) metric '"relative_difference":0.01' ;;
*'"entry":"humming"'*) metric '"decode_tokens_per_second":2400' ;;
*'"kind":"contest_entry"'*) metric '"decode_tokens_per_second":1200' ;;
*) metric ;;
esac
`

// standInPython is the environment of every kind.
type standInPython struct{ path string }

func (standInPython) Blob(_ context.Context, name string) ([]byte, error) {
	return []byte("stand-in for " + name), nil
}

func (s standInPython) Install(context.Context, string, func(string)) (env.Ready, error) {
	return env.Ready{Python: s.path}, nil
}

// flagship is a bench for a recipe of the repository, on a machine with one GPU.
func flagship(t *testing.T) *bench {
	t.Helper()
	b := newBench(t, nil, "")
	python := b.path("python3")
	if err := os.WriteFile(python, []byte(standIn), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	b.options.Envs = standInPython{python}
	b.facts = map[string]string{
		"os": "linux", "arch": "amd64", "cpu.model": "x", "cpu.count": "16", "memory_gib": "128", "gpu.count": "1", "gpu.0.id": "0",
		"gpu.0.name": "NVIDIA H100 80GB HBM3", "gpu.0.memory_gib": "79.6", "gpu.arch": "sm_90", "gpu.driver": "580.65.06", "gpu.driver.branch": "580",
	}
	return b
}

// planRecipe plans a recipe of the repository, as it stands.
func (b *bench) planRecipe(name string, vars map[string]string) *plan.Plan {
	b.t.Helper()
	catalog, err := stages.Builtin()
	if err != nil {
		b.t.Fatal(err)
	}
	r, diags := recipe.Load(filepath.Join("..", "..", "recipes", name), recipe.Options{Catalog: catalog, Vars: vars})
	if diags.HasErrors() {
		b.t.Fatal(diags)
	}
	g, diags := graph.Build(r)
	if diags.HasErrors() {
		b.t.Fatal(diags)
	}
	p, err := plan.Make(b.t.Context(), g, plan.Options{
		Cache: b.cache, Catalog: catalog, Files: b.store.Files(), Envs: b.options.Envs.(standInPython), Facts: b.facts, Force: b.forced,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bench) buildRecipe(name string, vars map[string]string) map[string]artifacts.Step {
	b.t.Helper()
	made, err := b.execute(b.t.Context(), b.planRecipe(name, vars))
	if err != nil {
		b.t.Fatal(err)
	}
	return steps(made)
}

// Of the flagship, a second build runs nothing, and another group size runs what is made of groups and nothing before it.
func TestGroupSizeRunsWhatIsMadeOfGroups(t *testing.T) {
	b := flagship(t)
	const name = "llama3-synthetic.hcl"
	for address, s := range b.buildRecipe(name, nil) {
		if s.State != artifacts.Ran {
			t.Errorf("at first %s is %s (%s)", address, s.State, s.Reason)
		}
	}
	for address, s := range b.buildRecipe(name, nil) {
		if s.State != artifacts.Hit {
			t.Errorf("the second time %s is %s (%s)", address, s.State, s.Reason)
		}
	}
	again := b.buildRecipe(name, map[string]string{"group_size": "64"})
	var ran []string
	for address, s := range again {
		if s.State == artifacts.Ran {
			ran = append(ran, strings.TrimPrefix(address, "module.gpu."))
		}
	}
	slices.Sort(ran)
	var want []string
	for address := range again {
		address = strings.TrimPrefix(address, "module.gpu.")
		grouped := strings.Contains(address, "gptq") || strings.Contains(address, "awq")
		if grouped && !strings.HasPrefix(address, "calibrate.") || strings.HasPrefix(address, "contest") {
			want = append(want, address)
		}
	}
	slices.Sort(want)
	if !slices.Equal(ran, want) || len(want) == len(again) {
		t.Errorf("it ran\n%s\nwant\n%s", strings.Join(ran, "\n"), strings.Join(want, "\n"))
	}
}

// Engines can be built for other batches than those that are timed, each profile for all batches up to its own.
func TestEnginesOfOtherBatches(t *testing.T) {
	b := flagship(t)
	const name = "llama3-synthetic.hcl"
	vars := map[string]string{"int4_engines": `["gptq", "awq"]`}
	b.buildRecipe(name, vars)
	p := b.planRecipe(name, vars)
	for _, engine := range []string{`tensorrt.fp16`, `tensorrt.quantized["gptq"]`, `tensorrt.quantized["awq"]`} {
		params := string(p.Step("module.gpu." + engine).Action.Params)
		inspected := fmt.Sprintf(`"inspect":%t`, engine == "tensorrt.fp16")
		if !strings.Contains(params, inspected) || !strings.Contains(params, `"prefill":64`) {
			t.Errorf("%s is asked for %s", engine, params)
		}
		if !strings.Contains(params, `"decode":[{"batch":8,"length":288},{"batch":32,"length":288}]`) || !strings.Contains(params, `"spans":true`) {
			t.Errorf("%s is asked for %s", engine, params)
		}
	}
	if shapes := string(p.Step(`module.gpu.onnx_check.engine["fp16"]`).Action.Params); !strings.Contains(shapes, `"batch":1,`) {
		t.Errorf("batch 1 is not checked: %s", shapes)
	}
}

// Three of those that load the model have room beside each other, and beside them what is being stored.
func TestThreeStagesShareTheGPU(t *testing.T) {
	b := flagship(t)
	p := b.planRecipe("llama3-synthetic.hcl", nil)
	for _, address := range []string{`gptq.int4`, `awq.int4`, `bnb.model["nf4"]`, `perplexity.base`, `perplexity.quantized["awq"]`, `onnx_decoder.quantized["gptq"]`} {
		n := p.Step("module.gpu." + address).Node.Stage.Needs
		if n.GPUsMin != 1 || n.Exclusive || n.GPUMemoryGiB == 0 || 3*n.GPUMemoryGiB > 79.6 || 3*n.CPUs > 15 || 3*n.MemoryGiB > 124 {
			t.Errorf("%s needs %s", address, n)
		}
	}
	for _, address := range []string{`tensorrt.fp16`, `tensorrt.quantized["gptq"]`} {
		if n := p.Step("module.gpu." + address).Node.Stage.Needs; n.GPUsMin != 1 || n.GPUMemoryGiB != 0 {
			t.Errorf("%s has company on its GPU: %s", address, n)
		}
	}
	if n := p.Step("module.gpu.contest.speed").Node.Stage.Needs; !n.Exclusive {
		t.Errorf("the contest needs %s", n)
	}
}

// The recipe of the real model is for smaller GPUs too, where what they cannot hold is left out.
func TestTheRealModelOnASmallerGPU(t *testing.T) {
	catalog, err := stages.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{"gpu_memory_gib": "{ load = 22, check = 40 }"}
	r, diags := recipe.Load(filepath.Join("..", "..", "recipes", "llama3-int4.hcl"), recipe.Options{Catalog: catalog, Vars: vars})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	for address, want := range map[string]float64{"gptq.int4": 22, `perplexity.quantized["awq"]`: 22, `onnx_check.engine["gptq"]`: 40} {
		if has := r.Stage("module.gpu." + address).Needs.GPUMemoryGiB; has != want {
			t.Errorf("%s takes %g GiB of its GPU", address, has)
		}
	}
}
