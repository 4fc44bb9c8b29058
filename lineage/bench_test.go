package lineage_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// BenchmarkOneMoreBuild is what a build of 1,000 stages costs the index: one of hits, and one of which ten ran again.
func BenchmarkOneMoreBuild(b *testing.B) {
	for _, ran := range []int{0, 10} {
		b.Run(fmt.Sprintf("%d ran", ran), func(b *testing.B) {
			w := newWorld(b)
			var steps []artifacts.Step
			for i := range 1000 {
				r := w.publish(what{kind: "make", params: fmt.Sprintf(`{"n":%d}`, i), outputs: map[string]string{"out": fmt.Sprint(i)}})
				steps = append(steps, step(fmt.Sprintf("make.s%d", i), r, artifacts.Hit))
			}
			w.build("/r/x.hcl", steps...)
			x := w.index()
			n := 0
			for b.Loop() {
				b.StopTimer()
				for i := range ran {
					n++
					r := w.publish(what{kind: "make", params: fmt.Sprintf(`{"n":%d,"again":%d}`, i, n), outputs: map[string]string{"out": fmt.Sprint(n)}})
					steps[i] = step(steps[i].Address, r, artifacts.Ran)
				}
				w.build("/r/x.hcl", slices.Clone(steps)...)
				b.StartTimer()
				w.must(x.Sync(b.Context(), w.cache))
			}
		})
	}
}
