package artifacts_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

func TestCheckPath(t *testing.T) {
	for _, p := range []string{"a", "a/b", "a.b/c-d_e", "...", "a b", "ünïcode/ß", "tokenizer.json", "ab:c", "-x", strings.Repeat("x", 255)} {
		if err := artifacts.CheckPath(p); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	}
	for _, p := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/..", "a/../b", "a/.", `a\b`, `\`, "a\x00", "a\nb", "a\x7f", "\xff", "e\u0301",
		"C:/a", "c:a", strings.Repeat("x", 256), strings.Repeat("x/", 512) + "x",
	} {
		if err := artifacts.CheckPath(p); !errors.Is(err, artifacts.ErrPath) {
			t.Errorf("%q: %v", p, err)
		}
	}
}

func TestCheckFiles(t *testing.T) {
	files := func(paths string) []artifacts.File {
		var out []artifacts.File
		for p := range strings.FieldsSeq(paths) {
			out = append(out, artifacts.File{Path: p})
		}
		return out
	}
	for _, good := range []string{"", "a", "a b", "A b", "a-b a/b", "a/A/x b/a/x", "B/x a"} {
		if err := artifacts.CheckFiles(files(good)); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, says := range map[string]string{
		"b a": "sorted", "a a": "twice", "A a": "letter case", "A/x a/y": "letter case", "A a/y": "letter case", "a a/b": "both a file and a folder",
		"STRASSE straße": "letter case", "É é": "letter case", "K \u212a": "normal form", "a/b a/b/c": "both", "x/../y": "..",
	} {
		if err := artifacts.CheckFiles(files(bad)); !errors.Is(err, artifacts.ErrPath) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", bad, err, says)
		}
	}
}

// A manifest that could not be read again is refused before its files are hashed, which may take hours.
func TestCheckFilesRefusesWhatNoManifestHolds(t *testing.T) {
	files := make([]artifacts.File, 200_000)
	for i := range files {
		files[i].Path = fmt.Sprintf("part-%06d", i)
		files[i].Blob = artifacts.Blob{MediaType: artifacts.FileMediaType, Digest: digest("x"), Size: 1 << 40}
	}
	if err := artifacts.CheckFiles(files); err != nil {
		t.Errorf("200,000 files: %v", err)
	}
	const some = 1000 // what holds for some, holds for all
	raw, _, err := (&artifacts.Manifest{Type: "files", Files: files[:some]}).Encode()
	if most := (64 << 20) * some / len(files); err != nil || len(raw) > most {
		t.Errorf("their manifest has %d bytes for %d files, more than %d: %v", len(raw), some, most, err)
	}
	for i := range files {
		files[i].Path += strings.Repeat("x", 150)
	}
	if err := artifacts.CheckFiles(files); err == nil || !strings.Contains(err.Error(), "put them into fewer files") {
		t.Errorf("200,000 files with long names: %v", err)
	}
}
