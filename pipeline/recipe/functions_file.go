package recipe

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/Ruihan11/tiny-infra/pipeline/reading"
)

// maxText is the largest file that file() reads, in bytes.
const maxText = 4 << 20

// below refuses what could name a file outside the recipe's folder; os.Root then refuses links that lead out.
func below(name string) (string, error) {
	switch {
	case name == "":
		return "", errors.New("it is empty")
	case strings.ContainsAny(name, "\\\x00"):
		return "", errors.New("it holds a backslash or a NUL; paths are written with /")
	case path.IsAbs(name):
		return "", errors.New("it is absolute; only files below the recipe's folder can be read")
	}
	for _, part := range strings.Split(name, "/") {
		if part == ".." {
			return "", errors.New("it leads out of the recipe's folder")
		}
	}
	return path.Clean(name), nil
}

func fileFunc(dir string, reads *reading.Log) function.Function {
	return function.New(&function.Spec{
		Params: text("path"),
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			name, err := below(args[0].AsString())
			if err != nil {
				return cty.NilVal, function.NewArgError(0, err)
			}
			src, err := readBelow(dir, name, reads)
			if err != nil {
				return cty.NilVal, function.NewArgErrorf(0, "%s cannot be read: %s", name, reason(err))
			}
			return cty.StringVal(src), nil
		},
	})
}

func readBelow(dir, name string, reads *reading.Log) (string, error) {
	began := time.Now()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	at := filepath.Join(dir, filepath.FromSlash(name))
	st, err := root.Stat(name)
	if err != nil {
		reads.Failed(at, err)
		return "", err
	}
	if !st.Mode().IsRegular() {
		reads.Spoil()
		return "", errors.New("it is no regular file")
	}
	f, err := root.Open(name)
	if err != nil {
		reads.Failed(at, err)
		return "", err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxText+1))
	reads.TextRead(at, began, src)
	switch {
	case err != nil:
		return "", err
	case len(src) > maxText:
		return "", fmt.Errorf("it has more than %d MiB; give large files to a port with path()", maxText>>20)
	case !utf8.Valid(src):
		return "", errors.New("it is not UTF-8 text; give it to a port with path()")
	}
	return string(src), nil
}

// pathFunc matches files for a port. What is matched is decided here; the bytes are read when the key is computed.
func pathFunc(dir string, without []string, reads *reading.Log) function.Function {
	return function.New(&function.Spec{
		Params: text("pattern"),
		Type:   function.StaticReturnType(artifactType),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			given := args[0].AsString()
			pattern, err := below(given)
			if err != nil {
				return cty.NilVal, function.NewArgError(0, err)
			}
			if !doublestar.ValidatePattern(pattern) {
				return cty.NilVal, function.NewArgErrorf(0, "%q is no valid pattern", given)
			}
			paths, err := match(dir, pattern, without, reads)
			if err != nil {
				return cty.NilVal, function.NewArgErrorf(0, "%s", reason(err))
			}
			if st, err := os.Stat(filepath.Join(dir, pattern)); len(paths) == 0 && err == nil && st.IsDir() {
				return cty.NilVal, function.NewArgErrorf(0, "%q is a folder, and matches no file. Write path(%q) for all below it", given, pattern+"/**")
			}
			if len(paths) == 0 {
				return cty.NilVal, function.NewArgErrorf(0, "%q matches no file below the recipe's folder", given)
			}
			return cty.CapsuleVal(artifactType, &artifact{files: &Files{Pattern: given, Dir: dir, Paths: paths}}), nil
		},
	})
}

func match(dir, pattern string, without []string, reads *reading.Log) ([]string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	fsys := reads.FS(root.FS(), dir)
	if outside := leaveOut(fsys, without); outside != nil {
		fsys = outside
	}
	found, err := doublestar.Glob(fsys, pattern, doublestar.WithFailOnIOErrors())
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, p := range found {
		st, err := fs.Stat(fsys, p)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s cannot be used: %s", p, reason(err))
		case st.IsDir():
		case !st.Mode().IsRegular():
			return nil, fmt.Errorf("%s is no regular file", p)
		default:
			paths = append(paths, p)
		}
	}
	sort.Strings(paths)
	return paths, nil
}

// reason leaves out the operation and the path, which on this machine only would mean something.
func reason(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "there is no such file"
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		if strings.Contains(pe.Err.Error(), "escapes") {
			return "it leads out of the recipe's folder"
		}
		return pe.Err.Error()
	}
	return err.Error()
}
