package main

import (
	"fmt"
	"path/filepath"
)

// graph is layers of stages that each copy a small file: a source in the first layer, else the file that one stage of the
// layer before has made. Each source thus decides one stage of every layer.
type graph struct{ Layers, Width int }

// stage is one copy. From is "" for a stage of the first layer, which reads a source.
type stage struct {
	Name, From, Source string
}

func (g graph) size() int { return g.Layers * g.Width }

func (g graph) String() string { return fmt.Sprintf("%d × %d", g.Layers, g.Width) }

// stages come in an order in which each follows what it reads.
func (g graph) stages() []stage {
	const stride = 7 // neighbours of one layer are none in the next
	all := make([]stage, 0, g.size())
	for layer := range g.Layers {
		for i := range g.Width {
			s := stage{Name: name(layer, i)}
			if layer == 0 {
				s.Source = source(i)
			} else {
				s.From = name(layer-1, (i+stride)%g.Width)
			}
			all = append(all, s)
		}
	}
	return all
}

// last are the stages that nothing reads.
func (g graph) last() []stage { return g.stages()[(g.Layers-1)*g.Width:] }

func name(layer, i int) string { return fmt.Sprintf("s%d_%d", layer, i) }

func source(i int) string { return fmt.Sprintf("src/%d.txt", i) }

// input is the path of what a stage reads, in a folder where outputs lie in out/.
func (s stage) input() string {
	if s.From == "" {
		return s.Source
	}
	return "out/" + s.From + ".txt"
}

func (s stage) output() string { return "out/" + s.Name + ".txt" }

// writeSources makes the files that the first layer reads.
func (g graph) writeSources(dir string) error {
	for i := range g.Width {
		if err := writeFile(filepath.Join(dir, source(i)), fmt.Sprintf("source %d\n", i)); err != nil {
			return err
		}
	}
	return nil
}
