package recipe

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hcled"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// sameInParts fails where a text that is cut wherever that is possible parses otherwise than in one piece.
func sameInParts(t *testing.T, src []byte) {
	t.Helper()
	want, wrong := hclsyntax.ParseConfig(src, "a.hcl", hcl.InitialPos)
	got, diags := parseText(src, "a.hcl", 0)
	if !reflect.DeepEqual(diags, wrong) {
		t.Fatalf("%q: in parts it says %v, whole %v", src, diags, wrong)
	}
	if !reflect.DeepEqual(got.Body, want.Body) {
		t.Fatalf("%q: in parts it is %#v, whole %#v", src, got.Body, want.Body)
	}
	for offset := 0; offset < len(src); offset += 1 + len(src)/64 {
		if a, b := hcled.ContextString(got, offset), hcled.ContextString(want, offset); a != b {
			t.Fatalf("%q: offset %d is in %q, not %q", src, offset, a, b)
		}
	}
}

// TestFilesInParts parses what looks like the end of a block and is none, and all recipes that there are.
func TestFilesInParts(t *testing.T) {
	texts := []string{
		"", "}\n", "\n}\n", "a {\n}\n", "a {\n}\nb \"x\" {\n c = 1\n}\n# }\n",
		"a {\n b = <<E\n}\nc {\n}\nE\n}\nd {\n}\n",
		"a {\n b = <<-E\n  x ${\n{ d = 1\n}\n.d}\n}\n  E\n}\n",
		"/*\n}\n*/\na {\n}\nb {\n}\n",
		"a {\n}\n/*\nb {\n}\n*/ c {\n}\n",
		"a {\n b = {\n c = 1\n}\n}\nd {\n}\n",
		"a {\n b = [\n{\n}\n]\n}\n",
		"a = 1\nb {\n}\na = 2\n",
		"b {\n}\na = 2\n",
		"b {\n}\na = 2\nc {\n}\na = 3\n",
		"a {\n b = \"${{\n}\n}\"\n}\n",
		"a {\n b = <<E\n}\n",
		"a {\n}\nb = <<E\nx\n}\nE\n",
		"a {\n b {\n}\n}\nc {\n}\n}\nd {\n}\n",
		"a {\r\n}\r\nb {\r\n}\r\n", "a {\n}\n\n\n}\n", "a {\n}\n}}\nb {\n}\n",
		"a {\n}\n\"b\n}\nc {\n}\n", " A{\n}\n", "\n# x\nA {\n}\n#",
	}
	for _, text := range texts {
		sameInParts(t, []byte(text))
	}
	for _, pattern := range []string{"testdata/*.hcl", "testdata/wrong/*.hcl", "../../recipes/*.hcl", "../../recipes/*/*.hcl", "../../stages/*/stage.hcl"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v, %v", pattern, paths, err)
		}
		for _, path := range paths {
			if src, err := os.ReadFile(path); err == nil {
				sameInParts(t, src)
			}
		}
	}
}
