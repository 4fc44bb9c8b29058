package view

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// TestSnippetsOfLongFiles: a mistake in a long file is written as the library writes it of the whole, wherever it is.
func TestSnippetsOfLongFiles(t *testing.T) {
	var text strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&text, "stage \"exec\" \"s%d\" {\n  # größer\n  a = \"ä %d\" + b\n  c = [\n    1,\n    2\n  ]\n}\n\n", i, i)
	}
	src := []byte(text.String())
	if len(src) < longFile {
		t.Fatal("not long")
	}
	file, diags := hclsyntax.ParseConfig(src, "r.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	files := map[string]*hcl.File{"r.hcl": file}
	blocks := file.Body.(*hclsyntax.Body).Blocks
	all := hcl.Diagnostics{
		{Severity: hcl.DiagError, Summary: "Nowhere"},
		{Severity: hcl.DiagError, Summary: "At the beginning", Subject: &hcl.Range{Filename: "r.hcl", Start: hcl.InitialPos, End: hcl.InitialPos}},
		{Severity: hcl.DiagError, Summary: "In no file", Subject: &hcl.Range{Filename: "x.hcl"}},
	}
	for _, b := range []*hclsyntax.Block{blocks[0], blocks[1000], blocks[1999]} {
		at := b.DefRange()
		all = append(all, &hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: "Of a block", Subject: &at})
		for _, name := range []string{"a", "c"} {
			attr := b.Body.Attributes[name]
			whole, expr := attr.SrcRange, attr.Expr.Range()
			all = append(all, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Of an expression", Detail: name, Subject: &expr, Context: &whole},
				&hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Of an attribute", Subject: &whole})
		}
		end := b.CloseBraceRange
		all = append(all, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "At its end", Subject: &end})
	}
	var got, want bytes.Buffer
	if err := Diagnostics(&got, all, files); err != nil {
		t.Fatal(err)
	}
	if err := hcl.NewDiagnosticTextWriter(&want, files, 0, false).WriteDiagnostics(all); err != nil {
		t.Fatal(err)
	}
	if got.String() != want.String() {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want.String())
	}
}
