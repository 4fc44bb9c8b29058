package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/artifacts/s3"
	"github.com/Ruihan11/tiny-infra/artifacts/shared"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/lineage"
	"github.com/Ruihan11/tiny-infra/pipeline/graph"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages"
	"github.com/Ruihan11/tiny-infra/stages/env"
)

// house is what surrounds a recipe: the project's settings, the kinds, the cache.
type house struct {
	app        *app
	recipePath string // "" where the verb works without a recipe and the folder has none
	project    *recipe.Project
	catalog    *stages.Catalog
	store      *disk.Store
	cache      *artifacts.Cache
	asks       bool           // a verb that only looks asks the shared cache for what is not here
	remote     *shared.Remote // see join; nil where only this machine's cache is asked
	writes     *bucket.Place  // where remote brings results; nil where it brings none
	tiers      []string       // --tier of `cache verify`: in place of those configured
	lacks      error          // why a tier that is configured is not read; nil where all are
	client     *s3.Client     // that remote sends its requests by
	fresh      *lineage.Index // see freshIndex
}

// house reads tinfra.hcl, upwards from dir, and the kinds.
func (a *app) house(dir string) (*house, error) { return a.houseWith(dir, nil) }

// houseWith is house with the built-in kinds of some folders only; nil: with all.
func (a *app) houseWith(dir string, folders []string) (*house, error) {
	project, diags := recipe.LoadProject(dir, a.reads)
	if diags.HasErrors() {
		return nil, &mistakes{diags, project.Files}
	}
	catalog, err := stages.BuiltinIn(folders)
	if err != nil {
		return nil, err
	}
	for _, kinds := range project.Kinds {
		diags = append(diags, catalog.Add(a.reads.FS(os.DirFS(kinds), kinds), shown(kinds))...)
	}
	files := maps.Clone(project.Files)
	if files == nil {
		files = map[string]*hcl.File{}
	}
	maps.Copy(files, catalog.Files)
	if diags.HasErrors() {
		return nil, &mistakes{diags, files}
	}
	return &house{app: a, project: project, catalog: catalog}, nil
}

// openHouse is house with the cache open. path is --recipe; where it is "", the folder's one recipe, if it has one.
func (a *app) openHouse(path string) (*house, error) {
	path, dir := placeOf(path)
	h, err := a.house(dir)
	if err != nil {
		return nil, err
	}
	h.recipePath = path
	return h, h.open()
}

// openCache is openHouse without the kinds, for verbs that ask only of what was made: reading the kinds takes longer than
// an answer may.
func (a *app) openCache(path string) (*house, error) {
	path, dir := placeOf(path)
	project, diags := recipe.LoadProject(dir, a.reads)
	if diags.HasErrors() {
		return nil, &mistakes{diags, project.Files}
	}
	h := &house{app: a, project: project, recipePath: path}
	return h, h.open()
}

func placeOf(path string) (recipePath, dir string) {
	if path == "" {
		path, _ = onlyRecipe(".")
	}
	if path == "" {
		return "", "."
	}
	return path, filepath.Dir(path)
}

// cacheDir is --cache, else TINFRA_CACHE, else what tinfra.hcl says, else in the user's cache folder.
func (h *house) cacheDir() (string, error) {
	dir := h.app.cacheDir
	if dir == "" {
		dir = os.Getenv("TINFRA_CACHE")
	}
	if dir == "" {
		dir = h.project.Cache
	}
	if dir == "" {
		base, err := userCache()
		return filepath.Join(base, "tinfra"), err
	}
	return recipe.ExpandHome(dir)
}

// noInputs are folders whose files no recipe means. Without a place for the cache there is none.
func (h *house) noInputs() []string {
	dir, err := h.cacheDir()
	if err != nil {
		return nil
	}
	return []string{dir}
}

// open opens the cache, which is made where it is not there.
func (h *house) open() error {
	dir, err := h.cacheDir()
	if err != nil {
		return &failure{code: exitCache, err: fmt.Errorf("no place for the cache: %w; set TINFRA_CACHE", err)}
	}
	store := h.app.stores[dir]
	if store == nil {
		if store, err = disk.Open(dir); err != nil {
			return &failure{code: exitCache, err: err}
		}
		h.app.stores = map[string]*disk.Store{dir: store}
		h.app.closers = append(h.app.closers, store.Close)
	}
	h.store = store
	h.cache = artifacts.NewCache(store, store)
	return nil
}

// writable refuses a cache that cannot be written to, before anything is done that would have to be kept there.
func (h *house) writable() error {
	if err := h.store.Writable(); err != nil {
		return &failure{code: exitCache, err: err}
	}
	return nil
}

// begin makes what is found from now on stay until the build ends.
func (h *house) begin() error {
	if err := h.writable(); err != nil {
		return err
	}
	if err := h.store.BeginBuild(); err != nil {
		return &failure{code: exitCache, err: err}
	}
	return nil
}

// userCache is $XDG_CACHE_HOME, else ~/.cache.
func userCache() (string, error) {
	if dir := os.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".cache"), nil
}

// shown is a path for people: relative to this folder where that is shorter.
func shown(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(here, path); err == nil && len(rel) < len(path) {
		return rel
	}
	return path
}

