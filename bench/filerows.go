package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// load of files: so many of such a size in one folder.
type files struct {
	count int
	size  int64
}

func (f files) String() string { return fmt.Sprintf("%d × %d MiB", f.count, f.size>>20) }

// write makes them in a folder; they are on the disk when it returns.
func (f files) write(dir string) error {
	for i := range f.count {
		if err := noise(filepath.Join(dir, fmt.Sprintf("f%d.bin", i)), f.size, byte(i+1)); err != nil {
			return err
		}
	}
	return nil
}

// takeRecipe is a stage that makes its output by renaming a folder: all that then takes time is to store it.
func takeRecipe(dir, made string) error {
	return writeFile(filepath.Join(dir, "recipe.hcl"), fmt.Sprintf(`stage "exec" "taken" {
  command = ["/bin/mv", %q, "out/files/made"]
}
`, made))
}

// fileRows store and restore 2 GiB.
func fileRows(b *bench) []row {
	one, eight := files{1, int64(b.scaled(2048)) << 20}, files{8, int64(b.scaled(256)) << 20}
	return []row{
		{Name: "store", Doc: "an output of one large file", Size: one.String(), Rounds: 5, Disk: 12 << 30, Entries: one.stored,
			Aims: []aim{cpuBelow(scaledTime(b, 1500*time.Millisecond)), memoryBelow(64)}},
		{Name: "store, several", Doc: "an output of several files: who hashes them side by side", Size: eight.String(), Rounds: 5, Disk: 12 << 30, Entries: eight.stored,
			Aims: []aim{cpuBelow(scaledTime(b, 1500*time.Millisecond)), memoryBelow(64), sideBySide(1.3)}},
		{Name: "restore, link", Doc: "the file is laid out by a link: tinfra's as the input of a stage that runs, beside the same build without the input", Size: one.String(), Rounds: 7, Disk: 8 << 30,
			Entries: one.linked, Aims: []aim{over(20*time.Millisecond, stageAlone)}},
		{Name: "restore, copy", Doc: "a copy of the file in a person's folder, checked against its digest by tinfra and restic", Size: one.String(), Rounds: 5, Disk: 24 << 30,
			Entries: one.copied, Aims: []aim{within(1.3, "cp")}},
	}
}

func scaledTime(b *bench, d time.Duration) time.Duration { return time.Duration(float64(d) * b.scale) }

const resticEnviron = "RESTIC_PASSWORD=bench"

func (f files) stored(b *bench, dir string) []entry {
	again := func(prepare func(e entry) error) func(entry, int) error {
		return func(e entry, _ int) error {
			if err := fresh(e.Dir); err != nil {
				return err
			}
			return errors.Join(f.write(filepath.Join(e.Dir, "made")), prepare(e))
		}
	}
	t, d, r := filepath.Join(dir, "tinfra"), filepath.Join(dir, "DVC"), filepath.Join(dir, "restic")
	sum := []string{b.tools.tool("sha256sum")}
	for i := range f.count {
		sum = append(sum, fmt.Sprintf("made/f%d.bin", i))
	}
	return []entry{
		{Tool: "tinfra", Dir: t, Argv: tinfra{b.tools.tool("tinfra")}.command(t), Environ: tinfraEnviron(t),
			Before: again(func(e entry) error { return takeRecipe(e.Dir, filepath.Join(e.Dir, "made")) })},
		{Tool: "sha256sum", Dir: filepath.Join(dir, "sha256sum"), Argv: sum, Before: again(func(entry) error { return nil })},
		{Tool: "DVC", Dir: d, Argv: []string{b.tools.tool("DVC"), "add", "--quiet", "made"}, Environ: dvcEnviron(d),
			Before: again(func(e entry) error { return b.dvcProject(e, "hardlink") })},
		{Tool: "restic", Dir: r, Argv: []string{b.tools.tool("restic"), "--repo", "repo", "--quiet", "backup", "made"}, Environ: []string{resticEnviron},
			Before: again(func(e entry) error { return b.do(e, e.Argv[0], "--repo", "repo", "--quiet", "init") })},
	}
}

