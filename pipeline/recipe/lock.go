package recipe

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/gofrs/flock"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/Ruihan11/tiny-infra/pipeline/reading"
)

// lockFormat is the version of the lock file that this code reads and writes.
const lockFormat = 1

// LockPath is where the lock of a recipe stands: beside it, llama3.hcl → llama3.lock.hcl.
func LockPath(recipe string) string {
	return strings.TrimSuffix(recipe, ".hcl") + ".lock.hcl"
}

// ReadLock reads a lock file. A file that does not exist is an empty lock.
func ReadLock(path string) (*Lock, hcl.Diagnostics) {
	return readLock(path, map[string]*hcl.File{}, nil)
}

func readLock(path string, files map[string]*hcl.File, reads *reading.Log) (*Lock, hcl.Diagnostics) {
	lock := &Lock{Path: path, Sources: map[string]*Source{}}
	src, err := reads.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return lock, nil
	}
	if err != nil {
		return lock, hcl.Diagnostics{problem(nil, "Cannot read the lock", "%s cannot be read: %s.", path, reason(err))}
	}
	if diag := refuse(src, path); diag != nil {
		return lock, hcl.Diagnostics{diag}
	}
	file, diags := hclsyntax.ParseConfig(src, path, hcl.InitialPos)
	files[path] = file
	if diags.HasErrors() {
		return lock, diags
	}
	r := &lockReader{lock: lock}
	r.read(file.Body.(*hclsyntax.Body), path)
	return lock, r.diags
}

type lockReader struct {
	lock  *Lock
	diags hcl.Diagnostics
}

func (r *lockReader) problem(at hcl.Range, detail string, args ...any) {
	r.diags = append(r.diags, problem(&at, "Invalid lock",
		detail+" Take the file from version control, or remove it and run `tinfra lock`.", args...))
}

func (r *lockReader) read(body *hclsyntax.Body, path string) {
	format := body.Attributes["format"]
	if format == nil {
		r.problem(hcl.Range{Filename: path, Start: hcl.InitialPos, End: hcl.InitialPos}, "format is missing.")
		return
	}
	v, diags := format.Expr.Value(nil)
	if n, err := convert.Convert(v, cty.Number); diags.HasErrors() || err != nil || n.IsNull() || n.AsBigFloat().Cmp(big.NewFloat(lockFormat)) != 0 {
		r.diags = append(r.diags, problem(&format.SrcRange, "Unknown lock format",
			"This tinfra reads format %d. The lock was written by another version.", lockFormat))
		return
	}
	for _, a := range attributesInOrder(body) {
		if a.Name != "format" {
			r.problem(a.NameRange, "There is no attribute %q.", a.Name)
		}
	}
	for _, b := range body.Blocks {
		if b.Type != "source" || len(b.Labels) != 1 {
			r.problem(b.TypeRange, "There are only blocks of the form source \"…\".")
			continue
		}
		if r.lock.Sources[b.Labels[0]] != nil {
			r.problem(b.LabelRanges[0], "This source stands twice.")
			continue
		}
		r.lock.Sources[b.Labels[0]] = r.source(b)
	}
}

var lockSourceType = cty.Object(map[string]cty.Type{
	"resolved": cty.Map(cty.String),
	"files":    cty.List(lockFileType),
})

var lockFileType = cty.Object(map[string]cty.Type{"path": cty.String, "sha256": cty.String, "size": cty.Number})

func (r *lockReader) source(b *hclsyntax.Block) *Source {
	s := &Source{Source: b.Labels[0], Resolved: map[string]string{}}
	for _, nested := range b.Body.Blocks {
		r.problem(nested.TypeRange, "A source has no blocks.")
	}
	for _, a := range attributesInOrder(b.Body) {
		if !lockSourceType.HasAttribute(a.Name) {
			r.problem(a.NameRange, "A source has no attribute %q.", a.Name)
			continue
		}
		v, diags := a.Expr.Value(nil)
		r.diags = append(r.diags, diags...)
		if diags.HasErrors() {
			continue
		}
		v, err := convert.Convert(v, lockSourceType.AttributeType(a.Name))
		if err != nil || v.IsNull() {
			r.problem(a.Expr.Range(), "%s is not of the right form.", a.Name)
			continue
		}
		for key, element := range v.Elements() {
			if element.IsNull() {
				r.problem(a.Expr.Range(), "%s holds a null.", a.Name)
			} else if a.Name == "resolved" {
				s.Resolved[key.AsString()] = element.AsString()
			} else if pin, err := pinOf(element); err != nil {
				r.problem(a.Expr.Range(), "A file of this source is wrong: %s.", err)
			} else {
				s.Files = append(s.Files, pin)
			}
		}
	}
	sortPins(s.Files)
	for i := 1; i < len(s.Files); i++ {
		if s.Files[i].Path == s.Files[i-1].Path {
			r.problem(b.DefRange(), "The file %q stands twice.", s.Files[i].Path)
		}
	}
	return s
}

