package env

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Own is an interpreter of this machine in place of an environment: nothing is installed.
type Own struct {
	Python  string // absolute
	Overlay string // absolute folder of installed packages, which go before the interpreter's own; "" for none
	Native  string // absolute folder that holds the environment's native parts; "" where it has none
	Where   string // this is said, for people
}

// ownDescription is the stored form of one: what it holds, and not where that lies.
type ownDescription struct {
	OS            string   `json:"os"`
	Arch          string   `json:"arch"`
	Libc          string   `json:"libc,omitempty"`
	Python        string   `json:"python"`
	Distributions []string `json:"distributions"` // name==version of what an import finds, sorted
	Native        []string `json:"native"`
}

// listing runs inside an interpreter, as far from the user's own packages as a worker does. Of two packages of a name, an
// import finds the first. A version says nothing of a package that came from no index: it is told by what its list of files
// says, and, where it is a folder of sources still, by those.
const listing = `
import hashlib, importlib.metadata, json, os, re, sys, urllib.parse
SOURCES = (".py", ".so", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp")
INSTALLERS = ("/INSTALLER", "/REQUESTED", "/direct_url.json", "/RECORD", ".pyc")
def sources(folder):
    for at, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(SOURCES):
                path = os.path.join(at, name)
                yield os.path.relpath(path, folder).encode("utf-8", "surrogateescape")
                try:
                    with open(path, "rb") as f:
                        yield hashlib.sha256(f.read()).digest()
                except OSError: # a link that leads nowhere
                    yield b"?"
def version(one):
    direct = one.read_text("direct_url.json")
    if not direct:
        return str(one.version)
    lines = sorted((one.read_text("RECORD") or "").splitlines())
    sum = hashlib.sha256()
    for line in lines:
        if not line.split(",")[0].endswith(INSTALLERS):
            sum.update(line.encode() + b"\n")
    told = json.loads(direct)
    if told.get("dir_info", {}).get("editable"):
        for piece in sources(urllib.parse.unquote(urllib.parse.urlsplit(told["url"]).path)):
            sum.update(piece)
    return str(one.version) + " @" + sum.hexdigest()[:32]
found = {}
for folder in ([sys.argv[1]] if sys.argv[1] else []) + sys.path:
    for one in importlib.metadata.distributions(path=[folder]):
        name = one.metadata["Name"]
        name = name and re.sub("[-_.]+", "-", name).lower()
        if name and name not in found:
            found[name] = version(one)
print(json.dumps(sorted(name + "==" + version for name, version in found.items())))`

// distributions lists what is installed for an interpreter, and in a folder that goes before; "" for none.
func distributions(ctx context.Context, python, overlay string) ([]string, error) {
	out, err := quiet(ctx, python, "-I", "-c", listing, overlay).Output()
	if err != nil {
		return nil, fmt.Errorf("asking %s for its packages: %w", python, err)
	}
	var all []string
	if err := json.Unmarshal(out, &all); err != nil {
		return nil, fmt.Errorf("asking %s for its packages: %w", python, err)
	}
	return all, nil
}

// Own is what this machine says of an environment.
func (s *Set) Own(name string) (own Own, ok bool) {
	own, ok = s.local.Own[name]
	return own, ok
}

// listed is a folder that would become two where a worker is told of it.
func (o Own) listed() string {
	for _, folder := range []string{o.Overlay, o.Native} {
		if strings.ContainsRune(folder, os.PathListSeparator) {
			return folder
		}
	}
	return ""
}

// asked is what an interpreter said of itself.
type asked struct {
	machine       *interpreter
	python        string // the program that said it
	distributions []string
}

// askOwn asks once for all environments that are of the same interpreter and overlay. s.mu is held.
func (s *Set) askOwn(ctx context.Context, own Own) (*asked, error) {
	memo := own.Python + "\x00" + own.Overlay
	if known := s.asked[memo]; known != nil {
		return known, nil
	}
	if !executable(own.Python) {
		return nil, fmt.Errorf("there is no interpreter %s", own.Python)
	}
	if info, err := os.Stat(own.Overlay); own.Overlay != "" && (err != nil || !info.IsDir()) {
		return nil, fmt.Errorf("there is no folder %s for its overlay", own.Overlay)
	}
	if folder := own.listed(); folder != "" {
		return nil, fmt.Errorf("%s has a %c in its name, which ends a name in a list of folders: link to it from elsewhere", folder, os.PathListSeparator)
	}
	machine, err := ask(ctx, own.Python)
	if err != nil {
		return nil, err
	}
	// What a shim leads to depends on the folder and the variables that it is started with, and a worker's are others.
	python := machine.Executable
	if !filepath.IsAbs(python) || !executable(python) {
		python = own.Python
	}
	all, err := distributions(ctx, python, own.Overlay)
	if err != nil {
		return nil, err
	}
	found := &asked{machine, python, all}
	s.asked[memo] = found
	return found, nil
}

