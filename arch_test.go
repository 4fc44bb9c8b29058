// Package tinfra_test holds the rules of the house: who may import whom, and how long things may grow.
package tinfra_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/Ruihan11/tiny-infra/"

// mayImport is the import table: the packages of this module that each package may use. Data goes from recipe text to
// graph, plan, run, artifacts, lineage and report; imports go with it, never back. The test parses the files itself: one
// that asks `go list` would stay green out of the test cache.
var mayImport = map[string][]string{
	"artifacts":           {},
	"artifacts/disk":      {"artifacts", "artifacts/glance"},
	"artifacts/s3":        {"artifacts"},
	"artifacts/s3/s3test": {"artifacts"},
	"artifacts/bucket":    {"artifacts"},
	"artifacts/pieces":    {"artifacts", "artifacts/tensor"},
	"artifacts/shared":    {"artifacts", "artifacts/bucket", "artifacts/pieces"},
	"artifacts/mem":       {"artifacts"},
	"artifacts/tensor":    {"artifacts"},
	"artifacts/numbers":   {"artifacts/tensor"},
	"artifacts/glance":    {},
	"artifacts/storetest": {"artifacts"},
	"stages":              {"artifacts"},
	"stages/protocol":     {},
	"stages/env":          {"artifacts"},
	"pipeline/event":      {},
	"pipeline/reading":    {"artifacts", "artifacts/glance"},
	"pipeline/recipe":     {"stages", "pipeline/reading"},
	"pipeline/graph":      {"pipeline/recipe"},
	"pipeline/plan":       {"artifacts", "stages", "stages/env", "pipeline/reading", "pipeline/recipe", "pipeline/graph"},
	"pipeline/run": {"artifacts", "artifacts/tensor", "stages", "stages/protocol", "stages/env", "pipeline/event", "pipeline/recipe",
		"pipeline/graph", "pipeline/plan"},
	"pipeline/run/local": {"pipeline/run", "stages/protocol"},
	"pipeline/run/slurm": {"pipeline/run", "stages/protocol"},
	"lineage":            {"artifacts"},
	"report":             {"artifacts", "lineage"},
	"cmd/tinfra":         {"*"},
	// It knows the program by its command line only. A server is started as tests start it, and a real model's weights are read for what is stored.
	"bench":           {"artifacts/s3/s3test", "artifacts/tensor"},
	"bench/plain":     {},
	"cmd/tinfra/view": {"pipeline/event"},
}

const (
	maxFileLines = 400
	maxFuncLines = 60
)

// source is a Go file of ours.
type source struct {
	pkg  string // folder, relative to the root; "." for the root
	name string
	file *ast.File
	set  *token.FileSet
	text []byte
}

func (s source) test() bool { return strings.HasSuffix(s.name, "_test.go") }

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if name != "." && (base == "testdata" || base[0] == '.' || base[0] == '_') {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, text, parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, source{path.Dir(filepath.ToSlash(name)), name, file, set, text})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found %d Go files: the walk is broken", len(all))
	}
	return all
}

func TestImportsGoOneWay(t *testing.T) {
	for _, s := range sources(t) {
		if s.pkg == "." || s.test() { // a test may use the real stores
			continue
		}
		for _, wrong := range forbidden(s) {
			t.Error(wrong)
		}
	}
}

// TestForbiddenImportIsSeen proves that the test above can fail.
func TestForbiddenImportIsSeen(t *testing.T) {
	for name, c := range map[string]struct {
		pkg, imports string
		wrong        int
	}{
		"back":     {"artifacts", `"github.com/Ruihan11/tiny-infra/stages"`, 1},
		"forth":    {"stages", `"github.com/Ruihan11/tiny-infra/artifacts"`, 0},
		"renamed":  {"pipeline/graph", `plan "github.com/Ruihan11/tiny-infra/pipeline/plan"`, 1},
		"unlisted": {"utils", `"fmt"`, 1},
		"foreign":  {"artifacts", `"github.com/gowebpki/jcs"`, 0},
		"anything": {"cmd/tinfra", `"github.com/Ruihan11/tiny-infra/lineage"`, 0},
	} {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name+".go", "package p\nimport "+c.imports, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		if got := forbidden(source{pkg: c.pkg, name: name + ".go", file: file, set: set}); len(got) != c.wrong {
			t.Errorf("%s: %d complaints, want %d: %v", name, len(got), c.wrong, got)
		}
	}
}

func forbidden(s source) []string {
	allowed, known := mayImport[s.pkg]
	if !known {
		return []string{s.name + ": package " + s.pkg + " is not in the import table"}
	}
	var out []string
	for _, spec := range s.file.Imports {
		full, err := strconv.Unquote(spec.Path.Value)
		dep, ours := strings.CutPrefix(full, module)
		if err != nil || ours && !permitted(allowed, dep) {
			out = append(out, s.set.Position(spec.Pos()).String()+": "+s.pkg+" must not import "+dep)
		}
	}
	return out
}

func permitted(allowed []string, dep string) bool {
	return slices.Contains(allowed, dep) || slices.Contains(allowed, "*")
}

// A forbidden import anywhere must be seen; a table that allows it by mistake is a table with a cycle.
func TestImportTableHasNoCycle(t *testing.T) {
	const (
		open = iota + 1
		done
	)
	state := map[string]int{}
	var visit func(pkg string, trail []string)
	visit = func(pkg string, trail []string) {
		switch state[pkg] {
		case done:
			return
		case open:
			t.Fatalf("the import table allows a cycle: %s", strings.Join(append(trail, pkg), " → "))
		}
		state[pkg] = open
		for _, dep := range mayImport[pkg] {
			if _, ok := mayImport[dep]; !ok && dep != "*" {
				t.Errorf("%s may import %s, which is not in the table", pkg, dep)
			}
			visit(dep, append(trail, pkg))
		}
		state[pkg] = done
	}
	for pkg := range mayImport {
		visit(pkg, nil)
	}
}

func TestNothingGrowsTooLong(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		if n := strings.Count(string(s.text), "\n"); n >= maxFileLines {
			t.Errorf("%s has %d lines; split it before %d", s.name, n, maxFileLines)
		}
		for _, decl := range s.file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			from, to := s.set.Position(f.Pos()).Line, s.set.Position(f.End()).Line
			if n := to - from + 1; n >= maxFuncLines {
				t.Errorf("%s:%d: func %s has %d lines; split it before %d", s.name, from, f.Name.Name, n, maxFuncLines)
			}
		}
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		opens := s.file.Doc != nil &&
			(strings.HasPrefix(s.file.Doc.Text(), "Package "+s.file.Name.Name) ||
				s.file.Name.Name == "main" && strings.HasPrefix(s.file.Doc.Text(), "Command "))
		documented[s.pkg] = documented[s.pkg] || opens
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("package %s does not open with a doc comment", pkg)
		}
	}
}

func TestInterfacesStaySmall(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if face, ok := n.(*ast.InterfaceType); ok && face.Methods.NumFields() > 4 {
				t.Errorf("%s: an interface of %d methods; 4 at most", s.set.Position(n.Pos()), face.Methods.NumFields())
			}
			return true
		})
	}
}
