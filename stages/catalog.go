package stages

import (
	"errors"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"golang.org/x/sync/errgroup"
)

// KindFile declares a kind; WorkerFile is its program where stage.hcl names no command.
const (
	KindFile   = "stage.hcl"
	WorkerFile = "worker.py"
	envFolder  = "env"
	envFile    = "env.hcl"
)

// Add reads every folder of fsys that has a stage.hcl. origin is where fsys stands, for people. All mistakes in all
// kinds come at once; kinds without a mistake are added all the same.
func (c *Catalog) Add(fsys fs.FS, origin string) hcl.Diagnostics { return c.add(fsys, origin, nil) }

// add reads only some folders; nil: all.
func (c *Catalog) add(fsys fs.FS, origin string, only []string) hcl.Diagnostics {
	if c.Kinds == nil {
		c.Kinds = map[string]*Kind{}
	}
	if c.Files == nil {
		c.Files, c.envs = map[string]*hcl.File{}, map[string]bool{}
	}
	at := hcl.Range{Filename: origin, Start: hcl.InitialPos, End: hcl.InitialPos}
	folders, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return problem(at, "Cannot read a folder of kinds", "%s.", err)
	}
	c.addEnvironments(fsys)
	var files []*kindFile
	for _, folder := range folders {
		if !folder.IsDir() || strings.HasPrefix(folder.Name(), ".") || only != nil && !slices.Contains(only, folder.Name()) {
			continue
		}
		f := &kindFile{dir: folder.Name(), filename: path.Join(origin, folder.Name(), KindFile)}
		if f.text, f.err = fs.ReadFile(fsys, path.Join(f.dir, KindFile)); !errors.Is(f.err, fs.ErrNotExist) {
			files = append(files, f)
		}
	}
	decodeAll(files)
	var diags hcl.Diagnostics
	for _, f := range files {
		if f.err != nil {
			diags = append(diags, problem(at, "Cannot read a kind", "%s.", f.err)...)
			continue
		}
		diags = append(diags, c.addKind(fsys, f)...)
	}
	return diags
}

// kindFile is a stage.hcl as it was read, and then decoded.
type kindFile struct {
	dir, filename string
	text          []byte
	err           error
	kind          *Kind
	diags         hcl.Diagnostics
}

// decodeAll decodes side by side: most verbs begin with it.
func decodeAll(files []*kindFile) {
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	for _, f := range files {
		if f.err == nil {
			work.Go(func() error {
				f.kind, f.diags = Decode(f.text, f.filename, f.dir)
				return nil
			})
		}
	}
	_ = work.Wait() // mistakes are kept with their files
}

func (c *Catalog) addKind(fsys fs.FS, f *kindFile) hcl.Diagnostics {
	filename := f.filename
	c.Files[filename] = &hcl.File{Bytes: f.text}
	kind, diags := f.kind, f.diags
	if diags.HasErrors() {
		return diags
	}
	kind.Root = fsys
	at := hcl.Range{Filename: filename, Start: hcl.InitialPos, End: hcl.InitialPos}
	if first := c.Kinds[kind.Name]; first != nil {
		return problem(at, "Kind declared twice", "%q is declared in %s already; call this one something else.", kind.Name, first.Origin)
	}
	diags = append(diags, c.filesOf(kind, at)...)
	if !diags.HasErrors() {
		c.Kinds[kind.Name] = kind
	}
	return diags
}

func (c *Catalog) addEnvironments(fsys fs.FS) {
	found, _ := fs.Glob(fsys, path.Join(envFolder, "*", envFile))
	for _, name := range found {
		c.envs[path.Base(path.Dir(name))] = true
	}
}

// filesOf checks that what a kind names is there.
func (c *Catalog) filesOf(k *Kind, at hcl.Range) hcl.Diagnostics {
	var diags hcl.Diagnostics
	missing := func(name string) bool { _, err := fs.Stat(k.Root, name); return err != nil }
	if k.Python() {
		if missing(path.Join(k.Dir, WorkerFile)) {
			diags = append(diags, problem(at, "No worker", "There is no %s in %s, and %s names no command.", WorkerFile, k.Dir, KindFile)...)
		}
		if k.Env == "" {
			diags = append(diags, problem(at, "No environment", "A worker in Python needs env = \"…\", one of: %s.", strings.Join(sortedKeys(c.envs), ", "))...)
		}
	}
	for _, word := range k.Command {
		if name, ok := strings.CutPrefix(word, "{dir}/"); ok && missing(path.Join(k.Dir, name)) {
			diags = append(diags, problem(at, "No such file", "command names %s, which is not in %s.", word, k.Dir)...)
		}
	}
	for _, name := range k.Environments() {
		if !c.envs[name] {
			names := sortedKeys(c.envs)
			diags = append(diags, problem(at, "Unknown environment", "There is no environment %q; there are %s.%s", name, strings.Join(names, ", "), didYouMean(name, names))...)
		}
	}
	for i, use := range k.Uses {
		if missing(use) {
			diags = append(diags, problem(at, "No such folder", "uses names %q, which is not beside the kind's folder.", use)...)
		}
		for _, other := range append([]string{k.Dir, "sdk"}, k.Uses[:i]...) {
			if use == other || strings.HasPrefix(use, other+"/") || strings.HasPrefix(other, use+"/") {
				diags = append(diags, problem(at, "Folder is there already", "uses names %q, which %q holds or lies in.", use, other)...)
			}
		}
	}
	return diags
}

// Python says whether the worker is worker.py, run with the SDK in the kind's environment.
func (k *Kind) Python() bool { return !k.Native && k.Command == nil }

// Names are all kinds, sorted.
func (c *Catalog) Names() []string { return sortedKeys(c.Kinds) }

// Kind finds a kind by name; where there is none, near is the name most likely meant, or "".
func (c *Catalog) Kind(name string) (kind *Kind, near string) {
	if k := c.Kinds[name]; k != nil {
		return k, ""
	}
	return nil, Nearest(name, c.Names())
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
