package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Tools that know data: Snakemake, DVC and redun, each from PyPI.

type snakemake struct{ program string }

func (snakemake) name() string { return "Snakemake" }
func (s snakemake) command(string) []string {
	return []string{s.program, "--snakefile", "Snakefile", "--cores", "2", "--quiet", "all", "--", "all"}
}
func (snakemake) outputs() []string { return []string{"out"} }
func (snakemake) describe(dir string, g graph) error {
	var b strings.Builder
	b.WriteString("rule all:\n    input:\n")
	for _, s := range g.last() {
		fmt.Fprintf(&b, "        %q,\n", s.output())
	}
	for _, s := range g.stages() {
		fmt.Fprintf(&b, "rule %s:\n    input: %q\n    output: %q\n    shell: \"cp {input} {output}\"\n", s.Name, s.input(), s.output())
	}
	return writeFile(filepath.Join(dir, "Snakefile"), b.String())
}

type dvc struct{ program string }

func (dvc) name() string { return "DVC" }
func (d dvc) command(string) []string {
	return []string{"sh", "-c", "[ -d .dvc ] || " + d.program + " init --quiet --no-scm; exec " + d.program + " repro --quiet"}
}
func (dvc) environ(dir string) []string { return dvcEnviron(dir) }
func (dvc) outputs() []string           { return []string{"out"} }
func (dvc) describe(dir string, g graph) error {
	var b strings.Builder
	b.WriteString("stages:\n")
	for _, s := range g.stages() {
		fmt.Fprintf(&b, "  %s:\n    cmd: cp %s %s\n    deps: [%s]\n    outs: [%s]\n", s.Name, s.input(), s.output(), s.input(), s.output())
	}
	return writeFile(filepath.Join(dir, "dvc.yaml"), b.String())
}

// dvcEnviron keeps what DVC remembers of files in the folder of one project.
func dvcEnviron(dir string) []string {
	return []string{"DVC_NO_ANALYTICS=1", "DVC_SITE_CACHE_DIR=" + filepath.Join(dir, ".site")}
}

type redun struct{ program string }

func (redun) name() string              { return "redun" }
func (r redun) command(string) []string { return []string{r.program, "run", "workflow.py", "main"} }
func (redun) outputs() []string         { return []string{"out"} }
func (redun) describe(dir string, g graph) error {
	var b strings.Builder
	b.WriteString(`import subprocess
from redun import File, task

redun_namespace = "bench"

@task()
def copy(source: File, to: str) -> File:
    subprocess.run(["cp", source.path, to], check=True)
    return File(to)

STAGES = [
`)
	for _, s := range g.stages() {
		fmt.Fprintf(&b, "    (%q, %q, %q),\n", s.Name, s.From, s.Source)
	}
	b.WriteString(`]

@task()
def main() -> list[File]:
    made = {}
    for name, origin, source in STAGES:
        made[name] = copy(made[origin] if origin else File(source), f"out/{name}.txt")
`)
	fmt.Fprintf(&b, "    return list(made.values())[-%d:]\n", g.Width)
	return writeFile(filepath.Join(dir, "workflow.py"), b.String())
}

// tinfra is what the others are compared with.
type tinfra struct{ program string }

func (tinfra) name() string { return "tinfra" }
func (t tinfra) command(string) []string {
	return []string{t.program, "build", "recipe.hcl", "--plain"}
}
func (tinfra) environ(dir string) []string { return tinfraEnviron(dir) }
func (tinfra) outputs() []string           { return nil } // nothing is made outside of the cache
func (tinfra) describe(dir string, g graph) error {
	var b strings.Builder
	for _, s := range g.stages() {
		in, from := s.From+".txt", "exec."+s.From+".files"
		if s.From == "" {
			in, from = s.Source, fmt.Sprintf("path(%q)", s.Source)
		}
		fmt.Fprintf(&b, "stage \"exec\" %q {\n  command = [\"/bin/cp\", \"in/inputs/a/%s\", \"out/files/%s.txt\"]\n  inputs  = { a = %s }\n}\n\n",
			s.Name, in, s.Name, from)
	}
	return writeFile(filepath.Join(dir, "recipe.hcl"), b.String())
}

func tinfraEnviron(dir string) []string { return []string{"TINFRA_CACHE=" + tinfraCache(dir)} }

func tinfraCache(dir string) string { return filepath.Join(dir, ".cache") }
