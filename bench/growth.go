package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
)

// growth measures tinfra's verbs on caches of growing size, and writes the tables into the page between its two marks.
func (b *bench) growth(page string) error {
	var stages, builds []grown
	for _, n := range []int{1000, 3000, 10_000, 30_000, 100_000} {
		g, err := b.grownTo(graph{10, b.scaled(n / 10)}, 0)
		if err != nil {
			return err
		}
		stages = append(stages, g)
	}
	for _, n := range []int{10, 100, 1000, 10_000} {
		g, err := b.grownTo(graph{10, 10}, b.scaled(n))
		if err != nil {
			return err
		}
		builds = append(builds, g)
	}
	text := fmt.Sprintf("%s, load %s at the end, %s\n\n### Stages of a recipe that was built once\n\n%s\n\n### Builds of a recipe of 100 stages\n\n%s\n",
		machine(), load(), b.version(),
		growthTable("stages", stages, func(g grown) float64 { return float64(g.stages) }),
		growthTable("builds", builds, func(g grown) float64 { return float64(g.builds) }))
	fmt.Fprintln(os.Stdout, text)
	return between(page, "<!-- from here on by `make bench-growth` -->\n", "<!-- to here -->\n", text)
}

// between puts a text between two marks of a file.
func between(path, from, to, text string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(page), from)
	_, after, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		return fmt.Errorf("%s lacks the marks %q and %q", path, from, to)
	}
	return writeFile(path, before+from+text+to+after)
}

// grown is what was measured in a cache of one size. Figures are in the order in which they were taken.
type grown struct {
	stages, builds int
	figures        []growthFigure
}

type growthFigure struct {
	name  string
	value float64
	text  string
}

func (g *grown) add(name string, value float64, text string) {
	g.figures = append(g.figures, growthFigure{name, value, text})
}

func (g *grown) bytes(name string, n int64) { g.add(name, float64(n), humanize.IBytes(uint64(n))) }

func (g *grown) count(name string, n int) { g.add(name, float64(n), humanize.Comma(int64(n))) }

// verbs that are measured, and how often.
var verbs = []struct {
	name   string
	rounds int
	argv   []string
}{
	{"build, nothing to do", 3, []string{"build", "recipe.hcl", "--plain"}},
	{"plan", 3, []string{"plan", "recipe.hcl"}},
	{"why", 3, []string{"why", "exec.s0_0"}},
	{"lineage up", 3, []string{"lineage", "up", "exec.s9_0"}},
	{"cache gc, the plan", 1, []string{"cache", "gc", "--grace", "0s", "--keep", "1"}},
	{"cache verify", 1, []string{"cache", "verify"}},
}

// grownTo seeds a cache as if the graph had been built, and as many builds that had nothing to do.
func (b *bench) grownTo(g graph, builds int) (grown, error) {
	dir := filepath.Join(b.dir, "growth")
	defer remove(dir)
	t := tinfra{b.tools.tool("tinfra")}
	if err := project(t, g, dir); err != nil {
		return grown{}, err
	}
	s, err := newSeed(b.ctx, b.meter, t.program, dir)
	if err != nil {
		return grown{}, err
	}
	if _, err := s.graph(g); err != nil {
		return grown{}, err
	}
	out := grown{stages: g.size(), builds: max(1, builds)}
	e := entry{Tool: "tinfra", Dir: dir, Environ: tinfraEnviron(dir)}
	if err := b.do(e, t.command(dir)...); err != nil {
		return out, err
	}
	one, err := s.builds(builds)
	if err != nil {
		return out, err
	}
	if builds == 0 {
		if err := countNames(&out, s.cache, one); err != nil {
			return out, err
		}
	}
	e.Argv = []string{t.program, "runs", "--limit", "1"}
	indexed, err := b.measure(e)
	if err != nil {
		return out, err
	}
	if builds > 0 {
		out.add("the index takes in the builds", indexed.Wall.Seconds(), short(indexed.Wall))
	}
	size, err := sizeOf(filepath.Join(s.cache, "lineage.sqlite*"))
	if err != nil {
		return out, err
	}
	out.bytes("index", size)
	if err := b.verbs(&out, e, t.program); err != nil || builds > 0 {
		return out, err
	}
	remembered, err := sizeOf(filepath.Join(s.cache, "plans", "*"))
	out.bytes("what the last build is told again from", remembered)
	return out, err
}

