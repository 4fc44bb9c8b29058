package run_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/graph"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// engines are a kind whose outputs are made for one GPU, and two that take them.
func engines() kinds {
	takes := func(port string) kind {
		return kind{"input \"in\" {\n  type = \"" + port + "\"\n  doc = \"x\"\n}\n", hello}
	}
	return kinds{
		"engine": {`
output "engine" {
  type = "engine/x"
  doc = "x"
}
output "report" {
  type = "result/engine"
  doc = "x"
}
`, `echo plan > out/engine/plan; echo layers > out/report/layers
echo '{"protocol":1,"labels":{"fits.gpu.arch":"sm_90","by":"us"}}' > tmp/r; mv tmp/r result.json
`},
		"use":  takes("engine/x"),
		"read": takes("result/engine"),
	}
}

const engineRecipe = `
stage "engine" "e" {}
stage "read" "r" { in = engine.e.report }
stage "use" "u" {
  in = engine.e.engine
}
`

// laid counts what is laid out: inputs are brought to this machine then.
type laid struct {
	run.Layer
	n atomic.Int64
}

func (l *laid) Lay(ctx context.Context, m *artifacts.Manifest, dir string) (func() error, error) {
	if strings.HasPrefix(m.Type, "engine/") {
		l.n.Add(1)
	}
	return l.Layer.Lay(ctx, m, dir)
}

func TestAnEngineThatDoesNotFitIsNotBrought(t *testing.T) {
	b := newBench(t, engines(), engineRecipe)
	b.facts["gpu.arch"] = "sm_90"
	b.recipe = strings.Split(engineRecipe, `stage "use"`)[0]
	got := b.ok()
	for port, want := range map[string]string{"engine": "sm_90", "report": ""} {
		m, err := b.cache.Manifest(t.Context(), b.record(got["engine.e"]).Outputs[port])
		if err != nil || m.Labels["fits.gpu.arch"] != want || m.Labels["by"] != "us" {
			t.Errorf("%s has labels %v, %v", port, m.Labels, err)
		}
	}

	layer := &laid{Layer: b.options.Layer}
	b.options.Layer, b.recipe = layer, engineRecipe
	fitting := b.makePlan()
	for arch, says := range map[string]string{
		"sm_80":        "engine.e.engine was made for gpu.arch sm_90; this machine has sm_80. Give engine.e another `salt`",
		"sm_121,sm_90": "engine.e.engine was made for gpu.arch sm_90; this machine has sm_121,sm_90 and may give a stage either: tinfra.hcl can name those of one sort",
		"":             "engine.e.engine was made for gpu.arch sm_90, which this machine does not have",
	} {
		if b.facts["gpu.arch"] = arch; arch == "" {
			delete(b.facts, "gpu.arch")
		}
		if err := b.unplanned(); err == nil || !strings.Contains(err.Error(), "r.hcl:5: Input does not fit this machine: "+says) {
			t.Errorf("%q: planned with %v", arch, err)
		}
		// A plan that was made for another machine.
		made, err := b.execute(t.Context(), fitting)
		var failed *run.Error
		if !errors.As(err, &failed) || failed.Exit != run.ExitStage || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %+v, %v", arch, made, err)
		}
		b.states(map[string]artifacts.State{"engine.e": "hit", "read.r": "hit", "use.u": "failed"}, steps(made))
		b.facts["gpu.arch"] = "sm_90"
		fitting = b.makePlan()
	}
	if n := layer.n.Load(); n != 0 {
		t.Errorf("it was brought %d times", n)
	}
	b.states(map[string]artifacts.State{"engine.e": "hit", "read.r": "hit", "use.u": "ran"}, b.ok())
	b.facts["gpu.arch"] = "sm_80" // no stage runs: nothing is to be brought
	b.states(map[string]artifacts.State{"engine.e": "hit", "read.r": "hit", "use.u": "hit"}, b.ok())
	b.recipe = strings.NewReplacer(`"e" {}`, `"e" { salt = "here" }`, `in = engine.e.engine`, "in = engine.e.engine\n  salt = \"here\"").Replace(engineRecipe)
	b.fails(run.ExitStage, "r.hcl:5: Input does not fit this machine") // this worker makes them for sm_90 wherever it runs
}

// unplanned is why no plan could be made.
func (b *bench) unplanned() error {
	b.t.Helper()
	catalog := b.kinds.catalog(b.t)
	r, diags := recipe.Load(b.path("r.hcl"), recipe.Options{Catalog: catalog})
	if diags.HasErrors() {
		b.t.Fatal(diags)
	}
	g, diags := graph.Build(r)
	if diags.HasErrors() {
		b.t.Fatal(diags)
	}
	_, err := plan.Make(b.t.Context(), g, plan.Options{
		Cache: b.cache, Catalog: catalog, Files: b.store.Files(), Envs: b.envs, Facts: b.facts, Force: b.forced,
	})
	return err
}
