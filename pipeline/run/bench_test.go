package run_test

import (
	"fmt"
	"strings"
	"testing"
)

func manyStages(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "stage \"good\" \"s%04d\" { salt = %q }\n", i, fmt.Sprint(i))
	}
	return text.String()
}

// What a build of 1,000 stages costs when nothing has changed, the plan not counted.
func BenchmarkThousandHits(b *testing.B) {
	x := newBench(b, kinds{"good": {"", hello}}, manyStages(1000))
	x.ok()
	for b.Loop() {
		b.StopTimer()
		p := x.makePlan()
		b.StartTimer()
		if _, err := x.execute(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
}

// What a stage costs beside its worker: workspace, supervisor, namespace, publishing.
func BenchmarkStage(b *testing.B) {
	x := newBench(b, kinds{"good": {"", hello}}, manyStages(1))
	x.force = []string{"good.s0000"}
	for b.Loop() {
		x.ok()
	}
}
