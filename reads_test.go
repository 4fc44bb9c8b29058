package tinfra_test

import (
	"go/ast"
	"slices"
	"testing"
)

// readers are what reads this machine; taken down are the readings of pipeline/reading alone.
var readers = map[string][]string{
	"os":       {"ReadFile", "Open", "OpenFile", "Stat", "Lstat", "ReadDir", "Readlink", "Getenv", "LookupEnv", "Environ", "Getwd", "Hostname", "UserHomeDir", "DirFS"},
	"filepath": {"Glob", "Walk", "WalkDir", "EvalSymlinks"},
	"exec":     {"Command", "CommandContext", "LookPath"},
}

// untaken are the functions of the planning packages that read by themselves, each with the reason why a build that is told from
// memory need not know of it.
var untaken = map[string]string{
	"WriteReference": "not while planning",
	"readLimited":    "takes down what it has read",
	"pathFunc":       "only to word a mistake",
	"leaveOut":       "the cache's folder, which is part of the request",
	"WriteLock":      "not while planning",
	"discardHalf":    "not while planning",
	"ExpandHome":     "where the cache is; that is part of the request, and no home is a mistake",
	"Make":           "a default for tests",
	"sumProgram":     "hashProgram takes it down",
	"localFiles":     "opened when it is stored; what is planned is digests, which Files gives",
}

// TestPlansTakeDownWhatTheyRead: a reading that nobody took down would make a later build a wrong hit.
func TestPlansTakeDownWhatTheyRead(t *testing.T) {
	found := 0
	for _, s := range sources(t) {
		if s.test() || !slices.Contains([]string{"pipeline/recipe", "pipeline/plan", "pipeline/graph", "stages"}, s.pkg) {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				pkg, ok := sel.X.(*ast.Ident)
				if !ok || !slices.Contains(readers[pkg.Name], sel.Sel.Name) {
					return true
				}
				found++
				if untaken[f.Name.Name] == "" {
					t.Errorf("%s: %s calls %s.%s: let pipeline/reading do it, or say in untaken why not", s.set.Position(sel.Pos()), f.Name.Name, pkg.Name, sel.Sel.Name)
				}
				return true
			})
		}
	}
	if found < 5 {
		t.Errorf("found %d readers: the search is broken", found)
	}
}
