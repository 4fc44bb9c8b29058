package recipe

import (
	"errors"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/Ruihan11/tiny-infra/pipeline/reading"
)

// ProjectFile says where things are; it is found upwards from the recipe.
const ProjectFile = "tinfra.hcl"

// Project is what tinfra.hcl says. With no such file all is zero: everything works on defaults.
type Project struct {
	Path  string   // of the file; "" without one
	Dir   string   // absolute folder that its paths are relative to
	Cache string   // absolute; "" for the default
	Jobs  int      // stages at once; 0 for the default
	Kinds []string // absolute folders of further stage kinds

	Maven        string        // repository that environments' jars come from, an address or an absolute folder; "" for the user's own
	AllowedHosts []string      // of downloads; empty for any
	Endpoint     string        // of the Hugging Face hub, a mirror; "" for its own
	Environments []Environment // that are interpreters of this machine, in the order of the file
	Local        LocalExecutor
	Remote       *Remote              // nil without one
	Files        map[string]*hcl.File // for diagnostics' snippets
}

// LocalExecutor limits what this machine gives to stages; zero and nil mean all of it.
type LocalExecutor struct {
	CPUs      float64
	MemoryGiB float64
	GPUs      []string // device ids
}

// LoadProject finds tinfra.hcl in dir or a folder above it, and reads it. What it reads is taken down in reads, which may be nil.
func LoadProject(dir string, reads *reading.Log) (*Project, hcl.Diagnostics) {
	p := &Project{Files: map[string]*hcl.File{}}
	start, err := filepath.Abs(dir)
	if err != nil {
		return p, hcl.Diagnostics{problem(nil, "Cannot find the project's folder", "%s", err)}
	}
	p.Dir = start
	for at := start; ; at = filepath.Dir(at) {
		path := filepath.Join(at, ProjectFile)
		if st, err := reads.Stat(path); err == nil && !st.IsDir() {
			p.Path, p.Dir = path, at
			break
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return p, hcl.Diagnostics{problem(nil, "Cannot read the project file", "%s: %s.", path, reason(err))}
		}
		if filepath.Dir(at) == at {
			return p, nil
		}
	}
	body, _, diags := parseFile(p.Path, p.Files, reads)
	if diags.HasErrors() {
		return p, diags
	}
	r := &projectReader{project: p, reads: reads}
	r.read(body)
	sortDiagnostics(r.diags, p.Path)
	return p, r.diags
}

type projectReader struct {
	project *Project
	reads   *reading.Log
	diags   hcl.Diagnostics
}

func (r *projectReader) problem(at hcl.Range, summary, detail string, args ...any) {
	r.diags = append(r.diags, problem(&at, summary, detail, args...))
}

// settings says what a body may hold.
type settings struct {
	where      string
	attributes map[string]func(*hclsyntax.Attribute)
	blocks     map[string]func(*hclsyntax.Block)
	named      map[string]func(*hclsyntax.Block) // by type: blocks with one label of any name
}

func (r *projectReader) walk(body *hclsyntax.Body, s settings) {
	for _, a := range attributesInOrder(body) {
		if set := s.attributes[a.Name]; set != nil {
			set(a)
			continue
		}
		r.problem(a.NameRange, "Unknown setting", "%s has no setting %q.%s", s.where, a.Name, didYouMean(a.Name, sortedKeys(s.attributes)))
	}
	seen := map[string]bool{}
	for _, b := range body.Blocks {
		name := strings.Join(append([]string{b.Type}, b.Labels...), " ")
		read := s.blocks[name]
		if read == nil && len(b.Labels) == 1 {
			read = s.named[b.Type]
		}
		switch {
		case read == nil:
			r.problem(b.DefRange(), "Unknown block", "%s has no block %q.%s", s.where, name, didYouMean(name, sortedKeys(s.blocks)))
		case seen[name]:
			r.problem(b.DefRange(), "Duplicate block", "%s has one %s block.", s.where, name)
		default:
			seen[name] = true
			read(b)
		}
	}
}

func (r *projectReader) read(body *hclsyntax.Body) {
	p := r.project
	r.walk(body, settings{
		where: ProjectFile,
		attributes: map[string]func(*hclsyntax.Attribute){
			"cache": func(a *hclsyntax.Attribute) { p.Cache = r.path(a) },
			"jobs":  func(a *hclsyntax.Attribute) { p.Jobs = int(r.number(a, 1, 4096, true)) },
			"kinds": func(a *hclsyntax.Attribute) { p.Kinds = r.kinds(a) },
			"maven": func(a *hclsyntax.Attribute) { p.Maven = r.maven(a) },
		},
		named: map[string]func(*hclsyntax.Block){"environment": r.environment},
		blocks: map[string]func(*hclsyntax.Block){
			"download": func(b *hclsyntax.Block) {
				r.walk(b.Body, settings{where: "download", attributes: map[string]func(*hclsyntax.Attribute){
					"allowed_hosts": func(a *hclsyntax.Attribute) { p.AllowedHosts = r.hosts(a) },
					"endpoint":      func(a *hclsyntax.Attribute) { p.Endpoint = r.endpoint(a) },
				}})
			},
			"remote s3": r.remote,
			"executor local": func(b *hclsyntax.Block) {
				r.walk(b.Body, settings{where: `executor "local"`, attributes: map[string]func(*hclsyntax.Attribute){
					"cpus":       func(a *hclsyntax.Attribute) { p.Local.CPUs = r.number(a, 0.1, 1<<20, false) },
					"memory_gib": func(a *hclsyntax.Attribute) { p.Local.MemoryGiB = r.number(a, 0.01, 1<<20, false) },
					"gpus":       func(a *hclsyntax.Attribute) { p.Local.GPUs = r.texts(a) },
				}})
			},
		},
	})
}

