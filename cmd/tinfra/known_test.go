package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

// surveyed is what is known of the recipe here where something has changed; nil where nothing is, or nothing has.
func surveyed(t *testing.T) *known {
	t.Helper()
	a := &app{stdin: strings.NewReader(""), stdout: os.Stdout, stderr: os.Stderr}
	defer a.close()
	_, _, k := a.standingNow(t.Context(), "recipe.hcl", selection{}, false)
	return k
}

// built is a workshop whose last build stands, and can be told from memory.
func built(t *testing.T) (dir string) {
	t.Helper()
	dir = workshop(t)
	tell(t, "build", "recipe.hcl", "--json")
	age(t, dir)
	tell(t, "build", "recipe.hcl", "--json")
	if !stands(t) {
		t.Fatal("nothing has changed, and the build is not told from memory")
	}
	return dir
}

// edited gives a stage another text. No two edits are alike.
func edited(t *testing.T, n int) {
	t.Helper()
	must(t, os.WriteFile("note.txt", []byte(fmt.Sprintf("edit number %d, of another length\n", n)), 0o644))
}

// TestKnownRecords: what is remembered of a record is all of it.
func TestKnownRecords(t *testing.T) {
	built(t)
	edited(t, 1)
	k := surveyed(t)
	if k == nil || len(k.stages) != 4 {
		t.Fatalf("known are %+v, want all four stages", k)
	}
	for key, s := range k.stages {
		rec, digest := k.record(key)
		if _, got, err := rec.Encode(); err != nil || got != digest || digest != s.Record {
			t.Errorf("%s is remembered as %+v, which has digest %s and not %s (%v)", s.Address, rec, got.Short(), digest.Short(), err)
		}
	}
}

// TestKnownTellsTheSame: after an edit, what is told with the help of memory is to the letter what a plan of everything tells.
func TestKnownTellsTheSame(t *testing.T) {
	built(t)
	cache := os.Getenv("TINFRA_CACHE")
	for i, args := range [][]string{
		{"plan", "recipe.hcl"},
		{"plan", "recipe.hcl", "--json"},
		{"why", "exec.said", "--recipe", "recipe.hcl"},
		{"why", "exec.glob", "--recipe", "recipe.hcl", "--json"},
		{"build", "recipe.hcl", "--json"},
		{"build", "recipe.hcl", "--plain"},
	} {
		edited(t, i)
		if k := surveyed(t); k == nil || len(k.stages) != 4 {
			t.Fatalf("before %v: known are %+v", args, k)
		}
		copied := filepath.Join(t.TempDir(), "cache")
		if text, err := exec.Command("cp", "-a", cache, copied).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		must(t, os.RemoveAll(filepath.Join(copied, "plans")))
		fast := unmeasured(written(t, args...))
		t.Setenv("TINFRA_CACHE", copied)
		slow := unmeasured(written(t, args...))
		t.Setenv("TINFRA_CACHE", cache)
		if fast != slow {
			t.Errorf("%v\nwith memory:\n%s\nwithout:\n%s", args, fast, slow)
		}
		if args[0] == "build" {
			tell(t, "build", "recipe.hcl", "--json") // the edit is of this moment, and so read once more
			if !stands(t) {
				t.Errorf("after %v: nothing has changed since, and the build is not told from memory", args)
			}
		}
	}
}

// measured are the figures of the stage that ran, which are never the same twice.
var measured = regexp.MustCompile(`"observed":\{[^}]*\}|\d+ms|\d+ MiB|0\.\d+`)

func unmeasured(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.Contains(line, "exec.said") || strings.HasPrefix(line, "one ") {
			line = measured.ReplaceAllString(line, "…")
		}
		lines[i] = strings.Join(strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '…' }), " ") // columns are as wide as their figures
	}
	return strings.Join(lines, "\n")
}

// TestKnownIsNotBelievedBlindly: what has gone or changed in the cache beside an edit is looked up.
func TestKnownIsNotBelievedBlindly(t *testing.T) {
	built(t)
	edited(t, 1)
	k := surveyed(t)
	if k == nil {
		t.Fatal("nothing is known")
	}
	var s *stood
	for _, one := range k.stages {
		if one.Address == "exec.glob" {
			s = one
		}
	}
	store, err := disk.Open(os.Getenv("TINFRA_CACHE"))
	must(t, err)
	defer store.Close()
	blobs := s.blobs()
	for name, path := range map[string]string{
		"the pointer": store.KeyFile(s.Key), "the action": store.BlobFile(blobs[0]), "the record": store.BlobFile(blobs[1]), "the manifest": store.BlobFile(blobs[2]),
		"the output": store.BlobFile(k.of.Blobs.at(s.unpackRest().Files[0]).Digest),
	} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		must(t, os.Rename(path, path+".kept"))
		if k := surveyed(t); k.stage(s.Key, s.Record) != nil {
			t.Errorf("%s is gone, and exec.glob is known", name)
		}
		must(t, os.WriteFile(path, append(text[:len(text)-1:len(text)-1], 'X'), 0o644))
		if k := surveyed(t); k.stage(s.Key, s.Record) != nil {
			t.Errorf("%s is another file, and exec.glob is known", name)
		}
		must(t, os.RemoveAll(path)) // a damaged blob is put aside by who finds it
		must(t, os.Rename(path+".kept", path))
	}
}
