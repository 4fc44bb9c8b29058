package recipe

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// moduleFile is a file that some module block names, read once however often it is called.
type moduleFile struct {
	path      string            // as shown
	rel       string            // below the recipe's folder, with /
	body      *hclsyntax.Body   // nil where it could not be parsed; that was told
	size      int               // bytes
	variables []string          // in source order
	required  map[string]string // variables without a default, with their description
	outputs   []string          // in source order
}

// moduleFile reads what a call's source names. The file lies below the recipe's folder, and no link leads out of it.
func (l *loader) moduleFile(source string) (*moduleFile, hcl.Diagnostics, error) {
	rel, err := sourcePath(l.rel, source)
	if err != nil {
		return nil, nil, err
	}
	if err := l.refuseRound(rel); err != nil {
		return nil, nil, err
	}
	if f := l.files[rel]; f != nil {
		return f, nil, nil
	}
	src, err := l.readModule(rel)
	if err != nil {
		return nil, nil, fmt.Errorf("%s cannot be read: %w", rel, err)
	}
	f := &moduleFile{
		path: filepath.Join(filepath.Dir(l.recipe.Path), filepath.FromSlash(rel)), rel: rel, size: len(src),
		required: map[string]string{},
	}
	l.files[rel] = f
	l.recipe.Modules[rel] = src
	body, diags := parseSource(src, f.path, l.recipe.Files)
	if !diags.HasErrors() {
		f.body = body
		f.scan()
	}
	return f, diags, nil
}

// sourcePath is where a source leads to from the file that names it, both below the recipe's folder.
func sourcePath(from, source string) (string, error) {
	switch {
	case source == "":
		return "", errors.New("it is empty")
	case strings.Contains(source, "://") || strings.Contains(source, "::"):
		return "", errors.New("a module is a file below the recipe's folder; nothing is fetched from elsewhere")
	case strings.ContainsAny(source, "\\\x00"):
		return "", errors.New("it holds a backslash or a NUL; paths are written with /")
	case path.IsAbs(source):
		return "", errors.New("it is absolute; a module lies below the recipe's folder")
	case !strings.HasSuffix(source, ".hcl"):
		return "", errors.New("a module is one .hcl file, as in \"./modules/int4.hcl\"")
	}
	rel := path.Join(path.Dir(from), source)
	if rel == ".." || strings.HasPrefix(rel, "../") {
		return "", errors.New("it leads out of the recipe's folder")
	}
	return rel, nil
}

// maxModuleDepth bounds how deep modules may call modules.
const maxModuleDepth = 16

// refuseRound refuses a file that is being read already further up.
func (l *loader) refuseRound(rel string) error {
	chain := []string{rel}
	depth := 1
	for at := l; at != nil; at = at.parent {
		chain = append([]string{at.rel}, chain...)
		if at.rel == rel {
			return fmt.Errorf("a module cannot call itself: %s", strings.Join(chain, " → "))
		}
		depth++
	}
	if depth > maxModuleDepth+1 {
		return fmt.Errorf("modules call modules more than %d deep here: %s", maxModuleDepth, strings.Join(chain, " → "))
	}
	return nil
}

func (l *loader) readModule(rel string) ([]byte, error) {
	began := time.Now()
	if l.root == nil {
		root, err := os.OpenRoot(l.recipe.Dir)
		if err != nil {
			return nil, err
		}
		l.root = root
	}
	st, err := l.root.Stat(rel)
	if err != nil {
		l.options.Reads.Spoil() // no recipe is built without its modules
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no such file.%s", l.neighbours(rel))
	case err != nil:
		return nil, errors.New(reason(err))
	case st.IsDir():
		return nil, errors.New("it is a folder; a module is one file")
	case !st.Mode().IsRegular():
		return nil, errors.New("it is no regular file")
	}
	f, err := l.root.Open(rel)
	if err != nil {
		return nil, errors.New(reason(err))
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxSource+1))
	if err != nil {
		return nil, errors.New(reason(err))
	}
	l.options.Reads.TextRead(filepath.Join(l.recipe.Dir, filepath.FromSlash(rel)), began, src)
	return src, nil
}

// neighbours names the file that was probably meant.
func (l *loading) neighbours(rel string) string {
	found, err := fs.Glob(l.root.FS(), path.Join(path.Dir(rel), "*.hcl"))
	if err != nil {
		return ""
	}
	return didYouMean(rel, found)
}

// scan finds what callers must know before the file is declared for one of them.
func (f *moduleFile) scan() {
	for _, b := range f.body.Blocks {
		if len(b.Labels) != 1 {
			continue
		}
		switch b.Type {
		case "variable":
			f.variables = append(f.variables, b.Labels[0])
			if b.Body.Attributes["default"] == nil {
				f.required[b.Labels[0]] = descriptionOf(b)
			}
		case "output":
			f.outputs = append(f.outputs, b.Labels[0])
		}
	}
}

func descriptionOf(b *hclsyntax.Block) string {
	if a := b.Body.Attributes["description"]; a != nil {
		if v, diags := a.Expr.Value(nil); !diags.HasErrors() {
			s, _ := stringOf(v)
			return s
		}
	}
	return ""
}

func (l *loading) closeRoot() {
	if l.root != nil {
		_ = l.root.Close() // it was read from only
	}
}
