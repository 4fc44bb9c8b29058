package env

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// installedFile is a line of a RECORD, the list that each wheel brings of its files.
type installedFile struct {
	path string // from the environment's folder
	sum  string // sha256, base64url without padding; "" where the list has none
	size int64  // -1 where the list has none
}

const recordName = "RECORD"

// recordFiles are the RECORD files of an environment, sorted: those of its packages, and that of its native parts.
func recordFiles(dir string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "lib", "python3*", "site-packages", "*.dist-info", recordName))
	if err != nil {
		return nil, err
	}
	slices.Sort(found)
	native := filepath.Join(dir, nativeDir, recordName)
	if _, err := os.Lstat(native); err == nil {
		found = append(found, native)
	}
	return found, nil
}

// contents is a digest of the lists of all packages and of what makes the folder an environment. It is in the marker, so
// that a list that is gone, or was changed, shows.
func contents(dir string) (artifacts.Digest, error) {
	records, err := recordFiles(dir)
	if err != nil {
		return artifacts.Digest{}, err
	}
	h := sha256.New()
	for _, path := range append(records, filepath.Join(dir, "pyvenv.cfg")) {
		text, err := os.ReadFile(path)
		if err != nil {
			return artifacts.Digest{}, err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return artifacts.Digest{}, err
		}
		fmt.Fprintf(h, "%s %d\n", rel, len(text))
		h.Write(text)
	}
	return artifacts.Digest(h.Sum(nil)), nil
}

// packageFiles reads all lists. Compiled files are left out: Python writes them, and no list has their hashes.
func packageFiles(dir string) ([]installedFile, error) {
	records, err := recordFiles(dir)
	if err != nil {
		return nil, err
	}
	var all []installedFile
	for _, record := range records {
		text, err := os.Open(record)
		if err != nil {
			return nil, err
		}
		files, err := readRecord(text, dir, filepath.Dir(filepath.Dir(record)))
		if err = errors.Join(err, text.Close()); err != nil {
			rel, _ := filepath.Rel(dir, record)
			return nil, fmt.Errorf("%s: %w", rel, err)
		}
		all = append(all, files...)
	}
	return onceEach(all), nil
}

// onceEach keeps of a file that several packages bring only that it is there: which of them came last, no list says.
func onceEach(all []installedFile) []installedFile {
	at := make(map[string]int, len(all))
	var out []installedFile
	for _, f := range all {
		i, twice := at[f.path]
		switch {
		case !twice:
			at[f.path] = len(out)
			out = append(out, f)
		case out[i] != f:
			out[i].sum, out[i].size = "", -1
		}
	}
	return out
}

func readRecord(r io.Reader, dir, site string) ([]installedFile, error) {
	lines := csv.NewReader(r)
	lines.FieldsPerRecord = 3
	var all []installedFile
	for {
		line, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(line[0], ".pyc") {
			continue
		}
		rel, err := filepath.Rel(dir, filepath.Join(site, filepath.FromSlash(line[0])))
		if err != nil || !filepath.IsLocal(rel) {
			return nil, fmt.Errorf("it lists %q, which is outside of the environment", line[0])
		}
		f := installedFile{path: rel, size: -1}
		if sum, ok := strings.CutPrefix(line[1], "sha256="); ok {
			f.sum = strings.TrimRight(sum, "=")
		}
		if line[2] != "" {
			if f.size, err = strconv.ParseInt(line[2], 10, 64); err != nil {
				return nil, fmt.Errorf("it gives %s the size %q", line[0], line[2])
			}
		}
		all = append(all, f)
	}
}

// present looks at each file's size, which costs a build a glance where hashing costs it seconds.
func present(dir string, files []installedFile) error {
	for _, f := range files {
		info, err := os.Stat(filepath.Join(dir, f.path))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s is gone", f.path)
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is no file", f.path)
		case f.size >= 0 && info.Size() != f.size:
			return fmt.Errorf("%s has %d bytes instead of %d", f.path, info.Size(), f.size)
		}
	}
	return nil
}

// intact reads each file, on all processors, and compares it with its package's list.
func intact(ctx context.Context, dir string) error {
	files, err := packageFiles(dir)
	if err == nil {
		err = present(dir, files)
	}
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, f := range files {
		if f.sum == "" {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return f.intact(dir) })
	}
	if err := g.Wait(); ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}

func (f installedFile) intact(dir string) error {
	in, err := os.Open(filepath.Join(dir, f.path))
	if err != nil {
		return err
	}
	defer in.Close()
	d, _, err := artifacts.SumReader(in)
	if err == nil && base64.RawURLEncoding.EncodeToString(d[:]) != f.sum {
		err = fmt.Errorf("%s is not as its package brought it", f.path)
	}
	return err
}
