// Command bench measures tinfra beside its peers: the same work in each tool's own language, in one run, one tool after the
// other. It knows the peers' languages and how to start them. Of tinfra it must know nothing but its command line and, to make
// large caches in seconds, what docs/format.md says of the bytes in them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// options are what the command line says.
type options struct {
	program, folder, uv, rows, tools, page, keep string
	scale                                        float64
	patience                                     time.Duration
	growth                                       string
	own                                          bool
}

func main() {
	var o options
	flag.StringVar(&o.program, "tinfra", "bin/tinfra", "the program that is measured")
	flag.StringVar(&o.folder, "folder", "bin/bench", "where peers are installed and things are built")
	flag.StringVar(&o.uv, "uv", "uv", "uv, which installs peers")
	flag.StringVar(&o.rows, "rows", ".", "a regular expression: the rows to measure")
	flag.StringVar(&o.tools, "peers", ".", "a regular expression: the tools to measure, beside tinfra")
	flag.Float64Var(&o.scale, "scale", 1, "measure this part of each size")
	flag.DurationVar(&o.patience, "patience", 4*time.Minute, "a tool that has taken longer than this in a row gets no more rounds")
	flag.StringVar(&o.keep, "keep", "", "a file of JSON: add what is measured to what it holds")
	flag.StringVar(&o.page, "o", "", "write the page there: all that -keep holds")
	flag.StringVar(&o.growth, "growth", "", "measure how tinfra grows with stages and builds instead, and write the tables into this page")
	flag.BoolVar(&o.own, "own", true, "measure tinfra, too; false only with -keep, where it has been measured")
	flag.Parse()
	if err := o.run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o options) run() error {
	rowsWanted, err := regexp.Compile(o.rows)
	toolsWanted, err2 := regexp.Compile(o.tools)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	wanted := func(tool string) bool {
		return tool == "tinfra" && o.own || tool != "tinfra" && toolsWanted.MatchString(tool)
	}
	b, err := o.prepare(toolsWanted.MatchString)
	if err != nil {
		return err
	}
	defer b.clear()
	if o.growth != "" {
		return b.growth(o.growth)
	}
	all, err := readResults(o.keep)
	if err != nil {
		return err
	}
	err = o.measure(b, all, rowsWanted.MatchString, wanted)
	if o.page != "" {
		err = errors.Join(err, writeFile(o.page, b.page(all)))
	}
	return err
}

// measure goes on after a row that fails: the others have taken minutes.
func (o options) measure(b *bench, all results, wantedRow, wanted func(string) bool) error {
	run := time.Now().UTC().Format("20060102T150405Z")
	all.Runs[run] = circumstances{time.Now().UTC(), machine(), b.version(), b.scale, b.tools.missing}
	var problems []error
	for _, r := range b.rows() {
		if !wantedRow(r.Name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s  %s (load %s)\n", time.Now().Format(time.TimeOnly), r.Name, load())
		samples, err := b.run(r, wanted)
		var full tooFull
		switch {
		case errors.As(err, &full):
			all.Left[r.Name] = err.Error()
			fmt.Fprintln(os.Stderr, "bench: left out:", err)
		case err != nil:
			problems = append(problems, err)
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		all.add(r, run, samples)
		if o.keep != "" {
			if err := all.write(o.keep); err != nil {
				return err
			}
		}
		fmt.Fprintf(os.Stdout, "\n%s\n", all.section(r))
	}
	all.tidy()
	if o.keep != "" {
		problems = append(problems, all.write(o.keep))
	}
	return errors.Join(problems...)
}

func (o options) prepare(wanted func(string) bool) (*bench, error) {
	b := &bench{ctx: context.Background(), scale: o.scale, patience: o.patience, ready: map[string]bool{}}
	at, err := filepath.Abs(o.folder)
	if err != nil {
		return nil, err
	}
	program, err := filepath.Abs(o.program)
	if err != nil {
		return nil, err
	}
	uv, err := exec.LookPath(o.uv)
	if err != nil {
		return nil, fmt.Errorf("uv is missing: `make` installs one: %w", err)
	}
	if uv, err = filepath.Abs(uv); err != nil {
		return nil, err
	}
	b.dir = filepath.Join(at, "work")
	if err := replaced(b.dir); err != nil {
		return nil, err
	}
	b.workshop = workshop{filepath.Join(at, "tools"), uv}
	b.tools = b.workshop.open(b.ctx, program, wanted)
	b.meter, err = newMeter(b.ctx, filepath.Join(at, "tools"))
	return b, err
}

// clear removes what was set aside, of this run and of those before it.
func (b *bench) clear() {
	b.endServer()
	old, _ := filepath.Glob(filepath.Join(filepath.Dir(b.dir), wastePrefix+"*"))
	graphs, _ := filepath.Glob(filepath.Join(b.dir, "graphs", "*", wastePrefix+"*"))
	for _, dir := range append(old, graphs...) {
		remove(dir)
	}
}

func (b *bench) version() string {
	out, err := exec.CommandContext(b.ctx, b.tools.tool("tinfra"), "version").Output()
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

// rows of the page, in the order in which they are measured.
func (b *bench) rows() []row {
	var all []row
	for _, some := range [][]row{graphRows(b), answerRows(b), fileRows(b), weightRows(b), manyRows(b), startRows(), lineageRows(b),
		shareRows(b), transferRows(b), warmRows(b)} {
		all = append(all, some...)
	}
	return all
}
