package recipe

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLockRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock.hcl")
	sha := strings.Repeat("ab", 32)
	first := &Lock{Path: path, Sources: map[string]*Source{
		"hf://a/b": {Source: "hf://a/b", Resolved: map[string]string{"commit": "c0ffee"}, Files: []Pin{
			{"z.json", sha, 2}, {"a/${x} \"q\".bin", sha, 5_000_000_000},
		}},
	}}
	if err := WriteLock(first); err != nil {
		t.Fatal(err)
	}
	second := &Lock{Path: path, Sources: map[string]*Source{"file:x": {Source: "file:x"}}}
	if err := WriteLock(second); err != nil {
		t.Fatal(err)
	}
	got, diags := ReadLock(path)
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	b := got.Sources["hf://a/b"]
	if len(got.Sources) != 2 || b == nil || b.Resolved["commit"] != "c0ffee" || len(b.Files) != 2 {
		t.Fatalf("read back %+v", got.Sources)
	}
	if b.Files[0] != (Pin{"a/${x} \"q\".bin", sha, 5_000_000_000}) || b.Files[1].Path != "z.json" {
		t.Errorf("files %+v, want them whole and sorted", b.Files)
	}
	text, _ := os.ReadFile(path)
	os.Remove(path)
	if err := WriteLock(got); err != nil {
		t.Fatal(err)
	}
	again, _ := os.ReadFile(path)
	if string(text) != string(again) {
		t.Errorf("the text depends on more than the entries:\n%s\n%s", text, again)
	}
	if string(Format(text)) != string(text) {
		t.Errorf("the lock is not in canonical layout:\n%s", text)
	}
	left, _ := os.ReadDir(filepath.Dir(path))
	if len(left) != 1 {
		t.Errorf("temporary files are left: %v", left)
	}
}

func TestManyWriteOneLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock.hcl")
	const writers = 16
	errs := make(chan error, writers)
	for i := range writers {
		go func() {
			name := fmt.Sprintf("source %02d", i)
			errs <- WriteLock(&Lock{Path: path, Sources: map[string]*Source{name: {Source: name}}})
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	lock, diags := ReadLock(path)
	if len(diags) > 0 || len(lock.Sources) != writers {
		t.Errorf("%d entries of %d: %v", len(lock.Sources), writers, diags)
	}
}

func TestLockPath(t *testing.T) {
	for recipe, want := range map[string]string{"x/llama3-int4.hcl": "x/llama3-int4.lock.hcl", "a": "a.lock.hcl"} {
		if got := LockPath(recipe); got != want {
			t.Errorf("the lock of %s is %s, want %s", recipe, got, want)
		}
	}
}

func TestWrongLocks(t *testing.T) {
	sha := strings.Repeat("0", 64)
	file := func(path, sha, size string) string {
		return "format = 1\nsource \"a\" {\n  files = [{ path = \"" + path + "\", sha256 = \"" + sha + "\", size = " + size + " }]\n}\n"
	}
	for text, words := range map[string]string{
		"":                          "format is missing",
		"format = 2\nanything {}\n": "This tinfra reads format 1",
		"format = \"x\"\n":          "This tinfra reads format 1",
		"format = 1\nx = 1\n":       `no attribute "x"`,
		"format = 1\nsource {\n}\n": "blocks of the form",
		"format = 1\nsource \"a\" {}\nsource \"a\" {}\n":  "stands twice",
		"format = 1\nsource \"a\" {\n  resolved = 1\n}\n": "not of the right form",
		"format = 1\nsource \"a\" {\n  fils = []\n}\n":    `no attribute "fils"`,
		file("../a", sha, "1"):                            "leads out",
		file("/a", sha, "1"):                              "absolute",
		file("a/./b", sha, "1"):                           "shortest form",
		file("a", "00", "1"):                              "64 lower-case",
		file("a", sha, "-1"):                              "whole number of bytes",
		file("a", sha, "null"):                            "missing",
		"format = 1\n" + strings.Repeat("[", 1000):        "Nested",
	} {
		path := write(t, "x.lock.hcl", text)
		lock, diags := ReadLock(path)
		if lock == nil || !strings.Contains(diags.Error(), words) {
			t.Errorf("%q: %v, want one about %q", text, diags, words)
		}
		if err := WriteLock(&Lock{Path: path}); err == nil {
			t.Errorf("%q was overwritten", text)
		}
	}
}

func TestLoadReadsTheLock(t *testing.T) {
	path := write(t, "r.hcl", "stage \"download\" \"base\" {\n  source = \"a\"\n}\n")
	if err := WriteLock(&Lock{Path: LockPath(path), Sources: map[string]*Source{"a": {Source: "a"}}}); err != nil {
		t.Fatal(err)
	}
	r, diags := Load(path, Options{Catalog: testCatalog()})
	if len(diags) > 0 || r.Lock.Sources["a"] == nil || r.Lock.Path != LockPath(path) {
		t.Errorf("%+v %v", r.Lock, diags)
	}
	if err := os.WriteFile(LockPath(path), []byte("format = 9\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, diags = Load(path, Options{Catalog: testCatalog()})
	if said := show(r, diags); !strings.Contains(said, "r.lock.hcl line 1") || !strings.Contains(said, "1: format = 9") {
		t.Errorf("no snippet of the lock:\n%s", said)
	}
}

// A build that was killed while it wrote the lock leaves half of one beside the recipe: the next one removes it.
func TestHalfWrittenLockIsRemoved(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".r.lock.hcl.123456", ".other.lock.hcl.1", "r.lock.hcl.mine"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("format"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteLock(&Lock{Path: filepath.Join(dir, "r.lock.hcl"), Sources: map[string]*Source{"a": {Source: "a"}}}); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != ".other.lock.hcl.1 r.lock.hcl r.lock.hcl.mine" {
		t.Errorf("the folder holds %s", got)
	}
}

// What only looks like half a lock is somebody's: an editor's swap file, a backup, a folder.
func TestWhatLooksLikeHalfALockStays(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tinfra.lock.hcl")
	swap := filepath.Join(dir, ".tinfra.lock.hcl.swp")
	if err := os.WriteFile(swap, []byte("what vim has not saved yet"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, ".tinfra.lock.hcl.d", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, ".tinfra.lock.hcl.1234567890")
	if err := os.WriteFile(half, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteLock(&Lock{Path: path, Sources: map[string]*Source{}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(swap); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(half); err == nil {
		t.Error("half a lock is still there")
	}
}
