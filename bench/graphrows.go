package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

var (
	every   = []string{"tinfra", "ninja", "make", "Bazel", "go-task", "Snakemake", "DVC", "redun"}
	swift   = []string{"tinfra", "ninja", "make", "Bazel", "go-task"}
	storing = []string{"tinfra", "ninja", "Bazel", "Snakemake", "DVC", "redun"} // and ninja, which runs all again
)

// graphRow is a row in which each tool builds the same graph.
type graphRow struct {
	name, doc string
	graph     graph
	peers     []string
	rounds    int
	cold      bool // each round begins with an empty folder; else everything has been built before the first round
	change    func(b *bench, p peer, dir string, round int) error
	ran       string // what tinfra must say of how many stages ran, "" for none
	units     int    // that a figure for one stage is taken over
	aims      []aim
}

// graphRows begin with the cold ones, whose last round leaves what the others begin with.
func graphRows(b *bench) []row {
	layered, large, chain := graph{10, b.scaled(100)}, graph{10, b.scaled(1000)}, graph{b.scaled(100), 1}
	n := layered.size()
	var rows []row
	for _, g := range []graphRow{
		{name: "cold", doc: "an empty folder, an empty cache, no server", graph: layered, peers: every, rounds: 5, cold: true, ran: fmt.Sprint(n), units: n,
			aims: []aim{within(2, "ninja"), faster(8, "Snakemake"), lessCPU(50, "DVC")}},
		{name: "cold, chain", doc: "the same, each stage after the other", graph: chain, peers: every, rounds: 5, cold: true, ran: fmt.Sprint(chain.size()), units: chain.size()},
		{name: "no-op", doc: "nothing has changed", graph: layered, peers: every, rounds: 15, aims: []aim{
			within(3, "ninja"), faster(100, "Snakemake"), faster(300, "DVC"), memoryBelow(48)}},
		{name: "edit", doc: "one source has new text: ten stages depend on it", graph: layered, peers: every, rounds: 9, change: edit, ran: "10",
			aims: []aim{within(3, "ninja")}},
		{name: "touch", doc: "one source has a new time and the same text", graph: layered, peers: every, rounds: 9, change: touch,
			aims: []aim{runsNothing, withinRow(1.3, "no-op")}},
		{name: "deleted", doc: "the outputs are deleted, the tool's own store is not", graph: layered, peers: storing, rounds: 5, change: deleteOutputs, units: n,
			aims: []aim{runsNothing, perStage(1300 * time.Microsecond)}},
		{name: "revert", doc: "an edit is taken back, after it was built", graph: layered, peers: storing, rounds: 5, change: revert, units: n,
			aims: []aim{runsNothing, perStage(1300 * time.Microsecond)}},
		{name: "no-op, large", doc: "nothing has changed", graph: large, peers: swift, rounds: 9, aims: []aim{within(1, "Bazel"), memoryBelow(128)}},
	} {
		rows = append(rows, g.row())
	}
	return rows
}

func (g graphRow) row() row {
	return row{Name: g.name, Doc: g.doc, Size: g.graph.String() + " stages", Stages: g.units, Rounds: g.rounds, Disk: int64(g.graph.size()) << 20 / 2, Aims: g.aims,
		Entries: func(b *bench, _ string) []entry {
			var all []entry
			for _, name := range g.peers {
				if program := b.tools.tool(name); program != "" {
					all = append(all, g.entry(b, makePeer[name](program)))
				}
			}
			return all
		}}
}

// entry builds in a folder that rows of the same graph share, since what slow tools take for the first build is minutes.
func (g graphRow) entry(b *bench, p peer) entry {
	dir := filepath.Join(b.dir, "graphs", fmt.Sprintf("%dx%d", g.graph.Layers, g.graph.Width), p.name())
	e := entry{Tool: p.name(), Dir: dir, Argv: p.command(dir)}
	if v, ok := p.(variabled); ok {
		e.Environ = v.environ(dir)
	}
	if s, ok := p.(served); ok {
		e.Server = s.server
	}
	if p.name() == "tinfra" {
		e.Check = func(said string) error { return ranOnly(said, g.ran) }
	}
	e.End = func(e entry) {
		if c, ok := p.(closing); ok { // a server that does not run is none that could be stopped
			_ = b.do(e, c.close(dir)...)
		}
		if g.cold {
			b.ready[dir] = true
		}
	}
	e.Begin = func(e entry) error {
		if g.cold {
			return nil
		}
		return g.settle(b, p, e)
	}
	e.Before = func(e entry, round int) error {
		if g.cold {
			e.End(e)
			return project(p, g.graph, dir)
		}
		if g.change == nil {
			return nil
		}
		return g.change(b, p, dir, round)
	}
	return e
}

// settle builds until a build has nothing to do.
func (g graphRow) settle(b *bench, p peer, e entry) error {
	var err error
	if b.ready[e.Dir] {
		err = g.graph.writeSources(e.Dir)
	} else {
		err = project(p, g.graph, e.Dir)
	}
	if err != nil {
		return err
	}
	for range 2 { // what a first no-op still settles is not what is measured
		if err := b.do(e, e.Argv...); err != nil {
			return err
		}
	}
	b.ready[e.Dir] = true
	return nil
}

var ran = regexp.MustCompile(`(\d+) ran\b`)

// ranOnly reads what tinfra says at the end of a build: want is how many stages ran, "" for none.
func ranOnly(said, want string) error {
	got := ""
	if m := ran.FindStringSubmatch(said); m != nil {
		got = m[1]
	}
	if got != want {
		return fmt.Errorf("%q stages ran, not %q:\n%s", got, want, said[max(0, len(said)-500):])
	}
	return nil
}

func edit(_ *bench, _ peer, dir string, round int) error {
	return writeFile(filepath.Join(dir, source(0)), fmt.Sprintf("edited %d at %d\n", round, time.Now().UnixNano()))
}

func touch(_ *bench, _ peer, dir string, _ int) error {
	now := time.Now()
	return os.Chtimes(filepath.Join(dir, source(0)), now, now)
}

func deleteOutputs(_ *bench, p peer, dir string, _ int) error {
	for _, name := range p.outputs() {
		real, err := filepath.EvalSymlinks(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := os.RemoveAll(real); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(dir, "out"), 0o755)
}

func revert(b *bench, p peer, dir string, round int) error {
	e := entry{Dir: dir, Argv: p.command(dir)}
	if v, ok := p.(variabled); ok {
		e.Environ = v.environ(dir)
	}
	return errors.Join(edit(b, p, dir, round), b.do(e, e.Argv...), writeFile(filepath.Join(dir, source(0)), "source 0\n"))
}
