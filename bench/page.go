package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
)

// page is docs/performance.md, or the part of it that was measured.
func page(results []result, machine string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- Written by `make bench`. -->\n\n%s\n", machine)
	for _, r := range results {
		fmt.Fprintf(&b, "\n### %s: %s, %s stages\n\n%s\n", r.Name, r.Doc, r.Graph, r.table())
	}
	return b.String()
}

// table has a line for each tool; times are medians, with the least and the most of all rounds.
func (r result) table() string {
	t := table.NewWriter()
	t.AppendHeader(table.Row{"", "wall", "against tinfra", "CPU", "memory"})
	own := spreadOf(r.Samples["tinfra"], func(s sample) time.Duration { return s.Wall }).Median
	for _, name := range r.Peers {
		samples := r.Samples[name]
		if len(samples) == 0 {
			continue
		}
		wall := spreadOf(samples, func(s sample) time.Duration { return s.Wall })
		cpu := spreadOf(samples, func(s sample) time.Duration { return s.CPU })
		memory := spreadOf(samples, func(s sample) int64 { return s.Memory })
		t.AppendRow(table.Row{name, times(wall), fmt.Sprintf("%.2f", float64(wall.Median)/float64(own)), times(cpu), humanize.IBytes(uint64(memory.Median))})
	}
	return t.RenderMarkdown() + fmt.Sprintf("\n\n%d rounds, one tool after the other in each.", r.Rounds)
}

func times(s spread[time.Duration]) string {
	return fmt.Sprintf("%s (%s – %s)", short(s.Median), short(s.Min), short(s.Max))
}

func short(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
