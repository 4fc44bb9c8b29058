package recipe

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/Ruihan11/tiny-infra/pipeline/reading"
	"github.com/Ruihan11/tiny-infra/stages"
)

// Options are what a person says beside the recipe.
type Options struct {
	Catalog  *stages.Catalog
	Vars     map[string]string // --var name=value
	VarFiles []string          // --var-file, .hcl attributes; later ones win, --var wins over all
	Env      []string          // NAME=value; TINFRA_VAR_name sets a variable, the rest is ignored
	Set      []string          // --set stage.param=value
	Without  []string          // folders in which path() finds nothing, such as the cache: building changes what is there
	Reads    *reading.Log      // what is read is taken down there; nil: nowhere
}

// Load reads a recipe, its lock and the values of its variables, and checks everything that can be checked without
// running. It reports all mistakes at once. With errors among the diagnostics the Recipe serves only to show them.
func Load(path string, o Options) (*Recipe, hcl.Diagnostics) {
	r := &Recipe{Path: path, Files: map[string]*hcl.File{}, Modules: map[string][]byte{}}
	l := &loader{
		loading: &loading{
			options: o,
			recipe:  r,
			seen:    map[string]bool{},
			kinds:   map[string]*stages.Kind{},
			files:   map[string]*moduleFile{},
			world:   loadingWorld(),
		},
		path: path, rel: filepath.Base(path), given: map[string]given{},
	}
	l.load()
	l.closeRoot()
	sortDiagnostics(l.diags, path)
	if l.full() {
		l.diags = append(l.diags[:maxMistakes:maxMistakes], problem(nil, "Too many mistakes", "Only the first %d are told.", maxMistakes))
	}
	return l.recipe, l.diags
}

// maxMistakes is how many a person may want to read; looking for the nearest name takes milliseconds for each.
const maxMistakes = 300

// loading is what one Load collects over all files.
type loading struct {
	options Options
	recipe  *Recipe
	sets    []*override
	diags   hcl.Diagnostics
	seen    map[string]bool         // what was said, since instances of one block repeat its mistakes
	kinds   map[string]*stages.Kind // by the address of an instance that something refers to
	files   map[string]*moduleFile  // by path below the recipe's folder
	root    *os.Root                // the recipe's folder, once a module is read
	calls   int                     // modules so far, each call and instance counted
	text    int                     // bytes of their files
	crowded bool                    // too many of either, which was told
	world   *world
}

// loader reads one file: the recipe, or a module for one of its calls.
type loader struct {
	*loading
	path   string  // as shown
	rel    string  // below the recipe's folder, with /
	dir    string  // absolute; path() and file() are relative to it
	parent *loader // of a module: the file that calls it
	call   *call
	key    string // of the call's for_each
	module *module
	scope  *scope
	given  map[string]given
}

func (l *loader) load() {
	r := l.recipe
	dir, err := filepath.Abs(filepath.Dir(r.Path))
	if err != nil {
		l.problem(nil, "Cannot find the recipe's folder", "%s", err)
		return
	}
	r.Dir, l.dir = dir, dir
	lock, diags := readLock(LockPath(r.Path), r.Files, l.options.Reads)
	l.add(diags...)
	r.Lock = lock
	body, src, diags := parseFile(r.Path, r.Files, l.options.Reads)
	l.add(diags...)
	r.Source = src
	if diags.HasErrors() {
		return
	}
	l.module = l.declare(body)
	l.scope = newScope(l, l.module)
	l.setVariables()
	l.parseOverrides()
	l.walk()
	l.outputs()
}

// walk checks a file's stages, and the modules that it calls, in the order in which they stand there.
func (l *loader) walk() {
	l.scope.evaluateLocals()
	for _, item := range l.module.items {
		switch {
		case l.full():
			return
		case item.call != nil:
			l.enter(item.call)
		default:
			l.compile(item.block)
		}
	}
	l.reports()
}

// folder is where a file below the recipe's folder stands.
func (l *loading) folder(rel string) string {
	return filepath.Dir(filepath.Join(l.recipe.Dir, filepath.FromSlash(rel)))
}

func (l *loading) full() bool { return len(l.diags) > maxMistakes }

func (l *loader) add(diags ...*hcl.Diagnostic) {
	for _, d := range diags {
		key := d.Summary + "\x00" + d.Detail
		if d.Subject != nil {
			key += "\x00" + d.Subject.String()
		}
		if !l.seen[key] {
			l.seen[key] = true
			d.Detail += l.origin()
			l.diags = append(l.diags, d)
		}
	}
}

func (l *loader) problem(at *hcl.Range, summary, detail string, args ...any) {
	l.add(problem(at, summary, detail, args...))
}

func problem(at *hcl.Range, summary, detail string, args ...any) *hcl.Diagnostic {
	return &hcl.Diagnostic{
		Severity: hcl.DiagError,
		Summary:  summary,
		Detail:   fmt.Sprintf(detail, args...),
		Subject:  at,
	}
}

// sortDiagnostics puts those of the main file first, each file's in the order of its lines.
func sortDiagnostics(diags hcl.Diagnostics, main string) {
	place := func(d *hcl.Diagnostic) (string, int) {
		switch {
		case d.Subject == nil:
			return "\x01", 0
		case d.Subject.Filename == main:
			return "", d.Subject.Start.Byte
		}
		return "\x02" + d.Subject.Filename, d.Subject.Start.Byte
	}
	sort.SliceStable(diags, func(i, j int) bool {
		fi, bi := place(diags[i])
		fj, bj := place(diags[j])
		if c := strings.Compare(fi, fj); c != 0 {
			return c < 0
		}
		return bi < bj
	})
}

// attributesInOrder gives a body's attributes as they stand in the file.
func attributesInOrder(body *hclsyntax.Body) []*hclsyntax.Attribute {
	all := make([]*hclsyntax.Attribute, 0, len(body.Attributes))
	for _, a := range body.Attributes {
		all = append(all, a)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].SrcRange.Start.Byte < all[j].SrcRange.Start.Byte })
	return all
}
