package stages

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// TestReferenceIsThatOfTheKinds fails when a stage.hcl was edited without `make docs`.
func TestReferenceIsThatOfTheKinds(t *testing.T) {
	c, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	pages := Reference(c)
	for name, want := range pages {
		got, err := os.ReadFile(filepath.Join("../docs/reference", name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/reference/%s is not what the kinds say (%v); run make docs", name, err)
		}
	}
	there, err := filepath.Glob("../docs/reference/kinds/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range there {
		if pages["kinds/"+filepath.Base(name)] == nil {
			t.Errorf("%s belongs to no kind; run make docs", name)
		}
	}
}

func TestExamplesAreHCL(t *testing.T) {
	c, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range c.Kinds {
		example := c.Example(k)
		file, diags := hclsyntax.ParseConfig([]byte(example), name, hcl.InitialPos)
		if diags.HasErrors() {
			t.Errorf("%s: %v\n%s", name, diags, example)
			continue
		}
		block := file.Body.(*hclsyntax.Body).Blocks[0]
		for i := range k.Params {
			if p := &k.Params[i]; p.Required() != (block.Body.Attributes[p.Name] != nil) {
				t.Errorf("%s: %s is required: %v, but see\n%s", name, p.Name, p.Required(), example)
			}
		}
	}
}

func TestWriteReferenceRemovesPagesOfKindsThatAreNoMore(t *testing.T) {
	dir := t.TempDir()
	c := &Catalog{SDK: sdk()}
	if diags := c.Add(folder("prune"), "kinds"); diags.HasErrors() {
		t.Fatal(diags)
	}
	for _, name := range []string{"kinds/gone.md", "cli.md"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteReference(c, dir); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, pattern := range []string{"*.md", "*/*.md"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, name := range found {
			got = append(got, strings.TrimPrefix(name, dir+"/"))
		}
	}
	if want := "cli.md kinds/README.md kinds/prune.md"; strings.Join(got, " ") != want {
		t.Errorf("written: %q, want %q", got, want)
	}
}