// environments are the locked ones: the binary's, and those beside the kinds of the project.
func (h *house) environments(offline bool) (*env.Set, error) {
	builtin, err := stages.Environments()
	if err != nil {
		return nil, err
	}
	set := env.NewSet(builtin, h.store.Dir(), offline)
	set.Use(localEnvironments(h.project))
	for _, kinds := range h.project.Kinds {
		dir := filepath.Join(kinds, "env")
		if err := set.Add(h.app.reads.FS(os.DirFS(dir), dir)); err != nil {
			return nil, usage("%s: %w", shown(kinds), err)
		}
	}
	return set, h.knownEnvironments(set)
}

// knownEnvironments refuses interpreters for environments that nobody has heard of.
func (h *house) knownEnvironments(set *env.Set) error {
	var diags hcl.Diagnostics
	for _, e := range h.project.Environments {
		if names := set.Names(); !slices.Contains(names, e.Name) {
			diags = append(diags, &hcl.Diagnostic{
				Severity: hcl.DiagError, Summary: "No such environment", Subject: &e.Range,
				Detail: fmt.Sprintf("There is no environment %q; there are %s.", e.Name, strings.Join(names, ", ")),
			})
		}
	}
	if len(diags) > 0 {
		return &mistakes{diags, h.project.Files}
	}
	return nil
}

// load reads the recipe with what the person said on the command line. Warnings are written.
func (h *house) load(path string, s *selection) (*recipe.Recipe, error) {
	h.recipePath = path
	r, diags := recipe.Load(path, recipe.Options{
		Catalog: h.catalog, Vars: s.variables(), VarFiles: s.varFiles, Env: h.app.reads.Environ(recipe.VariablePrefix), Set: s.assignments(),
		Without: h.noInputs(), Reads: h.app.reads,
	})
	if err := h.told(diags, r.Texts); err != nil {
		return nil, err
	}
	return r, nil
}

// read finds a recipe's surroundings and reads it; the cache stays closed.
func (a *app) read(path string, s *selection) (*house, *recipe.Recipe, error) {
	if err := s.check(); err != nil {
		return nil, nil, err
	}
	h, err := a.house(dirOf(path))
	if err != nil {
		return nil, nil, err
	}
	r, err := h.load(path, s)
	return h, r, err
}

// told writes warnings, and makes an error of mistakes.
func (h *house) told(diags hcl.Diagnostics, files func() map[string]*hcl.File) error {
	if diags.HasErrors() {
		return &mistakes{diags, files()}
	}
	if len(diags) > 0 {
		h.app.reads.Spoil() // the next build shall say it again
		return view.Diagnostics(h.app.stderr, diags, files())
	}
	return nil
}

// graphOf orders the recipe's stages, and keeps those that the targets need.
func (h *house) graphOf(r *recipe.Recipe, targets []string) (*graph.Graph, error) {
	g, diags := graph.Build(r)
	if err := h.told(diags, r.Texts); err != nil {
		return nil, err
	}
	if len(targets) == 0 {
		return g, nil
	}
	wanted := make([]string, len(targets))
	for i, t := range targets {
		wanted[i] = canonical(t)
	}
	g, diags = g.Select(wanted)
	return g, h.told(diags, r.Texts)
}

// recipeArg is the recipe that a verb was given, or the only one in this folder.
func recipeArg(args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	return onlyRecipe(".")
}

func onlyRecipe(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.hcl"))
	if err != nil {
		return "", fmt.Errorf("looking for a recipe: %w", err)
	}
	files = slices.DeleteFunc(files, func(f string) bool {
		return !hasStages(f)
	})
	files = withoutModules(files)
	switch len(files) {
	case 0:
		return "", usage("there is no recipe (*.hcl) in this folder; name one, or write an example with `tinfra init`")
	case 1:
		return files[0], nil
	default:
		return "", usage("this folder has %d recipes; name one of: %s", len(files), strings.Join(files, ", "))
	}
}

// stageBlock is how a block begins that brings stages.
var stageBlock = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^[ \t]*(stage|module)[ \t]+"`) })

// hasStages tells a recipe from the other HCL files of a folder: tinfra.hcl, locks, files of variables.
func hasStages(path string) bool {
	b, err := os.ReadFile(path)
	return err != nil || stageBlock().Match(b)
}

// calledModule is a source of a module block that names a file of the same folder.
var calledModule = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^[ \t]*source[ \t]*=[ \t]*"(?:\./)?([^/"]+\.hcl)"`)
})

// withoutModules leaves out the files that others among them call as modules.
func withoutModules(files []string) []string {
	if len(files) < 2 {
		return files // and a large one is not searched
	}
	called := map[string]bool{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		for _, m := range calledModule().FindAllSubmatch(b, -1) {
			called[string(m[1])] = string(m[1]) != filepath.Base(f)
		}
	}
	return slices.DeleteFunc(files, func(f string) bool { return called[filepath.Base(f)] })
}

// recordedPath is the recipe's path as builds keep it.
func (h *house) recordedPath(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return abs
}

// lastBuild is the recipe's last build: of this machine, else of those that share its results; nil where there is none.
func (h *house) lastBuild(ctx context.Context, path string) (*artifacts.Build, error) {
	b, err := h.cache.LastBuild(ctx, h.recordedPath(path))
	switch {
	case err == nil || !errors.Is(err, artifacts.ErrMissing):
		return b, err
	case h.remote != nil:
		return h.remote.LastBuild(), nil
	default:
		return nil, nil
	}
}
