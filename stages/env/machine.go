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
)

const machineFormat = 1

// Machine is what a pack made elsewhere has to know of the machine that it is for.
type Machine struct {
	Format       int               `json:"format"`
	UV           bool              `json:"uv"` // it has one that is new enough
	Environments map[string]Hosted `json:"environments"`
}

// Hosted is an environment as a machine could have it.
type Hosted struct {
	Python    string            `json:"python,omitempty"` // the interpreter's path there
	Minor     string            `json:"minor,omitempty"`
	OS        string            `json:"os,omitempty"`
	Arch      string            `json:"arch,omitempty"`
	Libc      string            `json:"libc,omitempty"`
	Markers   map[string]string `json:"markers,omitempty"`       // what conditions in a lock are asked of
	Platforms []string          `json:"platforms,omitempty"`     // tags of wheels that it takes, the best first
	Own       bool              `json:"own,omitempty"`           // nothing is installed but beside its own distributions
	Has       []string          `json:"distributions,omitempty"` // those: name==version
	Lacks     string            `json:"lacks,omitempty"`         // why it cannot have the environment
}

// tags runs inside the interpreter that packages are for. PEP 600 and 656 have the tags of Linux; of macOS's, pip knows the
// older ones by itself.
const tags = `
import json, os, platform, sys
machine = platform.machine()
def platforms():
    if sys.platform == "darwin":
        major, minor = (platform.mac_ver()[0].split(".") + ["0"])[:2]
        version = "%s_%s" % (major, minor if major == "10" else "0")
        return ["macosx_%s_%s" % (version, kind) for kind in (machine, "universal2")]
    try:
        libc, version = os.confstr("CS_GNU_LIBC_VERSION").split()
        minor = int(version.split(".")[1])
    except (AttributeError, OSError, ValueError, IndexError):
        return ["musllinux_1_%d_%s" % (n, machine) for n in (2, 1, 0)] + ["linux_" + machine]
    old = ["manylinux2014_", "manylinux2010_", "manylinux1_"] if machine in ("x86_64", "i686") else ["manylinux2014_"]
    return ["manylinux_2_%d_%s" % (n, machine) for n in range(minor, 4, -1)] + [name + machine for name in old + ["linux_"]]
print(json.dumps({"platforms": platforms(), "markers": {
    "implementation_name": sys.implementation.name,
    "implementation_version": platform.python_version(),
    "os_name": os.name,
    "platform_machine": machine,
    "platform_python_implementation": platform.python_implementation(),
    "platform_release": "",
    "platform_system": platform.system(),
    "platform_version": "",
    "python_full_version": platform.python_version(),
    "python_version": "%d.%d" % sys.version_info[:2],
    "sys_platform": sys.platform,
}}))`

// Describe says how this machine could have environments: all, or those named. python, where it is not "", is an interpreter
// whose own packages they are to build upon, in place of what tinfra.hcl says.
func (s *Set) Describe(ctx context.Context, names []string, python string) (*Machine, error) {
	_, uv := uvOnPath(ctx)
	m := &Machine{Format: machineFormat, UV: uv, Environments: map[string]Hosted{}}
	for _, name := range names {
		own, ok := s.Own(name)
		if python != "" {
			own, ok = Own{Python: python}, true
		}
		h, err := s.hosted(ctx, name, own, ok)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			h = &Hosted{Lacks: err.Error()}
		}
		m.Environments[name] = *h
	}
	return m, nil
}

func (s *Set) hosted(ctx context.Context, name string, own Own, isOwn bool) (*Hosted, error) {
	d, err := s.declaration(name)
	if err != nil {
		return nil, err
	}
	h := &Hosted{}
	var found *interpreter
	if isOwn {
		found, err = h.build(ctx, d, own)
	} else {
		s.mu.Lock()
		found, err = s.python(ctx, d.Python)
		s.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	if h.Minor, h.OS, h.Arch, h.Libc = found.Minor, found.OS, found.Arch, found.Libc; !isOwn {
		h.Python = found.Path
	}
	out, err := quiet(ctx, h.Python, "-I", "-c", tags).Output()
	if err == nil {
		err = json.Unmarshal(out, h)
	}
	if err != nil {
		return nil, fmt.Errorf("asking %s for its platform: %w", h.Python, err)
	}
	return h, nil
}

// build takes an interpreter with its own packages.
func (h *Hosted) build(ctx context.Context, d *declaration, own Own) (*interpreter, error) {
	path, err := filepath.Abs(own.Python)
	if err != nil {
		return nil, err
	}
	found, err := ask(ctx, path)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(d.Python, found.Minor) {
		return nil, fmt.Errorf("%s is Python %s; it takes %s", path, found.Minor, strings.Join(d.Python, ", "))
	}
	h.Python, h.Own = path, true
	h.Has, err = distributions(ctx, path, own.Overlay)
	return found, err
}

// ReadMachine reads what Describe wrote on another machine.
func ReadMachine(path string) (*Machine, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var m Machine
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if m.Format != machineFormat {
		return nil, fmt.Errorf("%s: it is not what `tinfra env describe --json` of this version writes", path)
	}
	return &m, nil
}

// host is the machine as far as one environment goes.
func (m *Machine) host(name string) (*Hosted, error) {
	h, ok := m.Environments[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("the machine's description is of %s and not of %s", strings.Join(slices.Sorted(maps.Keys(m.Environments)), ", "), name)
	case h.Lacks != "":
		return nil, fmt.Errorf("the machine cannot have it: %s", h.Lacks)
	case h.Minor == "" || len(h.Platforms) == 0 || !filepath.IsAbs(h.Python):
		return nil, fmt.Errorf("the machine's description does not say which Python it has for %s", name)
	}
	return &h, nil
}

// has says whether the machine has a distribution of its own in the version that a lock pins; what follows a + tells builds
// of one version apart.
func (h *Hosted) has(name, version string) bool {
	its, there := h.version(name)
	its, _, _ = strings.Cut(its, "+")
	version, _, _ = strings.Cut(version, "+")
	return there && its == version
}

// version is that of a distribution which the machine has of its own.
func (h *Hosted) version(name string) (version string, there bool) {
	for _, one := range h.Has {
		if of, its, _ := strings.Cut(one, "=="); normalName(of) == name {
			version, _, _ = strings.Cut(its, " ")
			return version, true
		}
	}
	return "", false
}
