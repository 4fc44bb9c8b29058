package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// weights are stages that each make one large file. The files are sparse, so twenty tools of twenty gigabytes fit on a disk:
// to read one takes what it takes to read any that is in the page cache.
type weights struct {
	count int
	size  int64
}

func (w weights) String() string { return fmt.Sprintf("%d × %d MiB", w.count, w.size>>20) }

// script makes the file of one stage, which begins with its source.
func (w weights) script(in, out string) string {
	return fmt.Sprintf("cp %s %s && truncate -s %d %s", in, out, w.size, out)
}

func (w weights) writeSources(dir string) error { return graph{1, w.count}.writeSources(dir) }

func weightRows(b *bench) []row {
	w := weights{20, int64(b.scaled(1024)) << 20}
	total := float64(w.count) * float64(w.size)
	some := func(name, doc string, peers []string, change func(w weights, e entry, p string) error, clone bool, aims ...aim) row {
		return row{Name: name, Doc: doc, Size: w.String() + ", sparse files", Rounds: 5, Disk: 1 << 30, Aims: append([]aim{runsNothing}, aims...),
			Entries: func(b *bench, dir string) []entry {
				var all []entry
				for _, p := range peers {
					if b.tools.tool(p) != "" {
						all = append(all, w.entry(b, p, filepath.Join(dir, p), change, clone))
					}
				}
				return all
			}}
	}
	three := []string{"tinfra", "make", "DVC"}
	return []row{
		some("weights, no-op", "nothing has changed", three, nil, false, readsNothing(total)),
		some("weights, one touched", "one output has a new time: tinfra's in its cache", three, touchOutputs(1), false, touchedOnly(0.2, "weights, all touched")),
		some("weights, all touched", "all outputs have new times: tinfra's in its cache", three, touchOutputs(w.count), false, sideBySide(1.3)),
		some("weights, clone", "the recipe in a new folder, with a cache that has all", []string{"tinfra", "DVC"}, nil, true, readsNothing(total)),
	}
}

// touchOutputs gives outputs new times.
func touchOutputs(n int) func(weights, entry, string) error {
	return func(w weights, e entry, p string) error {
		where := filepath.Join(e.Dir, "out")
		if p == "tinfra" {
			where = filepath.Join(tinfraCache(e.Dir), "blobs")
		}
		found, err := largeFiles(where, w.size)
		if err != nil {
			return err
		}
		if len(found) != w.count {
			return fmt.Errorf("%d outputs in %s, not %d", len(found), where, w.count)
		}
		for _, path := range found[:n] {
			now := time.Now()
			if err := os.Chtimes(path, now, now); err != nil {
				return err
			}
		}
		return nil
	}
}

// entry builds in a folder; a clone has a folder of its own in each round, and the cache of the first.
func (w weights) entry(b *bench, p, dir string, change func(weights, entry, string) error, clone bool) entry {
	e := entry{Tool: p, Dir: dir}
	describe := w.makefile
	switch p {
	case "tinfra":
		e.Argv, e.Environ, describe = tinfra{b.tools.tool(p)}.command(dir), tinfraEnviron(dir), w.recipe
		e.Check = func(said string) error { return ranOnly(said, "") }
	case "DVC":
		e.Argv, e.Environ, describe = dvc{b.tools.tool(p)}.command(dir), dvcEnviron(dir), w.dvcYAML
	case "make":
		e.Argv = gnuMake{b.tools.tool(p)}.command(dir)
	}
	first := e
	first.Check = nil
	if clone {
		e.Dir = filepath.Join(dir, "clone")
		if p == "DVC" {
			e.Environ = dvcEnviron(e.Dir)
		}
	}
	e.Begin = func(entry) error {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "out"), 0o755), w.writeSources(dir), describe(dir)); err != nil {
			return err
		}
		if p == "DVC" {
			if err := b.dvcProject(first, "hardlink"); err != nil {
				return err
			}
			if err := b.do(first, b.tools.tool(p), "config", "cache.dir", filepath.Join(dir, "store")); err != nil {
				return err
			}
		}
		return errors.Join(b.do(first, first.Argv...), b.do(first, first.Argv...))
	}
	e.Before = func(e entry, _ int) error {
		if clone {
			return w.cloneOf(dir, e.Dir)
		}
		if change == nil {
			return nil
		}
		return change(w, e, p)
	}
	return e
}

// cloneOf copies what would be in a repository.
func (w weights) cloneOf(dir, to string) error {
	if err := fresh(to); err != nil {
		return err
	}
	if err := errors.Join(os.Mkdir(filepath.Join(to, "out"), 0o755), w.writeSources(to)); err != nil {
		return err
	}
	for _, name := range []string{"recipe.hcl", "dvc.yaml", "dvc.lock", ".dvc/config"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := errors.Join(err, writeFile(filepath.Join(to, name), string(text))); err != nil {
			return err
		}
	}
	return nil
}

func (w weights) recipe(dir string) error {
	var s strings.Builder
	for i := range w.count {
		in := source(i)
		fmt.Fprintf(&s, "stage \"exec\" \"w%d\" {\n  command = [\"/bin/sh\", \"-c\", %q]\n  inputs  = { a = path(%q) }\n}\n\n",
			i, w.script("in/inputs/a/"+in, "out/files/w.bin"), in)
	}
	return writeFile(filepath.Join(dir, "recipe.hcl"), s.String())
}

func (w weights) makefile(dir string) error {
	all, rules := "all:", ""
	for i := range w.count {
		out := fmt.Sprintf("out/w%d.bin", i)
		all += " " + out
		rules += fmt.Sprintf("%s: %s\n\t%s\n", out, source(i), w.script(source(i), out))
	}
	return writeFile(filepath.Join(dir, "Makefile"), all+"\n"+rules)
}

func (w weights) dvcYAML(dir string) error {
	var s strings.Builder
	s.WriteString("stages:\n")
	for i := range w.count {
		out := fmt.Sprintf("out/w%d.bin", i)
		fmt.Fprintf(&s, "  w%d:\n    cmd: %s\n    deps: [%s]\n    outs: [%s]\n", i, w.script(source(i), out), source(i), out)
	}
	return writeFile(filepath.Join(dir, "dvc.yaml"), s.String())
}
