package env

import (
	"archive/tar"
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
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// packPrefix begins the names of folders below env/ that packs are gathered or unpacked in, under a lock of that name.
const packPrefix = ".pack-"

const packLock = "pack"

// fetching is the environment whose pip brings wheels for other machines.
const fetching = "fetch"

// PackOptions say what is packed.
type PackOptions struct {
	Name string   // of the environment
	For  *Machine // nil: this one
	Only []string // globs: these packages and native parts, and no others
	Out  string   // the file
	Most int64    // bytes of a part; 0: it is one file
}

// Packed is a pack that was made.
type Packed struct {
	Files    []string
	Packages int
	LeftOut  int
	Bytes    int64 // of its members
}

// Pack writes all that an environment consists of to a file, for a machine without a network.
func (s *Set) Pack(ctx context.Context, o PackOptions, progress func(string)) (*Packed, error) {
	p := &packing{Set: s, o: o, progress: progress}
	made, err := p.make(ctx)
	if err != nil {
		return nil, fmt.Errorf("packing environment %s: %w", o.Name, withRoom(err))
	}
	return made, nil
}

type packing struct {
	*Set
	o        PackOptions
	progress func(string)
	d        *declaration
	natives  []native // of it, those that are packed
	host     *Hosted
	tool     string // the Python of the environment fetch
	dir      string // where the members are gathered
	list     packList
}

func (p *packing) make(ctx context.Context) (*Packed, error) {
	if p.o.Most != 0 && p.o.Most < leastPart {
		return nil, fmt.Errorf("a part has %d KiB at least", leastPart>>10)
	}
	err := p.o.place()
	if err != nil {
		return nil, err
	}
	if p.d, err = p.declaration(p.o.Name); err != nil {
		return nil, err
	}
	machine := p.o.For
	if machine == nil {
		if machine, err = p.Describe(ctx, []string{p.o.Name}, ""); err != nil {
			return nil, err
		}
	}
	if p.host, err = machine.host(p.o.Name); err != nil {
		return nil, err
	}
	if err := p.d.fits("that machine", p.host.OS, p.host.Arch); err != nil {
		return nil, err
	}
	dir, done, err := p.gathering(ctx, p.progress)
	if err != nil {
		return nil, err
	}
	defer done()
	p.dir = dir
	packages, err := p.gather(ctx, machine.UV)
	if err != nil {
		return nil, err
	}
	files, err := p.write(ctx)
	if err != nil {
		return nil, err
	}
	return &Packed{Files: files, Packages: packages, LeftOut: len(p.list.LeftOut), Bytes: p.list.bytes()}, nil
}

// gathering makes a folder in the cache, one at a time, and removes what killed processes left there.
func (s *Set) gathering(ctx context.Context, progress func(string)) (dir string, done func(), err error) {
	release, err := s.lock(ctx, packLock, func() { progress("another process packs or unpacks; waiting for it") })
	if err != nil {
		return "", nil, err
	}
	parent := filepath.Join(s.cache, "env")
	discard(parent, packPrefix)
	if dir, err = os.MkdirTemp(parent, packPrefix); err != nil {
		release()
		return "", nil, err
	}
	return dir, func() { _ = os.RemoveAll(dir); release() }, nil
}

// gather brings all members into the folder and lists them; it gives the number of packages.
func (p *packing) gather(ctx context.Context, uv bool) (int, error) {
	fetch, err := p.Install(ctx, fetching, p.progress)
	if err != nil {
		return 0, err
	}
	p.tool = fetch.Python
	p.list = packList{Format: packFormat, Name: p.o.Name, Description: description{
		OS: p.host.OS, Arch: p.host.Arch, Libc: p.host.Libc, Python: p.host.Minor, Lock: p.d.lock, Native: p.d.nativeLines(),
	}}
	if p.host.Own {
		p.list.Interpreter = p.host.Python
	}
	some, err := wanted(ctx, p.tool, p.host, requirements(p.d.lock))
	if err != nil {
		return 0, err
	}
	if some, err = p.choose(some); err != nil {
		return 0, err
	}
	var lines []string
	for _, r := range some {
		lines = append(lines, r.Line)
	}
	// The native parts first: a repository that is not there is noticed before gigabytes of packages are here.
	if err := p.bringNatives(ctx, &declaration{Natives: p.natives}, p.dir, p.progress); err != nil {
		return 0, err
	}
	p.progress(fmt.Sprintf("bringing %d packages for Python %s on %s", len(some), p.host.Minor, p.host.Platforms[0]))
	if err := p.download(ctx, wheelsDir, strings.Join(lines, "\n")); err != nil {
		return 0, err
	}
	if !uv {
		lock, err := fs.ReadFile(p.roots[0], uvLock)
		if err == nil {
			err = p.download(ctx, uvDir, string(lock))
		}
		if err != nil {
			return 0, fmt.Errorf("uv: %w", err)
		}
	}
	if err := p.describe(ctx); err != nil {
		return 0, err
	}
	p.dropJars(p.natives)
	return len(some), nil
}

// choose leaves out what the machine has and what nobody asked for.
func (p *packing) choose(all []requirement) ([]requirement, error) {
	only := &onlyThese{globs: p.o.Only, used: make([]bool, len(p.o.Only))}
	var some []requirement
	var lacks unmet
	for _, r := range all {
		asked := only.takes(r.Name)
		if asked && !p.host.has(r.Name, r.Version) {
			some = append(some, r)
			continue
		}
		p.list.LeftOut = append(p.list.LeftOut, r.Name+"=="+r.Version)
		if !asked {
			lacks.add(p.host, r)
		}
	}
	for _, n := range p.d.Natives {
		if only.takes(n.Name) {
			p.natives = append(p.natives, n)
		} else {
			p.list.LeftOut = append(p.list.LeftOut, nativeDir+" "+n.Name)
		}
	}
	if i := slices.Index(only.used, false); i >= 0 && only.err == nil {
		return nil, fmt.Errorf("no package or native part of it is called %q", p.o.Only[i])
	}
	if only.err == nil {
		lacks.tell(p.progress)
	}
	return some, only.err
}

// onlyThese is globs of names; none takes all.
type onlyThese struct {
	globs []string
	used  []bool
	err   error
}

func (o *onlyThese) takes(name string) bool {
	asked := len(o.globs) == 0
	for i, glob := range o.globs {
		match, err := path.Match(normalGlob(glob), name)
		if err != nil {
			o.err = fmt.Errorf("%q: %w", glob, err)
		}
		o.used[i], asked = o.used[i] || match, asked || match
	}
	return asked
}

func normalGlob(glob string) string {
	return strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(glob))
}

