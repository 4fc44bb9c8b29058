package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
)

// ancient is a time that a file's times may be believed of.
var ancient = time.Now().Add(-time.Hour)

// workshop is a project that reads everything that a plan can read.
func workshop(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{
		"tinfra.hcl":         "kinds = [\"./kinds\"]\n",
		"kinds/up/stage.hcl": "kind = \"up\"\ndoc = \"Makes text large.\"\ndeterminism = \"exact\"\ncommand = [\"{dir}/run\"]\ninput \"text\" {\n  type = \"files\"\n  doc = \"Text.\"\n}\noutput \"text\" {\n  type = \"files\"\n  doc = \"Text.\"\n}\n",
		"kinds/up/run":       "#!/bin/sh\nmkdir -p out/text; cat in/inputs/text/* in/text/* 2>/dev/null | tr a-z A-Z > out/text/t\necho '{\"protocol\": 1}' > result.json\n",
		"in/a.txt":           "a\n",
		"note.txt":           "note\n",
		"more.hcl":           "word = \"given\"\n",
		"part.hcl":           "variable \"x\" { default = \"1\" }\nstage \"exec\" \"m\" {\n  command = [\"/bin/sh\", \"-c\", \"echo $0 > out/files/m\", var.x]\n}\noutput \"made\" { value = exec.m.files }\n",
		"tool":               "#!/bin/sh\necho tool > out/files/t\n",
		"recipe.hcl": `variable "word" { default = "none" }
variable "seen" { default = "unset" }
module "part" { source = "./part.hcl" }
stage "exec" "glob" {
  command = ["/bin/sh", "-c", "cat in/inputs/a/in/* > out/files/all"]
  inputs  = { a = path("in/*.txt") }
}
stage "exec" "said" {
  command = ["/bin/sh", "-c", "echo $0 > out/files/said", "${file("note.txt")}${var.word}${var.seen}${try(file("maybe.txt"), "nothing")}"]
}
stage "exec" "tool" {
  command = ["tool"]
  env     = ["FLAVOUR"]
}
report "all" {
  title = "Everything"
  row "one" {
    stages = [exec.tool, exec.said]
  }
}
`,
	} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	must(t, os.Chmod(filepath.Join(dir, "tool"), 0o755))
	must(t, os.Chmod(filepath.Join(dir, "kinds/up/run"), 0o755))
	age(t, dir)
	t.Setenv("PATH", dir+":"+filepath.Join(dir, "early")+":"+os.Getenv("PATH"))
	t.Setenv("TINFRA_CACHE", filepath.Join(t.TempDir(), "cache"))
	t.Chdir(dir)
	return dir
}

// age makes all files old, so that their times are believed.
func age(t *testing.T, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, ancient, ancient)
	}))
}

// tell runs a verb and gives the key of each stage that it names.
func tell(t *testing.T, args ...string) map[string]string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := tinfra(args, strings.NewReader(""), &out, &errs); code != exitOK {
		t.Fatalf("%v: exit %d\n%s%s", args, code, out.String(), errs.String())
	}
	keys := map[string]string{}
	if args[0] == "plan" {
		var p struct{ Stages []plannedJSON }
		must(t, json.Unmarshal(out.Bytes(), &p))
		for _, s := range p.Stages {
			keys[s.Stage] = s.Key.String()
		}
		return keys
	}
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		var e struct{ Type, Stage, Key string }
		must(t, json.Unmarshal([]byte(line), &e))
		if e.Type == "finished" && e.Stage != "" {
			keys[e.Stage] = e.Key
		}
	}
	return keys
}

// stands tells whether a build of the recipe here would be told from memory.
func stands(t *testing.T, flags ...string) bool {
	t.Helper()
	var out bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &out}
	defer a.close()
	b := &building{app: a, maxRuns: -1, json: true, commit: func() string { return "" }}
	cmd := newBuild(a)
	must(t, cmd.ParseFlags(flags))
	b.selection.varFiles, _ = cmd.Flags().GetStringArray("var-file")
	_, done, err := b.repeat(t.Context(), "recipe.hcl", clock.Now())
	must(t, err)
	return done
}

