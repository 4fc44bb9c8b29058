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

// project makes a folder for one peer with the graph in it.
func project(p peer, g graph, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "out"), 0o755); err != nil {
		return err
	}
	if err := g.writeSources(dir); err != nil {
		return err
	}
	return p.describe(dir, g)
}