// verbs measures each, and what its process held.
func (b *bench) verbs(out *grown, e entry, program string) error {
	for _, v := range verbs {
		e.Argv = append([]string{program}, v.argv...)
		var samples []sample
		for range v.rounds {
			s, err := b.measure(e)
			if err != nil {
				return err
			}
			samples = append(samples, s)
		}
		wall, cpu := wallOf(samples).Median, cpuOf(samples).Median
		out.add(v.name, wall.Seconds(), short(wall))
		out.add(v.name+": CPU", cpu.Seconds(), short(cpu))
		out.bytes(v.name+": memory", memoryOf(samples).Median)
	}
	return nil
}

// growthTable has a line for each figure, and how it grows: the slope of the logarithms between the first size and the last,
// and between the last two.
func growthTable(what string, sizes []grown, of func(grown) float64) string {
	t := table.NewWriter()
	header := table.Row{what}
	for _, g := range sizes {
		header = append(header, humanize.Comma(int64(of(g))))
	}
	t.AppendHeader(append(header, "grows as", "at the end as"))
	for i, f := range sizes[0].figures {
		line := table.Row{f.name}
		for _, g := range sizes {
			line = append(line, g.figures[i].text)
		}
		last := len(sizes) - 1
		slope := func(from int) string {
			x, y := of(sizes[last])/of(sizes[from]), sizes[last].figures[i].value/sizes[from].figures[i].value
			return fmt.Sprintf("n^%.2f", math.Log(y)/math.Log(x))
		}
		t.AppendRow(append(line, slope(0), slope(last-1)))
	}
	return t.RenderMarkdown()
}

// builds stores as many builds as it is told, each like the one that is there but for one stage that ran, and gives the
// bytes of one.
func (s *seed) builds(n int) (bytes int64, err error) {
	names, err := filepath.Glob(filepath.Join(s.cache, "builds", "*", "*"))
	if err != nil || len(names) == 0 {
		return 0, fmt.Errorf("no build in %s: %w", s.cache, err)
	}
	last := names[len(names)-1]
	for _, name := range names { // the sample's build is the smaller one
		if blobSize(s.cache, filepath.Base(name)) > blobSize(s.cache, filepath.Base(last)) {
			last = name
		}
	}
	members, err := readObject(filepath.Join(s.cache, "blobs", "sha256", filepath.Base(last)))
	if err != nil {
		return 0, err
	}
	var steps []map[string]json.RawMessage
	if err := json.Unmarshal(members["steps"], &steps); err != nil {
		return 0, err
	}
	for i := range n {
		ran := maps.Clone(steps[i%len(steps)])
		ran["reason"], ran["state"] = json.RawMessage(fmt.Sprintf(`"edit %d"`, i)), json.RawMessage(`"ran"`)
		changed := slices.Clone(steps)
		changed[i%len(steps)] = ran
		at := s.ended.Add(time.Duration(i-n) * time.Second)
		id := fmt.Sprintf("%s-%06x", at.Format("20060102T150405Z"), i)
		for member, v := range map[string]any{"id": id, "started": at, "ended": at.Add(time.Millisecond), "steps": changed} {
			if members[member], err = encode(v); err != nil {
				return 0, err
			}
		}
		digest, err := s.object(members)
		if err != nil {
			return 0, err
		}
		if err := s.write(strings.Join([]string{"builds", at.Format(time.DateOnly), hexOf(digest)}, "/"), []byte(digest)); err != nil {
			return 0, err
		}
	}
	return blobSize(s.cache, filepath.Base(last)), nil
}
