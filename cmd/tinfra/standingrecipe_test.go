package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// restores tells whether a plan of the recipe here takes it from the last build. That one is, in all that counts, the one that loading gives.
func restores(t *testing.T, s selection) bool {
	t.Helper()
	a := &app{stdin: strings.NewReader(""), stdout: os.Stdout, stderr: os.Stderr}
	defer a.close()
	_, _, k := a.standingNow(t.Context(), "recipe.hcl", s, false)
	of := &site{known: k}
	must(t, of.read(a, "recipe.hcl", &s))
	if of.restored.IsZero() {
		return false
	}
	_, loaded, err := a.read("recipe.hcl", &s)
	must(t, err)
	// Catalogues are read anew each time: what kinds are called is what counts.
	for i := range max(len(loaded.Stages), len(of.recipe.Stages)) {
		want, got := *loaded.Stages[i], *of.recipe.Stages[i]
		if want.Kind.Name != got.Kind.Name {
			t.Errorf("%s is of kind %s, not %s", want.Address, got.Kind.Name, want.Kind.Name)
		}
		want.Kind, got.Kind = nil, nil
		if !reflect.DeepEqual(want, got) {
			t.Errorf("%+v is restored as %+v", want, got)
		}
	}
	if !reflect.DeepEqual(loaded.Reports, of.recipe.Reports) || !reflect.DeepEqual(loaded.Outputs, of.recipe.Outputs) ||
		!reflect.DeepEqual(loaded.Variables, of.recipe.Variables) || !bytes.Equal(loaded.Source, of.recipe.Source) ||
		!reflect.DeepEqual(loaded.Modules, of.recipe.Modules) || !reflect.DeepEqual(loaded.Lock, of.recipe.Lock) {
		t.Errorf("%+v is restored as %+v", loaded, of.recipe)
	}
	return true
}

// spoken is all that a verb says, and its exit code, without what differs from run to run.
func spoken(args ...string) string {
	var out, errs bytes.Buffer
	code := tinfra(args, strings.NewReader(""), &out, &errs)
	text := measured.ReplaceAllString(passing.ReplaceAllString(out.String()+errs.String(), "…"), "…")
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '…' }), " ") // columns are as wide as their figures
	lines := strings.Split(text, "\n")
	if args[0] == "build" { // stages that wait for none of each other may begin in any order
		slices.Sort(lines)
	}
	return strings.Join(lines, "\n") + fmt.Sprintf("\nexit %d", code)
}

// sameWithoutMemory compares what a verb says with what it says where nothing is remembered.
func sameWithoutMemory(t *testing.T, when string, args ...string) {
	t.Helper()
	cache := os.Getenv("TINFRA_CACHE")
	copied := filepath.Join(t.TempDir(), "cache")
	if text, err := exec.Command("cp", "-a", cache, copied).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	must(t, os.RemoveAll(filepath.Join(copied, "plans")))
	fast := spoken(args...)
	t.Setenv("TINFRA_CACHE", copied)
	slow := spoken(args...)
	t.Setenv("TINFRA_CACHE", cache)
	if fast != slow {
		t.Errorf("%s: %v\nwith memory:\n%s\nwithout:\n%s", when, args, fast, slow)
	}
}

