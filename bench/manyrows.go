package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// manyRows have an output of 200,000 small files.
func manyRows(b *bench) []row {
	n := b.scaled(200_000)
	size := fmt.Sprintf("%d files of a few bytes", n)
	disk := int64(n) * 5 << 12
	return []row{
		{Name: "many files, publish", Doc: "an output of small files is stored; cp only copies them", Size: size, Rounds: 3, Disk: disk,
			Entries: func(b *bench, dir string) []entry { return storeMany(b, dir, n) }, Aims: []aim{wallBelow(scaledTime(b, 20*time.Second))}},
		{Name: "many files, no-op", Doc: "nothing has changed", Size: size, Rounds: 9, Disk: disk,
			Entries: func(b *bench, dir string) []entry { return knowMany(b, dir, n) }, Aims: []aim{wallBelow(150 * time.Millisecond)}},
	}
}

// writeMany makes n files, a thousand in a folder, through to the disk.
func writeMany(dir string, n int) error {
	for i := range n {
		at := filepath.Join(dir, fmt.Sprintf("d%03d", i/1000))
		if i%1000 == 0 {
			if err := os.MkdirAll(at, 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(at, fmt.Sprintf("%d.txt", i)), fmt.Appendf(nil, "file %d\n", i), 0o644); err != nil {
			return err
		}
	}
	unix.Sync()
	return nil
}

func storeMany(b *bench, dir string, n int) []entry {
	again := func(prepare func(e entry) error) func(entry, int) error {
		return func(e entry, _ int) error {
			if err := fresh(e.Dir); err != nil {
				return err
			}
			return errors.Join(prepare(e), writeMany(filepath.Join(e.Dir, "made"), n))
		}
	}
	t, d := filepath.Join(dir, "tinfra"), filepath.Join(dir, "DVC")
	return []entry{
		{Tool: "tinfra", Dir: t, Argv: tinfra{b.tools.tool("tinfra")}.command(t), Environ: tinfraEnviron(t),
			Before: again(func(e entry) error { return takeRecipe(t, filepath.Join(t, "made")) })},
		{Tool: "cp", Dir: filepath.Join(dir, "cp"), Argv: []string{b.tools.tool("cp"), "-r", "made", "got"}, Before: again(func(entry) error { return nil })},
		{Tool: "DVC", Dir: d, Argv: []string{b.tools.tool("DVC"), "add", "--quiet", "made"}, Environ: dvcEnviron(d),
			Before: again(func(e entry) error { return b.dvcProject(e, "hardlink") })},
	}
}

// knowMany asks tools that have stored them; DVC's stage makes nothing, since it looks at what it would make all the same.
func knowMany(b *bench, dir string, n int) []entry {
	t, d := filepath.Join(dir, "tinfra"), filepath.Join(dir, "DVC")
	return []entry{
		{Tool: "tinfra", Dir: t, Argv: tinfra{b.tools.tool("tinfra")}.command(t), Environ: tinfraEnviron(t),
			Begin: func(e entry) error {
				made := filepath.Join(t, "made")
				return errors.Join(writeMany(made, n), takeRecipe(t, made), b.do(e, e.Argv...), b.do(e, e.Argv...))
			},
			Check: func(said string) error { return ranOnly(said, "") }},
		{Tool: "DVC", Dir: d, Argv: []string{b.tools.tool("DVC"), "status", "--quiet"}, Environ: dvcEnviron(d),
			Begin: func(e entry) error {
				return errors.Join(b.dvcProject(e, "hardlink"), writeMany(filepath.Join(d, "made"), n), b.do(e, e.Argv[0], "add", "--quiet", "made"))
			}},
	}
}
