package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// row is one thing that is done over and over, measured for several tools in turn.
type row struct {
	Name   string
	Doc    string
	Size   string // of what is built
	Stages int    // a figure for one of them is given, too; 0: there is none
	Rounds int
	Disk   int64 // bytes that it may take
	Aims   []aim
	// Entries are the tools in the order of the page, each with a folder of its own below dir.
	Entries func(b *bench, dir string) []entry
}

// entry is one tool in one row. Functions may be left out.
type entry struct {
	Tool    string
	Own     bool   // it is tinfra too, in another way
	Dir     string // where it runs
	Argv    []string
	Environ []string
	// Begin is done once, Before before each measured run; round counts from 1.
	Begin  func(e entry) error
	Before func(e entry, round int) error
	// Check looks at what it said: a run that did something else is none to be measured.
	Check func(said string) error
	// Count adds to a sample what only a look at what was made can tell, or says that it is not what was to be made.
	Count  func(e entry, s *sample) error
	Server func(dir string) server
	End    func(e entry)
}

// owner is the tool that somebody asked for.
func (e entry) owner() string {
	if e.Own {
		return "tinfra"
	}
	return e.Tool
}

// bench is one run of this program.
type bench struct {
	ctx      context.Context
	dir      string
	workshop workshop
	tools    toolbox
	meter    meter
	scale    float64
	patience time.Duration // a tool that has taken longer than this in a row gets no more rounds
	ready    map[string]bool
	minio    *minioServer // the one that runs, or nil
	real     *smolLM2     // nil until it is wanted
}

// spare is what stays free on the disk.
const spare = 15 << 30

// run measures one row: in each round one tool after the other, so that a slow minute of the machine hits all of them.
func (b *bench) run(r row, wanted func(tool string) bool) (map[string][]sample, error) {
	if err := b.room(r.Disk); err != nil {
		return nil, err
	}
	return b.rounds(r, wanted)
}

func (b *bench) rounds(r row, wanted func(tool string) bool) (map[string][]sample, error) {
	dir := filepath.Join(b.dir, strings.ReplaceAll(r.Name, ", ", "-"))
	entries := slices.DeleteFunc(r.Entries(b, dir), func(e entry) bool { return e.Argv[0] == "" || !wanted(e.owner()) })
	defer func() {
		for _, e := range entries {
			if e.End != nil {
				e.End(e)
			}
		}
		remove(dir)
	}()
	for _, e := range entries {
		if err := os.MkdirAll(e.Dir, 0o755); err != nil {
			return nil, err
		}
		if e.Begin != nil {
			if err := e.Begin(e); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", r.Name, e.Tool, err)
			}
		}
	}
	samples, spent := map[string][]sample{}, map[string]time.Duration{}
	for round := 1; round <= r.Rounds; round++ {
		for _, e := range entries {
			if spent[e.Tool] > b.patience {
				continue
			}
			begun := time.Now()
			s, err := b.round(e, round)
			if err != nil {
				return samples, fmt.Errorf("%s, %s: %w", r.Name, e.Tool, err)
			}
			spent[e.Tool] += time.Since(begun)
			samples[e.Tool] = append(samples[e.Tool], s)
		}
	}
	return samples, nil
}

func (b *bench) round(e entry, round int) (sample, error) {
	if e.Before != nil {
		if err := e.Before(e, round); err != nil {
			return sample{}, err
		}
	}
	return b.measure(e)
}

func (b *bench) measure(e entry) (sample, error) {
	var before server
	if e.Server != nil {
		before = e.Server(e.Dir)
	}
	s, said, err := b.meter.measure(b.ctx, e.Dir, e.Argv, e.Environ)
	if err != nil {
		return sample{}, err
	}
	if e.Server != nil {
		s = s.around(before, e.Server(e.Dir))
	}
	if e.Check != nil {
		err = e.Check(said)
	}
	if e.Count != nil && err == nil {
		err = e.Count(e, &s)
	}
	return s, err
}

// do runs a command that is not measured.
func (b *bench) do(e entry, argv ...string) error {
	_, _, err := b.meter.measure(b.ctx, e.Dir, argv, e.Environ)
	return err
}

func (b *bench) room(need int64) error {
	free, err := freeBytes(b.dir)
	if err != nil {
		return err
	}
	if free < need+spare {
		return tooFull{need, free}
	}
	return nil
}

// scaled is a size of the issue, or the part of it that was asked for.
func (b *bench) scaled(n int) int { return max(1, int(float64(n)*b.scale)) }
