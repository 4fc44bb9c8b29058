package main

import (
	"os"
	"path/filepath"
)

// peer is a build tool that is measured. Its folder holds the sources and what describe writes.
type peer interface {
	name() string
	// describe writes the graph in the tool's own language.
	describe(dir string, g graph) error
	// command builds everything; it runs in dir.
	command(dir string) []string
	// outputs are what a person would delete to be rid of what was built; a tool's own store stays.
	outputs() []string
}

// variabled is a peer whose command needs more in its environment than PATH and HOME.
type variabled interface{ environ(dir string) []string }

// closing is a peer that leaves a server running.
type closing interface{ close(dir string) []string }

// served is a peer whose work is done in the server.
type served interface{ server(dir string) server }

// project makes a folder for one peer with the graph in it.
func project(p peer, g graph, dir string) error {
	if err := replaced(dir); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "out"), 0o755); err != nil {
		return err
	}
	if err := g.writeSources(dir); err != nil {
		return err
	}
	return p.describe(dir, g)
}

// makePeer gives the peer of a name, whose program lies there.
var makePeer = map[string]func(program string) peer{
	"tinfra":    func(p string) peer { return tinfra{p} },
	"ninja":     func(p string) peer { return ninja{p} },
	"make":      func(p string) peer { return gnuMake{p} },
	"go-task":   func(p string) peer { return goTask{p} },
	"Bazel":     func(p string) peer { return bazel{p} },
	"Snakemake": func(p string) peer { return snakemake{p} },
	"DVC":       func(p string) peer { return dvc{p} },
	"redun":     func(p string) peer { return redun{p} },
}