// download lets pip bring wheels of the target's kind. uv has no such verb.
func (p *packing) download(ctx context.Context, dir, lock string) error {
	to := filepath.Join(p.dir, dir)
	if err := os.Mkdir(to, 0o777); err != nil || lock == "" {
		return err
	}
	name := filepath.Join(p.dir, dir+".lock")
	if err := os.WriteFile(name, []byte(lock+"\n"), 0o644); err != nil {
		return err
	}
	abi := "cp" + strings.ReplaceAll(p.host.Minor, ".", "")
	args := []string{
		"-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary", ":all:",
		"--require-hashes", "--dest", to, "--implementation", "cp", "--python-version", p.host.Minor,
		"--abi", abi, "--abi", "abi3", "--abi", "none",
	}
	for _, platform := range p.host.Platforms {
		args = append(args, "--platform", platform)
	}
	cmd := quiet(ctx, p.tool, append(args, "--requirement", name)...)
	cmd.Dir, cmd.Env = p.dir, forPip(cmd.Env)
	return follow(ctx, cmd, p.progress)
}

// forPip lets uv's index stand in for pip's where only that is set.
func forPip(environ []string) []string {
	has := map[string]string{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		has[name] = value
	}
	index := cmp.Or(has["UV_DEFAULT_INDEX"], has["UV_INDEX_URL"])
	if index != "" && has["PIP_INDEX_URL"] == "" {
		environ = append(environ, "PIP_INDEX_URL="+index)
	}
	return environ
}

// describe lists the members, in the order of their names.
func (p *packing) describe(ctx context.Context) error {
	for _, dir := range []string{nativeDir, uvDir, wheelsDir} {
		err := filepath.WalkDir(filepath.Join(p.dir, dir), func(name string, e fs.DirEntry, err error) error {
			rel, wrong := filepath.Rel(p.dir, name)
			switch {
			case errors.Is(err, fs.ErrNotExist) && rel == dir:
				return nil
			case err != nil || wrong != nil:
				return errors.Join(err, wrong)
			case e.Type().IsRegular() && rel != filepath.Join(nativeDir, recordName):
				p.list.Members = append(p.list.Members, packMember{Path: filepath.ToSlash(rel)})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range p.list.Members {
		m := &p.list.Members[i]
		g.Go(func() error {
			in, err := os.Open(filepath.Join(p.dir, filepath.FromSlash(m.Path)))
			if err != nil {
				return err
			}
			defer in.Close()
			sum, size, err := artifacts.SumReader(during{ctx, in})
			m.Size, m.SHA256 = size, sum.Hex()
			return err
		})
	}
	return g.Wait()
}

// place sees that the file can be written, before gigabytes are brought for it.
func (o PackOptions) place() error {
	for _, name := range []string{o.Out, o.Out + ".000"} {
		if _, err := os.Lstat(name); err == nil {
			return fmt.Errorf("%s is there already; remove it with its further parts, or name another file", name)
		}
	}
	if info, err := os.Stat(filepath.Dir(o.Out)); err != nil || !info.IsDir() {
		return fmt.Errorf("there is no folder %s to write it to", filepath.Dir(o.Out))
	}
	return nil
}

// write makes the file, or its parts. Two packs of the same are the same.
func (p *packing) write(ctx context.Context) (files []string, err error) {
	out := &partWriter{name: p.o.Out, most: p.o.Most}
	defer func() {
		if err != nil {
			out.discard()
		}
	}()
	p.progress("writing " + p.o.Out)
	level, window := zstd.SpeedDefault, 8<<20 // wheels are compressed already
	if len(p.natives) > 0 {
		level = zstd.SpeedBestCompression // minutes, to carry a quarter less
		for int64(window) < p.list.bytes() && window < packWindow {
			window *= 2
		}
	}
	z, err := zstd.NewWriter(out, zstd.WithEncoderLevel(level), zstd.WithWindowSize(window))
	if err != nil {
		return nil, err
	}
	t := tar.NewWriter(z)
	text, err := json.Marshal(p.list)
	if err == nil {
		err = add(t, packName, int64(len(text)), strings.NewReader(string(text)))
	}
	for _, m := range p.list.Members {
		if err == nil {
			err = p.addFile(ctx, t, m)
		}
	}
	if err == nil {
		err = t.Close()
	}
	if err = errors.Join(err, z.Close()); err == nil {
		err = out.Close()
	}
	return out.paths, err
}

func (p *packing) addFile(ctx context.Context, t *tar.Writer, m packMember) error {
	in, err := os.Open(filepath.Join(p.dir, filepath.FromSlash(m.Path)))
	if err != nil {
		return err
	}
	defer in.Close()
	return add(t, m.Path, m.Size, during{ctx, in})
}

func add(t *tar.Writer, name string, size int64, from io.Reader) error {
	if err := t.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err := io.Copy(t, from)
	return err
}