// TestBuildStandsOnTheLast: a build that is told from memory has the keys that a plan of everything has, after each change that a
// plan could see.
func TestBuildStandsOnTheLast(t *testing.T) {
	dir := workshop(t)
	put := func(name, text string) func() {
		return func() {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755))
		}
	}
	sameLook := func(name, text string) func() { // as far as size and time of modification go
		return func() {
			put(name, text)()
			must(t, os.Chtimes(filepath.Join(dir, name), ancient, ancient))
		}
	}
	build := []string{"build", "recipe.hcl", "--var-file", "more.hcl", "--json"}
	for _, edit := range []struct {
		name  string
		do    func()
		falls bool
	}{
		{"nothing", func() {}, false},
		{"a touched input", func() { must(t, os.Chtimes("in/a.txt", time.Now(), time.Now())) }, false},
		{"a touched recipe", func() { must(t, os.Chtimes("recipe.hcl", time.Now(), time.Now())) }, false},
		{"an input of the same size and time", sameLook("in/a.txt", "b\n"), true},
		{"a file that the pattern finds now", put("in/b.txt", "b\n"), true},
		{"a file that the pattern does not find", put("in/b.md", "b\n"), true},
		{"a file that the pattern found", func() { must(t, os.Remove("in/b.txt")) }, true},
		{"a file that file() reads", put("note.txt", "another\n"), true},
		{"a file that file() missed", put("maybe.txt", "there\n"), true},
		{"a file that file() found", func() { must(t, os.Remove("maybe.txt")) }, true},
		{"a file of variables", put("more.hcl", "word = \"other\"\n"), true},
		{"a variable of the environment", func() { t.Setenv("TINFRA_VAR_seen", "now") }, true},
		{"the same, with another value", func() { t.Setenv("TINFRA_VAR_seen", "then") }, true},
		{"a variable that a stage is given", func() { t.Setenv("FLAVOUR", "sour") }, true},
		{"a module", put("part.hcl", "stage \"exec\" \"m\" {\n  command = [\"/bin/sh\", \"-c\", \"echo 2 > out/files/m\"]\n}\noutput \"made\" { value = exec.m.files }\n"), true},
		{"a program", put("tool", "#!/bin/sh\necho tool 2 > out/files/t\n"), true},
		{"the recipe", func() {
			text, err := os.ReadFile("recipe.hcl")
			must(t, err)
			put("recipe.hcl", string(text)+"stage \"up\" \"u\" {\n  text = exec.tool.files\n}\n")()
		}, true},
		{"a worker", put("kinds/up/run", "#!/bin/sh\nmkdir -p out/text; echo u > out/text/t\necho '{\"protocol\": 1}' > result.json\n"), true},
		{"a file beside the worker", put("kinds/up/table", "1\n"), true},
		{"a kind nobody uses", put("kinds/down/stage.hcl", "kind = \"down\"\ndoc = \"Does nothing.\"\ndeterminism = \"exact\"\ncommand = [\"true\"]\noutput \"text\" {\n  type = \"files\"\n  doc = \"Text.\"\n}\n"), true},
		{"tinfra.hcl", put("tinfra.hcl", "kinds = [\"./kinds\"]\njobs = 1\n"), true},
	} {
		tell(t, build...)
		age(t, dir)
		tell(t, build...) // the times have moved
		tell(t, build...)
		if !stands(t, "--var-file", "more.hcl") {
			t.Errorf("before %s: nothing has changed, and the build is not told from memory", edit.name)
		}
		edit.do()
		if stands(t, "--var-file", "more.hcl") == edit.falls {
			t.Errorf("%s: told from memory: %v", edit.name, !edit.falls)
		}
		made := tell(t, build...)
		if want := tell(t, "plan", "recipe.hcl", "--var-file", "more.hcl", "--json"); !maps.Equal(made, want) {
			t.Errorf("%s: the build has %v, a plan has %v", edit.name, made, want)
		}
	}
}

// written is what a verb writes, without what differs from run to run.
func written(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := tinfra(args, strings.NewReader(""), &out, &errs); code != exitOK {
		t.Fatalf("%v: exit %d\n%s%s", args, code, out.String(), errs.String())
	}
	return passing.ReplaceAllString(out.String()+errs.String(), "…")
}

// passing are times, durations and IDs of builds.
var passing = regexp.MustCompile(`\d{8}T\d{6}Z-[0-9a-f]{6}|"time":"[^"]*"|"seconds":[0-9.e-]+| +\d+\.\ds|in [0-9.]+m?s`)

