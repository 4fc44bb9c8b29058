package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// ninja, make and go-task compare times, or keep digests beside the outputs: none has a cache.

type ninja struct{ program string }

func (ninja) name() string              { return "ninja" }
func (n ninja) command(string) []string { return []string{n.program, "-f", "build.ninja", "--quiet"} }
func (ninja) outputs() []string         { return []string{"out"} }
func (ninja) describe(dir string, g graph) error {
	var b strings.Builder
	b.WriteString("rule cp\n  command = cp $in $out\n\n")
	for _, s := range g.stages() {
		fmt.Fprintf(&b, "build %s: cp %s\n", s.output(), s.input())
	}
	return writeFile(filepath.Join(dir, "build.ninja"), b.String())
}

type gnuMake struct{ program string }

func (gnuMake) name() string              { return "make" }
func (m gnuMake) command(string) []string { return []string{m.program, "--silent", "--jobs=2", "all"} }
func (gnuMake) outputs() []string         { return []string{"out"} }
func (gnuMake) describe(dir string, g graph) error {
	var b strings.Builder
	b.WriteString("MAKEFLAGS += --no-builtin-rules\nall:")
	for _, s := range g.last() {
		b.WriteString(" " + s.output())
	}
	b.WriteString("\n$(shell mkdir -p out)\n")
	for _, s := range g.stages() {
		fmt.Fprintf(&b, "%s: %s\n\tcp $< $@\n", s.output(), s.input())
	}
	return writeFile(filepath.Join(dir, "Makefile"), b.String())
}

type goTask struct{ program string }

func (goTask) name() string { return "go-task" }
func (t goTask) command(string) []string {
	return []string{t.program, "--silent", "--concurrency", "2", "default"}
}
func (goTask) outputs() []string { return []string{"out"} }
func (goTask) describe(dir string, g graph) error {
	var b strings.Builder
	b.WriteString("version: '3'\ntasks:\n  default:\n    deps:\n")
	for _, s := range g.last() {
		fmt.Fprintf(&b, "      - %s\n", s.Name)
	}
	for _, s := range g.stages() {
		fmt.Fprintf(&b, "  %s:\n", s.Name)
		if s.From != "" {
			fmt.Fprintf(&b, "    deps: [%s]\n", s.From)
		}
		fmt.Fprintf(&b, "    sources: [%s]\n    generates: [%s]\n    cmds: ['mkdir -p out && cp %s %s']\n", s.input(), s.output(), s.input(), s.output())
	}
	return writeFile(filepath.Join(dir, "Taskfile.yml"), b.String())
}

type bazel struct{ program string }

func (bazel) name() string { return "Bazel" }
func (z bazel) command(dir string) []string {
	return append(z.startup(dir), "build", "--jobs=2", "--spawn_strategy=local", "--disk_cache="+filepath.Join(dir, ".disk"),
		"--noshow_progress", "//:all")
}

func (z bazel) startup(dir string) []string {
	return []string{z.program, "--nohome_rc", "--nosystem_rc", "--output_user_root=" + filepath.Join(dir, ".bazel")}
}
func (z bazel) close(dir string) []string { return append(z.startup(dir), "shutdown") }
func (bazel) server(dir string) server    { return serverOf(dir) }
func (bazel) outputs() []string           { return []string{"bazel-bin/out"} }
func (bazel) describe(dir string, g graph) error {
	var b strings.Builder
	for _, s := range g.stages() {
		fmt.Fprintf(&b, "genrule(name = %q, srcs = [%q], outs = [%q], cmd = \"cp $< $@\")\n", s.Name, s.input(), s.output())
	}
	if err := writeFile(filepath.Join(dir, "WORKSPACE"), ""); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, "BUILD"), b.String())
}
