package env

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// nativeDir is the folder of an environment that holds its native parts, and a RECORD of them as a wheel brings one.
const nativeDir = "native"

// native is shared libraries that no wheel holds: files of a jar in a Maven repository.
type native struct {
	Name   string       `hcl:"name,label"`
	Maven  string       `hcl:"maven"`  // group:artifact:version:packaging, and perhaps :classifier
	SHA256 string       `hcl:"sha256"` // of the jar
	Size   int64        `hcl:"size"`   // of the jar, bytes
	OS     string       `hcl:"os"`     // the machines that it is for, in the words of a description
	Arch   string       `hcl:"arch"`
	Files  []nativeFile `hcl:"file,block"`
}

type nativeFile struct {
	Member string `hcl:"member,label"` // its name in the jar
	SHA256 string `hcl:"sha256"`
	To     string `hcl:"to"` // below native/, with slashes
}

var (
	coordinates = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9._-]+(:[A-Za-z0-9._-]+){3,4}$`) })
	hexSum      = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{64}$`) })
)

// checkNatives says what is wrong with native blocks.
func checkNatives(all []native) error {
	seen := map[string]bool{}
	for _, n := range all {
		wrong := func(format string, args ...any) error {
			return fmt.Errorf("native %q: "+format, append([]any{n.Name}, args...)...)
		}
		switch {
		case !coordinates().MatchString(n.Maven) || strings.Contains(n.Maven, ".."):
			return wrong(`maven is %q; write "group:artifact:version:packaging" or "group:artifact:version:packaging:classifier"`, n.Maven)
		case !hexSum().MatchString(n.SHA256):
			return wrong("sha256 is %q, which is not 64 hexadecimal digits", n.SHA256)
		case n.Size <= 0:
			return wrong("size is the jar's, in bytes")
		case n.OS == "" || n.Arch == "":
			return wrong(`os and arch say what it is for, as "linux" and "x86_64"`)
		case len(n.Files) == 0:
			return wrong("it takes no file out of the jar")
		}
		for _, f := range n.Files {
			local, err := filepath.Localize(f.To)
			switch {
			case err != nil || f.To == "." || path.Clean(f.To) != f.To || local == recordName:
				return wrong("file %q: to is %q, which is no file below the environment's own folder", f.Member, f.To)
			case seen[f.To]:
				return wrong("two files would be %s", f.To)
			case !hexSum().MatchString(f.SHA256):
				return wrong("file %q: sha256 is %q, which is not 64 hexadecimal digits", f.Member, f.SHA256)
			}
			seen[f.To] = true
		}
	}
	return nil
}

// nativeFiles is the files of all native parts, sorted by where they go.
func (d *declaration) nativeFiles() []nativeFile {
	var all []nativeFile
	for _, n := range d.Natives {
		all = append(all, n.Files...)
	}
	slices.SortFunc(all, func(a, b nativeFile) int { return cmp.Compare(a.To, b.To) })
	return all
}

// nativeLines describe what is installed, whatever it came from.
func (d *declaration) nativeLines() []string {
	lines := []string{}
	for _, f := range d.nativeFiles() {
		lines = append(lines, f.To+" sha256:"+f.SHA256)
	}
	return lines
}

// fits says whether native parts are of use on a machine, and calls it as the error's reader would: "this machine".
func (d *declaration) fits(machine, system, arch string) error {
	for _, n := range d.Natives {
		if n.OS != system || n.Arch != arch {
			return fmt.Errorf("it cannot be had on %s, which is %s on %s: its native part %s is for %s on %s", machine, system, arch, n.Name, n.OS, n.Arch)
		}
	}
	return nil
}

// libraries are the folders below root that hold native parts.
func (d *declaration) libraries(root string) []string {
	var all []string
	for _, f := range d.nativeFiles() {
		all = append(all, filepath.Join(root, filepath.FromSlash(path.Dir(f.To))))
	}
	return slices.Compact(all)
}

// sameNatives reads the native files below a folder, on all processors, and compares them with what is declared.
func (d *declaration) sameNatives(ctx context.Context, root string) error {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, f := range d.nativeFiles() {
		g.Go(func() error {
			name := filepath.Join(root, filepath.FromSlash(f.To))
			in, err := os.Open(name)
			if err != nil {
				return err
			}
			defer in.Close()
			sum, _, err := artifacts.SumReader(during{ctx, in})
			if err == nil && sum.Hex() != f.SHA256 {
				err = fmt.Errorf("%s is another file than %s names: its sha256 is %s and not %s", name, declarationFile, sum.Hex(), f.SHA256)
			}
			return err
		})
	}
	return g.Wait()
}

// during reads until a context ends: hashing gigabytes takes seconds.
type during struct {
	ctx context.Context //nolint:containedctx // it lives as long as one copy
	io.Reader
}

func (r during) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}

// bringNatives fills native/ of an environment that is being made.
func (s *Set) bringNatives(ctx context.Context, d *declaration, aside string, progress func(string)) error {
	if len(d.Natives) == 0 {
		return nil
	}
	dir := filepath.Join(aside, nativeDir)
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	record := ""
	for _, n := range d.Natives {
		lines, err := s.bringNative(ctx, n, dir, progress)
		if err != nil {
			return err
		}
		record += lines
	}
	return os.WriteFile(filepath.Join(dir, recordName), []byte(record+nativeDir+"/"+recordName+",,\n"), 0o644)
}

// nativeSource gives files of native parts, each of which is what the declaration names, or an error.
type nativeSource interface {
	extract(ctx context.Context, f nativeFile, root *os.Root) (size int64, err error)
}

// bringNative puts the files of a native part below a folder, and gives their lines of RECORD.
func (s *Set) bringNative(ctx context.Context, n native, dir string, progress func(string)) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	if s.from != nil {
		return n.take(ctx, s.from, root, progress)
	}
	found, err := s.jar(ctx, n, progress)
	if err != nil {
		return "", fmt.Errorf("native part %s: %w", n.Name, err)
	}
	defer found.release()
	return n.take(ctx, found, root, progress)
}

func (n native) take(ctx context.Context, from nativeSource, root *os.Root, progress func(string)) (string, error) {
	record := ""
	for _, f := range n.Files {
		progress("taking " + f.To + " out of " + n.Maven)
		size, err := from.extract(ctx, f, root)
		if err != nil {
			return "", fmt.Errorf("native part %s: %s: %w", n.Name, f.Member, err)
		}
		record += f.record(size)
	}
	return record, nil
}

// record is the file's line of RECORD.
func (f nativeFile) record(size int64) string {
	sum, _ := hex.DecodeString(f.SHA256) // checkNatives has seen it
	return fmt.Sprintf("%s/%s,sha256=%s,%d\n", nativeDir, f.To, base64.RawURLEncoding.EncodeToString(sum), size)
}

var errOtherJar = errors.New("the jar is not the one that " + declarationFile + " names")