// TestMemoryTellsTheSame: what is told from memory is, to the letter, what a plan of everything tells.
func TestMemoryTellsTheSame(t *testing.T) {
	dir := workshop(t)
	tell(t, "build", "recipe.hcl", "--json")
	age(t, dir)
	for _, args := range [][]string{
		{"build", "recipe.hcl", "--json"},
		{"build", "recipe.hcl", "--plain"},
		{"plan", "recipe.hcl"},
		{"plan", "recipe.hcl", "--json"},
		{"why", "exec.said", "--recipe", "recipe.hcl"},
		{"why", "exec.glob", "--recipe", "recipe.hcl", "--json"},
		{"why", "module.part", "--recipe", "recipe.hcl"},
	} {
		tell(t, "build", "recipe.hcl", "--json")
		if !stands(t) {
			t.Fatalf("before %v: not told from memory", args)
		}
		fast := written(t, args...)
		must(t, os.RemoveAll(filepath.Join(os.Getenv("TINFRA_CACHE"), "plans")))
		if slow := written(t, args...); slow != fast {
			t.Errorf("%v\nfrom memory:\n%s\nfrom the recipe:\n%s", args, fast, slow)
		}
	}
}

// TestMemoryTellsManyTheSame: of many hits nobody is told one by one.
func TestMemoryTellsManyTheSame(t *testing.T) {
	dir := workshop(t)
	text := "output \"first\" { value = exec.s0.files }\n"
	for i := range view.ManyStages + 1 {
		text += fmt.Sprintf("stage \"exec\" \"s%d\" {\n  command = [\"/bin/sh\", \"-c\", \"echo %d > out/files/f\"]\n}\n", i, i)
	}
	must(t, os.WriteFile("recipe.hcl", []byte(text), 0o644))
	age(t, dir)
	for _, args := range [][]string{{"build", "recipe.hcl", "--plain"}, {"build", "recipe.hcl", "--plain", "--logs"}, {"build", "recipe.hcl", "--json"}} {
		tell(t, "build", "recipe.hcl", "--json")
		if !stands(t) {
			t.Fatalf("before %v: not told from memory", args)
		}
		fast := written(t, args...)
		must(t, os.RemoveAll(filepath.Join(os.Getenv("TINFRA_CACHE"), "plans")))
		if slow := written(t, args...); slow != fast {
			t.Errorf("%v\nfrom memory:\n%s\nfrom the recipe:\n%s", args, fast, slow)
		}
	}
}

// TestDamagedMemory: what is not what was kept is as good as nothing.
func TestDamagedMemory(t *testing.T) {
	dir := workshop(t)
	age(t, dir)
	tell(t, "build", "recipe.hcl", "--json")
	want := tell(t, "plan", "recipe.hcl", "--json")
	names, err := filepath.Glob(filepath.Join(os.Getenv("TINFRA_CACHE"), "plans", "*"))
	if err != nil || len(names) != 2 { // the build and its recipe
		t.Fatal(names, err)
	}
	for name, damage := range map[string]func(whole, sum, rest []byte) []byte{
		"empty": func(_, _, _ []byte) []byte { return nil },
		"cut":   func(whole, _, _ []byte) []byte { return whole[:len(whole)/2] },
		"another digest": func(whole, sum, _ []byte) []byte {
			return append(bytes.Repeat([]byte("0"), len(sum)), whole[len(sum):]...)
		},
		"no standing at all":   func(_, _, _ []byte) []byte { return resealed([]byte("\"recipe.hcl\"\nnothing")) },
		"sealed, and cut":      func(_, _, rest []byte) []byte { return resealed(rest[:len(rest)*2/3]) },
		"sealed, and much cut": func(_, _, rest []byte) []byte { return resealed(rest[:40]) },
	} {
		for _, path := range names {
			whole, err := os.ReadFile(path)
			must(t, err)
			sum, rest, _ := bytes.Cut(whole, []byte("\n"))
			must(t, os.WriteFile(path, damage(whole, sum, rest), 0o644))
		}
		if stands(t) {
			t.Errorf("%s: told from memory", name)
		}
		if got := tell(t, "build", "recipe.hcl", "--json"); !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func resealed(rest []byte) []byte { return append([]byte(artifacts.Sum(rest).String()+"\n"), rest...) }
