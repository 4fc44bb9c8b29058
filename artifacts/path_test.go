package artifacts_test

import (
	"errors"
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