func pinOf(v cty.Value) (Pin, error) {
	for name, element := range v.AsValueMap() {
		if element.IsNull() {
			return Pin{}, fmt.Errorf("%s is missing", name)
		}
	}
	p := Pin{Path: v.GetAttr("path").AsString(), SHA256: v.GetAttr("sha256").AsString()}
	size, exact := v.GetAttr("size").AsBigFloat().Int64()
	switch {
	case exact != big.Exact || size < 0:
		return p, fmt.Errorf("the size of %q is no whole number of bytes", p.Path)
	case len(p.SHA256) != 64 || strings.Trim(p.SHA256, "0123456789abcdef") != "":
		return p, fmt.Errorf("the sha256 of %q is not 64 lower-case hexadecimal digits", p.Path)
	}
	clean, err := below(p.Path)
	if err != nil {
		return p, fmt.Errorf("the path %q: %w", p.Path, err)
	}
	if clean != p.Path || clean == "." {
		return p, fmt.Errorf("the path %q is not in its shortest form", p.Path)
	}
	p.Size = size
	return p, nil
}

func sortPins(pins []Pin) {
	sort.Slice(pins, func(i, j int) bool { return pins[i].Path < pins[j].Path })
}

// WriteLock writes the entries of a lock beside those that the file holds for other sources. The text depends on the
// entries only. The file appears whole or not at all. Several builds and goroutines may write at once.
func WriteLock(lock *Lock) error {
	release, alone := holdFolder(filepath.Dir(lock.Path))
	defer release()
	if alone {
		discardHalf(lock.Path)
	}
	there, diags := ReadLock(lock.Path)
	if diags.HasErrors() {
		return fmt.Errorf("keeping the other entries of the lock: %w", diags)
	}
	all := there.Sources
	for name, s := range lock.Sources {
		all[name] = s
	}
	text := encodeLock(all)
	if old, err := os.ReadFile(lock.Path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := replaceFile(lock.Path, text); err != nil {
		return fmt.Errorf("writing the lock: %w", err)
	}
	return nil
}

// holdFolder keeps other writers of locks in the folder away. Where the file system has no locks, two builds at the same
// moment may lose one of two new entries, which the next build writes again; alone is false there.
func holdFolder(dir string) (release func(), alone bool) {
	l := flock.New(dir, flock.SetFlag(os.O_RDONLY))
	if err := l.Lock(); err != nil {
		return func() {}, false
	}
	return func() { _ = l.Unlock() }, true
}

func encodeLock(sources map[string]*Source) []byte {
	f := hclwrite.NewEmptyFile()
	body := f.Body()
	body.AppendUnstructuredTokens(hclwrite.Tokens{{
		Type:  hclsyntax.TokenComment,
		Bytes: []byte("# What each download resolves to. Written by tinfra; commit it with the recipe.\n"),
	}})
	body.SetAttributeValue("format", cty.NumberIntVal(lockFormat))
	for _, name := range sortedKeys(sources) {
		body.AppendNewline()
		s := sources[name]
		block := body.AppendNewBlock("source", []string{name}).Body()
		if len(s.Resolved) > 0 {
			resolved := map[string]cty.Value{}
			for k, v := range s.Resolved {
				resolved[k] = cty.StringVal(v)
			}
			block.SetAttributeValue("resolved", cty.MapVal(resolved))
		}
		block.SetAttributeRaw("files", pinTokens(s.Files))
	}
	return hclwrite.Format(f.Bytes())
}

// pinTokens puts one file on a line, so that a version-control diff shows which changed.
func pinTokens(files []Pin) hclwrite.Tokens {
	pins := append([]Pin(nil), files...)
	sortPins(pins)
	var b strings.Builder
	b.WriteString("[\n")
	for _, p := range pins {
		fmt.Fprintf(&b, "    { path = %s, sha256 = %s, size = %d },\n", quoted(p.Path), quoted(p.SHA256), p.Size)
	}
	b.WriteString("  ]")
	return hclwrite.Tokens{{Type: hclsyntax.TokenIdent, Bytes: []byte(b.String())}}
}

// halfPrefix begins the names under which replaceFile writes.
func halfPrefix(path string) string { return "." + filepath.Base(path) + "." }

// discardHalf removes what replaceFile left where it was killed. Failing to is not worth failing for. The names are
// compared, not globbed: a folder's name may hold anything. Only digits follow the prefix in ours: .x.lock.hcl.swp is an
// editor's.
func discardHalf(path string) {
	list, _ := os.ReadDir(filepath.Dir(path))
	for _, e := range list {
		random, ours := strings.CutPrefix(e.Name(), halfPrefix(path))
		if ours && random != "" && strings.Trim(random, "0123456789") == "" && e.Type().IsRegular() {
			_ = os.Remove(filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
}

func replaceFile(path string, text []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), halfPrefix(path)+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp.Name())
		}
	}()
	if _, err = tmp.Write(text); err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