// TestRecipeOfTheLastBuild: after each change that a plan could see, the recipe is loaded anew where it depends on what has changed, and
// only there; and what is said is to the letter what a plan of everything says.
func TestRecipeOfTheLastBuild(t *testing.T) {
	dir := workshop(t)
	put := func(name, text string) func() {
		return func() {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755))
		}
	}
	all := func(edits ...func()) func() {
		return func() {
			for _, edit := range edits {
				edit()
			}
		}
	}
	text, err := os.ReadFile("recipe.hcl")
	must(t, err)
	put("recipe.hcl", string(text)+`output "all" {
  description = "All."
  value       = exec.glob.files
}
output "number" { value = [1, 0.1, null] }
stage "exec" "each" {
  for_each = toset(["x", "y z"])
  command  = ["/bin/sh", "-c", "! grep -r bad in/inputs > /dev/null; cat in/inputs/*/* > out/files/f; echo $0 >> out/files/f", each.key]
  inputs   = { a = exec.glob.files }
  salt     = "1"
  needs { cpus = 0.5 }
}
`)()
	for _, edit := range []struct {
		name     string
		do       func()
		restored bool
	}{
		{"an input", put("in/a.txt", "b\n"), true},
		{"an input, and a touched recipe", all(put("in/a.txt", "c\n"), func() { must(t, os.Chtimes("recipe.hcl", ancient, ancient)) }), true},
		{"a program", put("tool", "#!/bin/sh\necho tool 2 > out/files/t\n"), true},
		{"a variable that a stage is given", func() { t.Setenv("FLAVOUR", "sour") }, true},
		{"a file that the pattern finds now", put("in/b.txt", "b\n"), false},
		{"a file that file() reads", put("note.txt", "another\n"), false},
		{"a file that file() missed", put("maybe.txt", "there\n"), false},
		{"an input and a file that file() found", all(put("in/a.txt", "d\n"), func() { must(t, os.Remove("maybe.txt")) }), false},
		{"a file of variables", put("more.hcl", "word = \"other\"\n"), false},
		{"a variable of the environment", func() { t.Setenv("TINFRA_VAR_seen", "now") }, false},
		{"a module", put("part.hcl", "stage \"exec\" \"m\" {\n  command = [\"/bin/sh\", \"-c\", \"echo 2 > out/files/m\"]\n}\noutput \"made\" { value = exec.m.files }\n"), false},
		{"the recipe", func() {
			text, err := os.ReadFile("recipe.hcl")
			must(t, err)
			put("recipe.hcl", strings.ReplaceAll(string(text), `salt     = "1"`, `salt     = "2"`))()
		}, false},
		{"a lock", put("recipe.lock.hcl", "format = 1\n"), false},
		{"a kind nobody uses", put("kinds/down/stage.hcl", "kind = \"down\"\ndoc = \"Does nothing.\"\ndeterminism = \"exact\"\ncommand = [\"true\"]\noutput \"text\" {\n  type = \"files\"\n  doc = \"Text.\"\n}\n"), false},
		{"tinfra.hcl", put("tinfra.hcl", "kinds = [\"./kinds\"]\njobs = 1\n"), false},
		{"an input that a stage fails over", put("in/a.txt", "bad\n"), true},
		{"an input that none fails over", put("in/a.txt", "good\n"), true},
	} {
		build := []string{"build", "recipe.hcl", "--var-file", "more.hcl", "--json"}
		tell(t, build...)
		age(t, dir)
		tell(t, build...) // the times have moved
		edit.do()
		if got := restores(t, selection{varFiles: []string{"more.hcl"}}); got != edit.restored {
			t.Errorf("%s: restored: %v", edit.name, got)
		}
		sameWithoutMemory(t, edit.name, "plan", "recipe.hcl", "--json", "--var-file", "more.hcl")
		if edit.restored {
			sameWithoutMemory(t, edit.name, "why", "exec.each", "--recipe", "recipe.hcl", "--var-file", "more.hcl")
		}
		sameWithoutMemory(t, edit.name, "build", "recipe.hcl", "--var-file", "more.hcl", "--plain")
		if strings.HasSuffix(edit.name, "a stage fails over") {
			must(t, os.WriteFile("in/a.txt", []byte("b\n"), 0o644))
			continue
		}
		if !stands(t, "--var-file", "more.hcl") {
			t.Errorf("after %s: nothing has changed since, and the build is not told from memory", edit.name)
		}
		must(t, os.WriteFile("in/a.txt", []byte("after "+edit.name+"\n"), 0o644))
		if !restores(t, selection{varFiles: []string{"more.hcl"}}) {
			t.Errorf("after %s: the recipe is not restored beside an edit", edit.name)
		}
	}
}

// TestRecipeIsNotBelievedBlindly: a snapshot that is not the one that the last build left, or none, is as good as nothing.
func TestRecipeIsNotBelievedBlindly(t *testing.T) {
	dir := workshop(t)
	tell(t, "build", "recipe.hcl", "--json")
	age(t, dir)
	tell(t, "build", "recipe.hcl", "--json")
	must(t, os.WriteFile("in/a.txt", []byte("edited\n"), 0o644))
	if !restores(t, selection{}) {
		t.Fatal("the recipe is loaded anew")
	}
	a := &app{stdin: strings.NewReader(""), stdout: os.Stdout, stderr: os.Stderr}
	defer a.close()
	h, name, st := (&building{app: a}).recall("recipe.hcl")
	if st == nil {
		t.Fatal("nothing is remembered")
	}
	packed := h.store.Recall(snapshotName(name))
	if artifacts.Sum([]byte(packed)) != st.Snapshot {
		t.Fatal("the snapshot is not the one that is remembered")
	}
	for _, other := range []string{"", "x", packed[:len(packed)-1], packed + "x"} {
		h.store.Remember(snapshotName(name), "recipe.hcl", []byte(other))
		if restores(t, selection{}) {
			t.Errorf("%d bytes of %d are believed", len(other), len(packed))
		}
		sameWithoutMemory(t, "another snapshot", "plan", "recipe.hcl", "--json")
	}
	h.store.Remember(snapshotName(name), "recipe.hcl", []byte(packed))
	if !restores(t, selection{}) {
		t.Error("the right one is not believed again")
	}
}

// TestRecipeWithFewKinds: where no report may tell of others, only the kinds that the recipe has stages of are read with it.
func TestRecipeWithFewKinds(t *testing.T) {
	dir := workshop(t)
	text, err := os.ReadFile("recipe.hcl")
	must(t, err)
	few, _, _ := strings.Cut(string(text), "report ")
	must(t, os.WriteFile("recipe.hcl", []byte(few), 0o644))
	for _, args := range [][]string{{"plan", "recipe.hcl", "--json"}, {"why", "exec.glob"}, {"build", "recipe.hcl", "--plain"}} {
		tell(t, "build", "recipe.hcl", "--json")
		age(t, dir)
		tell(t, "build", "recipe.hcl", "--json")
		must(t, os.WriteFile("in/a.txt", []byte(strings.Join(args, " ")), 0o644))
		a := &app{stdin: strings.NewReader(""), stdout: os.Stdout, stderr: os.Stderr}
		defer a.close()
		_, _, k := a.standingNow(t.Context(), "recipe.hcl", selection{}, false)
		of := &site{known: k}
		must(t, of.read(a, "recipe.hcl", &selection{}))
		if names := of.catalog.Names(); of.restored.IsZero() || !slices.Equal(names, []string{"exec", "up"}) { // those of the project are all read
			t.Errorf("restored: %v, with the kinds %v", !of.restored.IsZero(), names)
		}
		if len(args) == 2 {
			args = append(args, "--recipe", "recipe.hcl")
		}
		sameWithoutMemory(t, "an input", args...)
	}
}
