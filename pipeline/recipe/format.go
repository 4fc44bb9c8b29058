package recipe

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Format gives the canonical layout of HCL text, as `terraform fmt` users know it. Text that does not parse keeps its words.
func Format(src []byte) []byte {
	return hclwrite.Format(src)
}

// CheckSyntax says what is wrong with HCL text before anything is asked of its meaning. Text that is refused must not be
// formatted: its layout would be a guess, or its nesting deeper than a stack.
func CheckSyntax(src []byte, name string) (map[string]*hcl.File, hcl.Diagnostics) {
	files := map[string]*hcl.File{}
	_, diags := parseSource(src, name, files)
	return files, diags
}
