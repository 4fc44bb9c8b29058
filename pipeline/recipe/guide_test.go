package recipe

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/stages"
)

// snippets are the fenced blocks of a Markdown page with exactly this info string, joined.
func snippets(t *testing.T, page, info string) string {
	t.Helper()
	src, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	inside := false
	for _, line := range strings.Split(string(src), "\n") {
		switch {
		case line == "```"+info && !inside:
			inside = true
		case line == "```":
			inside = false
		case inside:
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// TestTheGuideIsARecipe keeps docs/recipes.md true: its snippets are one recipe of the kinds that tinfra has.
func TestTheGuideIsARecipe(t *testing.T) {
	const page = "../../docs/recipes.md"
	catalog, err := stages.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, "small.hcl", snippets(t, page, "hcl"))
	prompts := filepath.Join(filepath.Dir(path), "prompts")
	if err := os.Mkdir(prompts, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(prompts, "a.txt"), []byte("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	module := snippets(t, page, "hcl modules/onnx.hcl")
	if err := os.Mkdir(filepath.Join(filepath.Dir(path), "modules"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "modules", "onnx.hcl"), []byte(module), 0o644); err != nil {
		t.Fatal(err)
	}
	r, diags := Load(path, Options{Catalog: catalog})
	if len(diags) > 0 {
		t.Fatal(show(r, diags))
	}
	if r.Stage(`perplexity.int4["g64"]`) == nil || r.Stage(`module.onnx["g64"].perplexity.graph`) == nil || len(r.Outputs) != 4 {
		t.Errorf("stages %q, %d outputs", addresses(r), len(r.Outputs))
	}
	if len(r.Reports) != 1 || !slices.Equal(r.Reports[0].Rows[2].Stages, []string{`module.onnx["g64"].perplexity.graph`}) {
		t.Errorf("reports %+v", r.Reports)
	}
	for _, text := range []string{string(r.Source), module} {
		if got := string(Format([]byte(text))); got != text {
			t.Errorf("the snippets are not in canonical layout; formatted they are\n%s", got)
		}
	}
	guide, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for name := range functions(".", nil) {
		if !strings.Contains(string(guide), "`"+name+"`") && !strings.Contains(string(guide), "`"+name+"(") {
			t.Errorf("the guide does not name %s", name)
		}
	}
	settings := strings.Replace(snippets(t, page, "hcl tinfra.hcl"), `kinds = ["./kinds"]`, `kinds = ["."]`, 1)
	project, diags := LoadProject(filepath.Dir(write(t, ProjectFile, settings)), nil)
	if len(diags) > 0 || project.Jobs != 4 {
		t.Errorf("the project file of the guide: %v", diags)
	}
}
