package plan

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// program is what a native stage runs: where it stands, and the blob that enters the key in its place.
type program struct {
	path string
	blob []byte // JCS of {"program": base name, "sha256": hex}
}

// fileID changes whenever a file's bytes may have changed.
type fileID struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
}

// programOf resolves command[0] as the shell would. The base name is in the blob, since a program may act on the name
// it is called by; the folder is not.
func (p *planner) programOf(st *recipe.Stage) (*program, hcl.Diagnostics) {
	param := st.Kind.Param("command")
	if param == nil {
		return nil, hcl.Diagnostics{problem(st.Range, "Native kind without a command",
			"Kind %s runs a program of this machine, but declares no param \"command\".", st.Kind.Name)}
	}
	v, at := value(st, param)
	argv, err := toJSON(v)
	list, ok := argv.([]any)
	if err != nil || !ok || len(list) == 0 {
		return nil, hcl.Diagnostics{problem(at, "No command", "The command of %s must name a program.", st.Address)}
	}
	name, _ := list[0].(string)
	p.programMu.Lock()
	defer p.programMu.Unlock()
	if found := p.resolved[name]; found != nil {
		return found, nil
	}
	path, err := p.lookPath(name)
	if err != nil {
		return nil, hcl.Diagnostics{problem(at, "Program not found",
			"%s: %s. Install it, or give its absolute path.", st.Address, err)}
	}
	sum, err := p.hashProgram(path)
	if err != nil {
		return nil, hcl.Diagnostics{problem(at, "Program cannot be read", "%s: %s.", st.Address, err)}
	}
	blob, err := artifacts.JCS(map[string]any{"program": filepath.Base(name), "sha256": sum.Hex()})
	if err != nil {
		return nil, hcl.Diagnostics{problem(at, "Program name cannot be recorded", "%s: %s.", st.Address, err)}
	}
	p.resolved[name] = &program{path: path, blob: blob}
	return p.resolved[name], nil
}

// lookPath skips relative folders of PATH: the working folder of a stage is its workspace.
func (p *planner) lookPath(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, p.executable(name)
	}
	if name == "" || strings.ContainsRune(name, filepath.Separator) {
		return "", fmt.Errorf("%q is neither a name on PATH nor an absolute path", name)
	}
	path, _ := p.options.LookupEnv("PATH")
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		at := filepath.Join(dir, name)
		if p.executable(at) == nil {
			return at, nil
		}
	}
	return "", fmt.Errorf("%q is not on PATH", name)
}

func (p *planner) executable(path string) error {
	info, err := p.options.Reads.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no %s", path)
	case err != nil:
		return err
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not an executable file", path)
	}
	return nil
}

func (p *planner) hashProgram(path string) (artifacts.Digest, error) {
	began := time.Now()
	d, err := p.sumProgram(path)
	if err == nil {
		p.options.Reads.FileRead(path, began, d)
	}
	return d, err
}

func (p *planner) sumProgram(path string) (artifacts.Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return artifacts.Digest{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return artifacts.Digest{}, err
	}
	sys, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		d, _, err := artifacts.SumReader(f)
		return d, err
	}
	id := fileID{uint64(sys.Dev), sys.Ino, info.Size(), sys.Mtim, sys.Ctim}
	if d, ok := p.programs[id]; ok {
		return d, nil
	}
	d, _, err := artifacts.SumReader(f)
	if err == nil {
		p.programs[id] = d
	}
	return d, err
}
