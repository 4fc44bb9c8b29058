package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// row is one thing that a build tool does over and over, measured for several tools in turn.
type row struct {
	Name   string
	Doc    string
	Graph  graph
	Peers  []string // by name, in the order of the page
	Rounds int
	// Cold begins each round with an empty folder; else everything has been built before the first round.
	Cold bool
	// Change is what is done before each measured build. round counts from 1.
	Change func(b bench, p peer, dir string, round int) error
}

var all = []string{"tinfra", "ninja", "make", "Bazel", "go-task", "Snakemake", "DVC", "redun"}

// rows of the page.
var rows = []row{
	{Name: "no-op", Doc: "nothing has changed", Graph: graph{10, 100}, Peers: all, Rounds: 7},
	{Name: "no-op, large", Doc: "nothing has changed", Graph: graph{10, 1000}, Peers: []string{"tinfra", "ninja", "make", "Bazel", "go-task"}, Rounds: 5},
	{Name: "cold", Doc: "an empty folder, an empty cache, no server", Graph: graph{10, 100}, Peers: all, Rounds: 3, Cold: true},
	{Name: "chain", Doc: "the same, each stage after the other", Graph: graph{100, 1}, Peers: all, Rounds: 3, Cold: true},
	{Name: "edit", Doc: "one source has new text: ten stages depend on it", Graph: graph{10, 100}, Peers: all, Rounds: 5, Change: edit},
	{Name: "touch", Doc: "one source has a new time and the same text", Graph: graph{10, 100}, Peers: all, Rounds: 5, Change: touch},
	{Name: "deleted", Doc: "the outputs are deleted, the tool's own store is not", Graph: graph{10, 100}, Peers: []string{"tinfra", "ninja", "Bazel", "Snakemake", "DVC", "redun"}, Rounds: 3, Change: deleteOutputs},
	{Name: "revert", Doc: "an edit is taken back, after it was built", Graph: graph{10, 100}, Peers: []string{"tinfra", "ninja", "Bazel", "Snakemake", "DVC", "redun"}, Rounds: 3, Change: revert},
}

func edit(_ bench, _ peer, dir string, round int) error {
	return writeFile(filepath.Join(dir, source(0)), fmt.Sprintf("edited %d\n", round))
}

func touch(_ bench, _ peer, dir string, round int) error {
	then := time.Now().Add(time.Duration(round-100) * time.Second) // not of this very tick, which no tool may trust
	return os.Chtimes(filepath.Join(dir, source(0)), then, then)
}

func deleteOutputs(_ bench, p peer, dir string, _ int) error {
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

func revert(b bench, p peer, dir string, round int) error {
	if err := edit(b, p, dir, round); err != nil {
		return err
	}
	if _, err := b.build(p, dir); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, source(0)), "source 0\n")
}

// bench is one run of this program.
type bench struct {
	ctx   context.Context
	dir   string
	peers []peer
}

// result of a row, by the tools' names.
type result struct {
	row
	Samples map[string][]sample
}

// run measures one row: in each round one tool after the other, so that a slow minute of the machine hits all of them.
func (b bench) run(r row) (result, error) {
	res := result{row: r, Samples: map[string][]sample{}}
	chosen := slices.DeleteFunc(slices.Clone(b.peers), func(p peer) bool { return !slices.Contains(r.Peers, p.name()) })
	for _, p := range chosen {
		if err := b.begin(r, p); err != nil {
			return res, err
		}
		defer b.end(p, b.folder(r, p))
	}
	for round := 1; round <= r.Rounds; round++ {
		for _, p := range chosen {
			s, err := b.round(r, p, round)
			if err != nil {
				return res, fmt.Errorf("%s, %s: %w", r.Name, p.name(), err)
			}
			res.Samples[p.name()] = append(res.Samples[p.name()], s)
		}
	}
	return res, nil
}

func (b bench) folder(r row, p peer) string { return filepath.Join(b.dir, r.Name, p.name()) }

func (b bench) begin(r row, p peer) error {
	dir := b.folder(r, p)
	if err := project(p, r.Graph, dir); err != nil || r.Cold {
		return err
	}
	if _, err := b.build(p, dir); err != nil {
		return err
	}
	_, err := b.build(p, dir) // what a first no-op still settles is not what is measured
	return err
}

func (b bench) round(r row, p peer, round int) (sample, error) {
	dir := b.folder(r, p)
	if r.Cold {
		b.end(p, dir)
		if err := project(p, r.Graph, dir); err != nil {
			return sample{}, err
		}
	}
	if r.Change != nil {
		if err := r.Change(b, p, dir, round); err != nil {
			return sample{}, err
		}
	}
	return b.build(p, dir)
}

func (b bench) build(p peer, dir string) (sample, error) {
	return measure(b.ctx, dir, p.command(dir), environOf(p, dir))
}

// end stops a server that the tool left running. One that does not run is none that could be stopped.
func (b bench) end(p peer, dir string) {
	if c, ok := p.(closing); ok {
		_, _ = measure(b.ctx, dir, c.close(dir), environOf(p, dir))
	}
}

func environOf(p peer, dir string) []string {
	if v, ok := p.(variabled); ok {
		return v.environ(dir)
	}
	return nil
}
