package graph

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

const opModule = `
variable "in" { default = null }
stage "op" "first" { one = var.in }
stage "op" "last" {
  for_each = toset(["a", "b"])
  one      = op.first.out
}
output "out" { value = op.last["a"].out }
`

func withModule(t *testing.T, text string) *recipe.Recipe {
	t.Helper()
	dir := t.TempDir()
	for name, src := range map[string]string{"r.hcl": text, "op.hcl": opModule} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(src), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, diags := recipe.Load(filepath.Join(dir, "r.hcl"), recipe.Options{Catalog: catalog()})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return r
}

// Edges go through modules, and only where ports do: two modules may each take what the other has made before.
func TestEdgesThroughModules(t *testing.T) {
	g, diags := Build(withModule(t, `
module "late" {
  source = "./op.hcl"
  in     = module.early["x"].out
}
module "early" {
  for_each = { x = 1 }
  source   = "./op.hcl"
}
stage "op" "end" { one = module.late.out }
`))
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	if got, want := names(g.Nodes), `module.early["x"].op.first module.early["x"].op.last["a"] module.late.op.first `+
		`module.late.op.last["a"] module.late.op.last["b"] module.early["x"].op.last["b"] op.end`; got != want {
		t.Errorf("order %s", got)
	}
	const early, late = `module.early["x"].op.first module.early["x"].op.last["a"]`, `module.late.op.first module.late.op.last["a"]`
	for target, want := range map[string]string{
		"module.early":               early + ` module.early["x"].op.last["b"]`,
		`module.early["x"].op.first`: `module.early["x"].op.first`,
		"module.early.op.last":       early + ` module.early["x"].op.last["b"]`,
		"module.*.op.first":          early + ` module.late.op.first`,
		"op.end":                     early + " " + late + " op.end",
	} {
		s, diags := g.Select([]string{target})
		if len(diags) > 0 || names(s.Nodes) != want {
			t.Errorf("%s selects %s, want %s (%v)", target, names(s.Nodes), want, diags)
		}
	}
	for target, words := range map[string]string{"module.erly": "Did you mean module.early?", "op.last": "There are: module.early, "} {
		if _, diags := g.Select([]string{target}); len(diags) != 1 || !strings.Contains(diags[0].Detail, words) {
			t.Errorf("%s: %v", target, diags)
		}
	}
}

// A cycle through modules is told with the way round, and the places in both files.
func TestCyclesThroughModules(t *testing.T) {
	r := withModule(t, `
module "m" {
  source = "./op.hcl"
  in     = op.back.out
}
stage "op" "back" { one = module.m.out }
`)
	_, diags := Build(r)
	if len(diags) != 1 {
		t.Fatal(diags)
	}
	d := diags[0]
	for _, want := range []string{`module.m.op.first → op.back → module.m.op.last["a"] → module.m.op.first`, "op.hcl:3", "op.hcl:6", "r.hcl:6"} {
		if !strings.Contains(d.Detail, want) {
			t.Errorf("no %s in %s", want, d.Detail)
		}
	}
	if d.Subject == nil || r.Files[d.Subject.Filename] == nil {
		t.Errorf("it points at %v", d.Subject)
	}
}
