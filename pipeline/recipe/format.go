package recipe

import "github.com/hashicorp/hcl/v2/hclwrite"

// Format gives the canonical layout of HCL text, as `terraform fmt` users know it. Text that does not parse keeps its words.
func Format(src []byte) []byte {
	return hclwrite.Format(src)
}
