package recipe

import (
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// maven is a repository of jars: an address or a folder.
func (r *projectReader) maven(a *hclsyntax.Attribute) string {
	v, ok := r.value(a, cty.String, "an address or a folder")
	switch {
	case !ok:
		return ""
	case strings.Contains(v.AsString(), "://"):
		return r.address(a, "the environment variable TINFRA_MAVEN may")
	default:
		return r.path(a)
	}
}
