package env

import (
	"archive/tar"
	"archive/zip"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// source is what a pack brought: in place of all networks, while an environment is installed of it.
type source struct {
	dir  string
	list *packList
}

func (p *source) wheels() string { return filepath.Join(p.dir, wheelsDir) }

// howToInstall are uv's options: what the lock names is in the folder, or nowhere.
func (p *source) howToInstall() []string {
	return []string{"--offline", "--no-index", "--find-links", p.wheels()}
}

// Unpacked is an environment that a pack made ready.
type Unpacked struct {
	Name     string
	Python   string
	Overlay  string // folder of packages; "" where the environment was installed
	Native   string // folder of native parts in it; "" where there are none
	Packages int
}

// Onto is where a pack goes that is no whole environment.
type Onto struct {
	Overlay string // folder of packages; "": the environment is installed
	Python  string // whose packages they go before; "": the one that this machine names, or finds where the pack says
}

// Unpack installs the environment of a pack, given as its parts, without a network. With an overlay, only what is in the
// pack goes into that folder, for an interpreter of this machine's own.
func (s *Set) Unpack(ctx context.Context, parts []string, onto Onto, progress func(string)) (*Unpacked, error) {
	dir, done, err := s.gathering(ctx, progress)
	if err != nil {
		return nil, err
	}
	defer done()
	progress("reading " + parts[0])
	list, d, err := s.extract(ctx, parts, dir)
	if err != nil {
		return nil, fmt.Errorf("unpacking: %w", withRoom(err))
	}
	from := &source{dir, list}
	u := &Unpacked{Name: list.Name}
	for _, m := range list.Members {
		if strings.HasPrefix(m.Path, wheelsDir+"/") {
			u.Packages++
		}
	}
	if onto.Overlay != "" {
		err = s.lay(ctx, from, d, onto, u, progress)
	} else {
		err = s.installFrom(ctx, from, u, progress)
	}
	if err != nil {
		return nil, fmt.Errorf("unpacking environment %s: %w", list.Name, withRoom(err))
	}
	return u, nil
}

// extract writes the members into a folder. Each is in the locks of this machine, and its bytes are those that they name.
func (s *Set) extract(ctx context.Context, parts []string, dir string) (*packList, *declaration, error) {
	pack, err := openParts(ctx, parts)
	if err != nil {
		return nil, nil, err
	}
	defer pack.Close()
	z, err := zstd.NewReader(pack, zstd.WithDecoderMaxWindow(packWindow), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, nil, err
	}
	defer z.Close()
	t := tar.NewReader(during{ctx, z})
	if h, err := t.Next(); err != nil || h.Name != packName || h.Typeflag != tar.TypeReg {
		return nil, nil, errors.Join(errors.New("it does not begin as a pack of `tinfra env pack` does"), err)
	}
	list, err := readPackList(t)
	if err != nil {
		return nil, nil, err
	}
	d, err := s.declaration(list.Name)
	if err != nil {
		return nil, nil, err
	}
	known, err := s.trust(d)
	if err == nil {
		err = known.check(list)
	}
	if err != nil {
		return nil, nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	for _, m := range list.Members {
		if err := m.extract(t, root); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", m.Path, err)
		}
	}
	if _, err := t.Next(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.Join(errors.New("it goes on behind what it lists"), err)
	}
	return list, d, nil
}

// extract takes the next member, which has to be this one.
func (m packMember) extract(t *tar.Reader, root *os.Root) error {
	h, err := t.Next()
	if err != nil {
		return err
	}
	if h.Name != m.Path || h.Typeflag != tar.TypeReg || h.Size != m.Size {
		return errors.New("it is not there as it is listed")
	}
	if err := root.MkdirAll(path.Dir(m.Path), 0o777); err != nil {
		return err
	}
	out, err := root.OpenFile(filepath.FromSlash(m.Path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	sum, _, err := artifacts.SumReader(io.TeeReader(t, out))
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if sum.Hex() != m.SHA256 {
		return fmt.Errorf("its sha256 is %s and not %s", sum.Hex(), m.SHA256)
	}
	return nil
}

// installFrom makes the locked environment, the same as one that was installed over a network.
func (s *Set) installFrom(ctx context.Context, from *source, u *Unpacked, progress func(string)) error {
	if left := from.list.LeftOut; len(left) > 0 {
		return fmt.Errorf("it leaves out %d parts of the environment, such as %s: unpack it with --overlay, for an interpreter that has them", len(left), left[0])
	}
	if own, ok := s.Own(u.Name); ok {
		return fmt.Errorf("%s says that %s is its interpreter: unpack it with --overlay", own.Where, own.Python)
	}
	blob, err := s.Blob(ctx, u.Name)
	if err != nil {
		return err
	}
	var here description
	if err := json.Unmarshal(blob, &here); err != nil {
		return err
	}
	if err := from.list.same(here); err != nil {
		return err
	}
	s.from = from
	defer func() { s.from = nil }()
	ready, err := s.Install(ctx, u.Name, progress)
	u.Python = ready.Python
	return err
}

// lay installs what the pack has into a folder that stands before an interpreter's own packages.
func (s *Set) lay(ctx context.Context, from *source, d *declaration, onto Onto, u *Unpacked, progress func(string)) error {
	overlay, err := filepath.Abs(onto.Overlay)
	if err != nil {
		return err
	}
	u.Overlay = overlay
	python, err := s.interpreterFor(ctx, from.list, onto.Python)
	if err != nil {
		return err
	}
	u.Python = python.Path
	if err := os.MkdirAll(overlay, 0o777); err != nil {
		return err
	}
	if u.Packages > 0 {
		if err := s.layWheels(ctx, from, d, python, overlay, progress); err != nil {
			return err
		}
	}
	files := from.list.natives(d)
	if len(files) == 0 {
		return nil
	}
	u.Native = filepath.Join(overlay, nativeDir)
	progress("copying native parts")
	return from.layNatives(ctx, files, u.Native)
}

// interpreterFor is the one that a person or tinfra.hcl names, else the one that the pack names: if that is what a person here would
// get by the name python, since whoever made the pack may have written there what they wanted to be run.
func (s *Set) interpreterFor(ctx context.Context, l *packList, named string) (*interpreter, error) {
	own, _ := s.Own(l.Name)
	path := cmp.Or(named, own.Python)
	if path == "" && l.Interpreter == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.python(ctx, []string{l.Description.Python})
	}
	if path == "" {
		name := filepath.Base(l.Interpreter)
		if !pythonName().MatchString(name) || !slices.Contains(onPath(name), l.Interpreter) {
			return nil, fmt.Errorf("it was packed for the interpreter %q, which is none of this machine's PATH: say by --python which one it is for", l.Interpreter)
		}
		path = l.Interpreter
	}
	found, err := ask(ctx, path)
	if err != nil {
		return nil, err
	}
	if found.Minor != l.Description.Python {
		return nil, fmt.Errorf("it was packed for Python %s; %s is Python %s", l.Description.Python, path, found.Minor)
	}
	found.Path = path // the base of a virtual environment has other packages
	return found, nil
}

var pythonName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^python(3(\.[0-9]+)?)?$`) })

func (s *Set) layWheels(ctx context.Context, from *source, d *declaration, python *interpreter, overlay string, progress func(string)) error {
	s.from = from
	defer func() { s.from = nil }()
	uv, err := s.uv(ctx, python, progress)
	if err != nil {
		return err
	}
	left := map[string]bool{}
	for _, one := range from.list.LeftOut {
		left[one] = true
	}
	var lines []string
	for _, r := range requirements(d.lock) {
		if !left[r.Name+"=="+r.Version] {
			line := strings.Replace(r.Line, " --hash", " ; "+r.Marker+" --hash", 1)
			lines = append(lines, strings.Replace(line, " ;  --hash", " --hash", 1))
		}
	}
	name := filepath.Join(from.dir, lockFile)
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	progress("installing into " + overlay + " and compiling bytecode") // workers write none
	install := quiet(ctx, uv, append([]string{
		"pip", "install", "--no-deps", "--require-hashes", "--no-build", "--compile-bytecode", "--python", python.Path, "--target", overlay, "--requirements", name,
	}, from.howToInstall()...)...)
	install.Dir = from.dir
	return follow(ctx, install, nil)
}

// layNatives copies native parts, over what an earlier pack may have left of them.
func (p *source) layNatives(ctx context.Context, files []nativeFile, to string) error {
	if err := os.MkdirAll(to, 0o777); err != nil {
		return err
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range files {
		if err := root.Remove(filepath.FromSlash(f.To)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if _, err := p.extract(ctx, f, root); err != nil {
			return fmt.Errorf("%s: %w", f.To, err)
		}
	}
	return nil
}

// extract implements nativeSource.
func (p *source) extract(ctx context.Context, f nativeFile, root *os.Root) (int64, error) {
	in, err := os.Open(filepath.Join(p.dir, nativeDir, filepath.FromSlash(f.To)))
	if err != nil {
		return 0, err
	}
	defer in.Close()
	return f.copy(ctx, in, root)
}

// keepUV takes the program out of the wheel that the pack brought.
func (p *source) keepUV(final string) error {
	found, err := filepath.Glob(filepath.Join(p.dir, uvDir, "*.whl"))
	if err != nil || len(found) == 0 {
		return fmt.Errorf("uv is not on PATH, and the pack has none: %w", ErrOffline)
	}
	z, err := zip.OpenReader(found[0])
	if err != nil {
		return err
	}
	defer func() { _ = z.Close() }() // it was only read
	for _, f := range z.File {
		if ok, _ := path.Match("uv-*.data/scripts/uv", f.Name); !ok {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return err
		}
		defer in.Close()
		if err := os.MkdirAll(filepath.Dir(final), 0o777); err != nil {
			return err
		}
		return keepProgram(in, final)
	}
	return fmt.Errorf("%s has no uv in it", filepath.Base(found[0]))
}