// dvcProject makes one that lays files out in that way.
func (b *bench) dvcProject(e entry, linkType string) error {
	program := b.tools.tool("DVC")
	if err := b.do(e, program, "init", "--quiet", "--no-scm"); err != nil {
		return err
	}
	return b.do(e, program, "config", "cache.type", linkType)
}

// withDVC gives the entry of a folder `made` that DVC has stored and that is gone from the project.
func (f files) withDVC(b *bench, dir, linkType string) entry {
	d := filepath.Join(dir, "DVC")
	return entry{Tool: "DVC", Dir: d, Argv: []string{b.tools.tool("DVC"), "checkout", "--quiet"}, Environ: dvcEnviron(d),
		Begin: func(e entry) error {
			return errors.Join(b.dvcProject(e, linkType), f.write(filepath.Join(e.Dir, "made")), b.do(e, e.Argv[0], "add", "--quiet", "made"))
		},
		Before: func(e entry, _ int) error { return os.RemoveAll(filepath.Join(e.Dir, "made")) },
	}
}

// stageAlone is a build of the same stage that reads nothing.
const stageAlone = "the stage alone"

func (f files) linked(b *bench, dir string) []entry {
	program := b.tools.tool("tinfra")
	build := func(tool, input string) entry {
		t := filepath.Join(dir, strings.ReplaceAll(tool, " ", "-"))
		made := filepath.Join(t, "made")
		return entry{Tool: tool, Own: true, Dir: t, Argv: tinfra{program}.command(t), Environ: tinfraEnviron(t),
			Begin: func(e entry) error { return errors.Join(f.write(made), takeRecipe(t, made), b.do(e, e.Argv...)) },
			Before: func(e entry, round int) error {
				return errors.Join(takeRecipe(t, made), appendFile(filepath.Join(t, "recipe.hcl"), fmt.Sprintf(`
stage "exec" "reads" {
  command = ["/bin/touch", "out/files/round%d"]
  %s
}
`, round, input)))
			},
			Check: func(said string) error { return ranOnly(said, "1") }}
	}
	return []entry{build("tinfra", "inputs = { a = exec.taken.files }"), build(stageAlone, ""), f.withDVC(b, dir, "hardlink")}
}

func (f files) copied(b *bench, dir string) []entry {
	t, c, r := filepath.Join(dir, "tinfra"), filepath.Join(dir, "cp"), filepath.Join(dir, "restic")
	made := filepath.Join(t, "made")
	again := func(e entry, _ int) error { return os.RemoveAll(filepath.Join(e.Dir, "got")) }
	return []entry{
		{Tool: "tinfra", Dir: t, Argv: []string{b.tools.tool("tinfra"), "get", "exec.taken", "-o", "got"}, Environ: tinfraEnviron(t), Before: again,
			Begin: func(e entry) error {
				return errors.Join(f.write(made), takeRecipe(t, made), b.do(e, tinfra{e.Argv[0]}.command(t)...))
			}},
		{Tool: "cp", Dir: c, Argv: []string{b.tools.tool("cp"), "-r", "made", "got"}, Before: again,
			Begin: func(e entry) error { return f.write(filepath.Join(e.Dir, "made")) }},
		f.withDVC(b, dir, "copy"),
		{Tool: "restic", Dir: r, Argv: []string{b.tools.tool("restic"), "--repo", "repo", "--quiet", "restore", "latest", "--target", "got", "--verify"},
			Environ: []string{resticEnviron}, Before: again,
			Begin: func(e entry) error {
				repo := []string{e.Argv[0], "--repo", "repo", "--quiet"}
				return errors.Join(f.write(filepath.Join(e.Dir, "made")), b.do(e, append(repo, "init")...), b.do(e, append(repo, "backup", "made")...))
			}},
	}
}

func appendFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
