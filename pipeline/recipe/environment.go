package recipe

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Environment is an interpreter of this machine that stages run in, in place of an environment that is installed.
type Environment struct {
	Name    string
	Python  string // absolute
	Overlay string // absolute folder of packages that go before the interpreter's own; "" for none
	Native  string // absolute folder that holds the environment's native parts; "" for none
	Range   hcl.Range
}

func (r *projectReader) environment(b *hclsyntax.Block) {
	e := Environment{Name: b.Labels[0], Range: b.DefRange()}
	r.walk(b.Body, settings{where: "environment", attributes: map[string]func(*hclsyntax.Attribute){
		"python":  func(a *hclsyntax.Attribute) { e.Python = r.path(a) },
		"overlay": func(a *hclsyntax.Attribute) { e.Overlay = r.path(a) },
		"native":  func(a *hclsyntax.Attribute) { e.Native = r.path(a) },
	}})
	if b.Body.Attributes["python"] == nil {
		r.problem(b.DefRange(), "No interpreter", "environment %q names none: write `python`, the path of one of this machine.", e.Name)
		return
	}
	r.project.Environments = append(r.project.Environments, e)
}

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