// describeOwn is what an own interpreter holds. Native files are only looked for here, and read before they are used:
// whoever plans does not wait for gigabytes. s.mu is held.
func (s *Set) describeOwn(ctx context.Context, d *declaration, own Own) (*ownDescription, error) {
	found, err := s.askOwn(ctx, own)
	if err != nil {
		return nil, err
	}
	m := found.machine
	if m.Implementation != "cpython" || m.Bits != 64 || !slices.Contains(d.Python, m.Minor) {
		return nil, fmt.Errorf("%s is Python %s (%s, %d bit), and it is for Python %s", own.Python, m.Minor, m.Implementation, m.Bits, strings.Join(d.Python, ", "))
	}
	if err := d.ownNatives(own, m); err != nil {
		return nil, err
	}
	return &ownDescription{OS: m.OS, Arch: m.Arch, Libc: m.Libc, Python: m.Minor, Distributions: found.distributions, Native: d.nativeLines()}, nil
}

// ownNatives looks for the native parts of an environment where this machine says they are.
func (d *declaration) ownNatives(own Own, machine *interpreter) error {
	if len(d.Natives) == 0 {
		if own.Native != "" {
			return fmt.Errorf("it has no native parts; leave out `native`")
		}
		return nil
	}
	if err := d.fits("this machine", machine.OS, machine.Arch); err != nil {
		return err
	}
	if own.Native == "" {
		return fmt.Errorf("it has native parts (%s): say by `native` which folder holds %s", d.Natives[0].Name, d.Natives[0].Files[0].To)
	}
	for _, f := range d.nativeFiles() {
		name := filepath.Join(own.Native, filepath.FromSlash(f.To))
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
			return fmt.Errorf("there is no file %s, one of its native parts", name)
		}
	}
	return nil
}

// readyOwn gives an own interpreter, once its packages and native parts were found to be those that its description names.
func (s *Set) readyOwn(ctx context.Context, name string, own Own) (Ready, error) {
	blob, err := s.Blob(ctx, name)
	if err != nil {
		return Ready{}, err
	}
	python, err := s.unchanged(ctx, own)
	if err != nil {
		return Ready{}, own.wrong(name, err)
	}
	s.mu.Lock()
	d := s.declared[name]
	s.mu.Unlock()
	if err := s.readNatives(ctx, d, own.Native); err != nil {
		return Ready{}, own.wrong(name, err)
	}
	ready := Ready{Python: python, Libraries: d.libraries(own.Native), Own: true, Compiled: s.compiled(artifacts.Sum(blob))}
	if own.Overlay != "" {
		ready.Path = []string{own.Overlay}
	}
	return ready, nil
}

// unchanged gives the program to start, and asks it again: whoever upgrades a package while a build runs would get the old one's keys for what the new
// one makes.
func (s *Set) unchanged(ctx context.Context, own Own) (string, error) {
	s.mu.Lock()
	known, err := s.askOwn(ctx, own)
	s.mu.Unlock()
	if err != nil {
		return "", err
	}
	now, err := distributions(ctx, known.python, own.Overlay)
	if err != nil {
		return "", err
	}
	for _, both := range [][2][]string{{now, known.distributions}, {known.distributions, now}} {
		for _, one := range both[0] {
			if !slices.Contains(both[1], one) {
				return "", fmt.Errorf("its packages have changed since the build was planned (%s); build again", one)
			}
		}
	}
	return known.python, nil
}

// readNatives reads native parts once in a build, whose stages may ask for them at the same time, and again where a file is not the one
// that was read.
func (s *Set) readNatives(ctx context.Context, d *declaration, root string) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	now := map[string]os.FileInfo{}
	for _, f := range d.nativeFiles() {
		name := filepath.Join(root, filepath.FromSlash(f.To))
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		now[name+" "+f.SHA256] = info
	}
	read := func(name string) bool {
		old := s.read[name]
		return old != nil && os.SameFile(old, now[name]) && old.Size() == now[name].Size() && old.ModTime().Equal(now[name].ModTime())
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(now)), func(name string) bool { return !read(name) }) {
		return nil
	}
	if err := d.sameNatives(ctx, root); err != nil {
		return err
	}
	maps.Copy(s.read, now)
	return nil
}

// wrong says which environment of whose block an error is about.
func (o Own) wrong(name string, err error) error {
	return fmt.Errorf("environment %s, as %s has it: %w", name, o.Where, err)
}