// value evaluates a setting without variables or functions.
func (r *projectReader) value(a *hclsyntax.Attribute, t cty.Type, form string) (cty.Value, bool) {
	v, diags := a.Expr.Value(nil)
	r.diags = append(r.diags, diags...)
	if diags.HasErrors() {
		return v, false
	}
	v, err := convert.Convert(v, t)
	if err != nil || v.IsNull() {
		r.problem(a.Expr.Range(), "Wrong type", "%s is %s.", a.Name, form)
		return v, false
	}
	return v, true
}

func (r *projectReader) number(a *hclsyntax.Attribute, low, high float64, whole bool) float64 {
	form := "a number"
	if whole {
		form = "a whole number"
	}
	v, ok := r.value(a, cty.Number, form)
	if !ok {
		return 0
	}
	f, _ := v.AsBigFloat().Float64()
	if f < low || f > high || whole && !isWhole(v) {
		r.problem(a.Expr.Range(), "Invalid value", "%s is %s from %g to %g.", a.Name, form, low, high)
		return 0
	}
	return f
}

func isWhole(v cty.Value) bool {
	_, exact := v.AsBigFloat().Int64()
	return exact == big.Exact
}

func (r *projectReader) texts(a *hclsyntax.Attribute) []string {
	v, ok := r.value(a, cty.List(cty.String), "a list of texts")
	if !ok {
		return nil
	}
	texts := []string{}
	for _, e := range v.AsValueSlice() {
		if e.IsNull() || e.AsString() == "" {
			r.problem(a.Expr.Range(), "Invalid value", "%s holds an empty text.", a.Name)
			return nil
		}
		if slices.Contains(texts, e.AsString()) {
			r.problem(a.Expr.Range(), "Invalid value", "%s holds %q twice.", a.Name, e.AsString())
			return nil
		}
		texts = append(texts, e.AsString())
	}
	return texts
}

// path is relative to the project file's folder; ~/ is the user's home.
func (r *projectReader) path(a *hclsyntax.Attribute) string {
	v, ok := r.value(a, cty.String, "a path")
	if !ok {
		return ""
	}
	given := v.AsString()
	if given == "" {
		r.problem(a.Expr.Range(), "Invalid value", "%s is empty.", a.Name)
		return ""
	}
	given, err := ExpandHome(given)
	if err != nil {
		r.problem(a.Expr.Range(), "Invalid value", "This user has no home folder.")
		return ""
	}
	return r.absolute(given)
}

// ExpandHome puts the user's home in place of a leading ~/, which no shell has seen to.
func ExpandHome(path string) (string, error) {
	rest, home := strings.CutPrefix(path, "~/")
	if !home {
		return path, nil
	}
	dir, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, rest), nil
}

func (r *projectReader) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(r.project.Dir, path)
}

func (r *projectReader) kinds(a *hclsyntax.Attribute) []string {
	var dirs []string
	for _, given := range r.texts(a) {
		dir := r.absolute(given)
		if st, err := r.reads.Stat(dir); err != nil || !st.IsDir() {
			r.problem(a.Expr.Range(), "No such folder", "There is no folder %s beside %s.", given, ProjectFile)
			continue
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

func (r *projectReader) hosts(a *hclsyntax.Attribute) []string {
	hosts := r.texts(a)
	for _, h := range hosts {
		if strings.ContainsAny(h, "/:@ \t") {
			r.problem(a.Expr.Range(), "Invalid value", "%q is no host name. Write the name only, as in \"example.org\".", h)
		}
	}
	return hosts
}

func (r *projectReader) endpoint(a *hclsyntax.Attribute) string {
	return r.address(a, "downloads take `token = secret(\"HF_TOKEN\")`")
}

// address has no password in it, for which another place is told.
func (r *projectReader) address(a *hclsyntax.Attribute, place string) string {
	v, ok := r.value(a, cty.String, "an address")
	if !ok {
		return ""
	}
	u, err := url.Parse(v.AsString())
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		r.problem(a.Expr.Range(), "Invalid value", "%q is no address. Write it as in \"https://mirror.example.org\".", v.AsString())
		return ""
	case u.User != nil:
		r.problem(a.Expr.Range(), "Invalid value", "%s must hold no password: %s.", a.Name, place)
		return ""
	}
	return strings.TrimSuffix(v.AsString(), "/")
}
