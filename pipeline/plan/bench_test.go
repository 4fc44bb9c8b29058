package plan_test

import (
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
)

// thousand is a recipe of 1,000 stages: 500 that make something, each with one that reads it.
func thousand(t testing.TB) *world {
	w := newWorld(t)
	w.kinds["make_model_hf/stage.hcl"] = makeKind("make_model_hf", "model/hf")
	w.recipe = `
stage "make_model_hf" "m" {
  for_each = toset([for i in range(500) : tostring(i)])
  seed     = tonumber(each.key)
}
stage "shape" "s" {
  for_each = make_model_hf.m
  name     = "a"
  model    = each.value.out
}
`
	return w
}

// BenchmarkWarmPlan is a plan of stages that are all in the cache: 1,000 in memory, 100 on disk (filling a disk with more
// takes longer than the benchmark, since each blob goes to stable storage).
func BenchmarkWarmPlan(b *testing.B) {
	for _, place := range []string{"mem", "disk"} {
		b.Run(place, func(b *testing.B) {
			w := thousand(b)
			if place == "disk" {
				w.recipe = strings.Replace(w.recipe, "500", "50", 1)
				store, err := disk.Open(b.TempDir())
				if err != nil {
					b.Fatal(err)
				}
				defer store.Close()
				w.cache = artifacts.NewCache(store, store)
			}
			warmPlan(b, w)
		})
	}
}

func warmPlan(b *testing.B, w *world) {
	w.build(b)
	g, o := w.graph(b), w.options(b)
	b.ReportAllocs()
	for b.Loop() {
		p, err := plan.Make(b.Context(), g, o)
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range p.Steps {
			if s.State != plan.Hit {
				b.Fatal(s.Reason)
			}
		}
	}
}

// BenchmarkColdPlan is the same with nothing in the cache.
func BenchmarkColdPlan(b *testing.B) {
	w := thousand(b)
	g, o := w.graph(b), w.options(b)
	for b.Loop() {
		if _, err := plan.Make(b.Context(), g, o); err != nil {
			b.Fatal(err)
		}
	}
}
