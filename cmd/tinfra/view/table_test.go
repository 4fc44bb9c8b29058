package view

import (
	"strings"
	"testing"
)

func TestLastColumnFitsTheTerminal(t *testing.T) {
	head := []string{"STAGE", "PLAN", "REASON"}
	long := strings.Repeat("a", 64)
	for _, c := range []struct {
		name  string
		width int
		row   []string
		want  int
	}{
		{"what is left", 80, []string{"gptq.int4", "run", "params.bits changed: 4 → 2"}, 80 - 9 - 2 - 4 - 2},
		{"colours have no width", 80, []string{"gptq.int4", "\x1b[32mhit\x1b[0m", "in the cache"}, 80 - 9 - 2 - 4 - 2},
		{"no room to read", 30, []string{"perplexity.int4", "run", "x"}, 0},
		{"a digest stays whole", 80, []string{"gptq.int4", "run", "sha256:" + long}, 0},
		{"a short row", 80, []string{"gptq.int4"}, 80 - 9 - 2 - 4 - 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := lastRoom(c.width, head, [][]string{c.row}); got != c.want {
				t.Errorf("%d columns, want %d", got, c.want)
			}
		})
	}
}

func TestMetricsOfALine(t *testing.T) {
	m := map[string]float64{"nll": 3.5, "perplexity": 22.68, "perplexity_low": 22, "perplexity_high": 23, "bytes": 2048, "a_high": 1, "z": 2}
	got := strings.Join(Metrics(m, "perplexity", "nll", "unheard"), "  ")
	if want := "perplexity 22.68  nll 3.5  a_high 1  bytes 2.0 KiB  …"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
