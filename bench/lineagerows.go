package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// lineageRows ask for the ancestors of an artifact among many records.
func lineageRows(b *bench) []row {
	small, large := b.scaled(100_000), b.scaled(1_000_000)
	const perRecord = 20 << 10 // of the disk: four small files, and a share of the index
	up := func(name string, n int, limit time.Duration) row {
		return row{Name: name, Doc: "`lineage up`, of an artifact with two dozen runs above it; sqlite3 asks a table of nothing but the edges",
			Size: fmt.Sprintf("%s records", humanize.Comma(int64(n))), Rounds: 9, Disk: int64(n) * perRecord, Aims: []aim{wallBelow(limit)},
			Entries: func(b *bench, dir string) []entry { return ancestors(b, dir, n) }}
	}
	return []row{
		up("lineage, small", small, 20*time.Millisecond),
		{Name: "lineage, rebuild", Doc: "the index is gone, and a question makes it again from the records", Size: fmt.Sprintf("%s records", humanize.Comma(int64(small))),
			Rounds: 3, Disk: int64(small) * perRecord, Aims: []aim{wallBelow(scaledTime(b, 20*time.Second))},
			Entries: func(b *bench, dir string) []entry { return rebuilt(b, dir, small) }},
		up("lineage, large", large, 60*time.Millisecond),
	}
}

// ancestorsQuery is the one that `lineage up` answers, without all that is told of a run.
const ancestorsQuery = `WITH RECURSIVE up(a) AS (VALUES('%s') UNION SELECT e.input FROM edges e JOIN up ON e.output = up.a) SELECT count(*) FROM up`

func ancestors(b *bench, dir string, n int) []entry {
	program, sqlite := b.tools.tool("tinfra"), b.tools.tool("sqlite3")
	t := filepath.Join(dir, "tinfra")
	asked := new(string)
	entries := []entry{{Tool: "tinfra", Dir: t, Argv: []string{program, "lineage", "up", ""}, Environ: tinfraEnviron(t),
		Begin: func(e entry) error {
			outputs, inputs, err := historyOf(b, e, n)
			if err != nil {
				return err
			}
			*asked = outputs[n-1]
			e.Argv[3] = hexOf(*asked)
			if sqlite == "" {
				return nil
			}
			return edgesOf(b, e, sqlite, filepath.Join(dir, "edges.sqlite"), outputs, inputs)
		}}}
	if sqlite == "" {
		return entries
	}
	return append(entries, entry{Tool: "sqlite3", Dir: filepath.Join(dir, "sqlite3"), Argv: []string{sqlite, "../edges.sqlite", ""},
		Begin: func(e entry) error { e.Argv[2] = fmt.Sprintf(ancestorsQuery, *asked); return nil }})
}

// historyOf seeds a cache and has tinfra index it.
func historyOf(b *bench, e entry, n int) (outputs []string, inputs [][]string, err error) {
	program := b.tools.tool("tinfra")
	s, err := newSeed(b.ctx, b.meter, program, e.Dir)
	if err != nil {
		return nil, nil, err
	}
	if outputs, inputs, err = s.history(n); err != nil {
		return nil, nil, err
	}
	return outputs, inputs, b.do(e, program, "runs", "--limit", "1")
}

// edgesOf makes a database of what was read and what was made of it.
func edgesOf(b *bench, e entry, sqlite, at string, outputs []string, inputs [][]string) error {
	var csv strings.Builder
	for i, made := range outputs {
		for _, in := range inputs[i] {
			fmt.Fprintf(&csv, "%s,%s\n", in, made)
		}
	}
	file := at + ".csv"
	if err := writeFile(file, csv.String()); err != nil {
		return err
	}
	defer os.Remove(file)
	return b.do(e, sqlite, at, "CREATE TABLE edges(input TEXT, output TEXT)", ".mode csv", ".import "+file+" edges", "CREATE INDEX up ON edges(output, input)")
}

func rebuilt(b *bench, dir string, n int) []entry {
	t := filepath.Join(dir, "tinfra")
	return []entry{{Tool: "tinfra", Dir: t, Argv: []string{b.tools.tool("tinfra"), "runs", "--limit", "1"}, Environ: tinfraEnviron(t),
		Begin: func(e entry) error {
			_, _, err := historyOf(b, e, n)
			return err
		},
		Before: func(entry, int) error {
			found, err := filepath.Glob(filepath.Join(tinfraCache(t), "lineage.sqlite*"))
			for _, name := range found {
				err = errors.Join(err, os.Remove(name))
			}
			return err
		}}}
}
