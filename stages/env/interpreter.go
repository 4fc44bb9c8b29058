package env

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

var minorVersion = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^3\.[0-9]{1,2}$`) })

// interpreter is a Python of this machine and what of it decides which packages fit.
type interpreter struct {
	Path           string // of the real interpreter, not of a shim or a virtual environment
	Executable     string // of the interpreter with its packages: a virtual environment's own, but no shim
	Implementation string
	Minor          string
	OS, Arch, Libc string
	Bits           int
}

// probe runs inside the interpreter, which may be a shim: only it can say what it is. -I and -S keep the user's own
// packages out and the start-up short.
const probe = `
import json, os, sys
def libc():
    if sys.platform != "linux":
        return ""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION").split()[0]
    except (AttributeError, OSError, ValueError):
        return "musl"
arch = os.uname().machine
print(json.dumps({
    "Executable": sys.executable,
    "Path": getattr(sys, "_base_executable", None) or sys.executable,
    "Implementation": sys.implementation.name,
    "Minor": "%d.%d" % sys.version_info[:2],
    "OS": sys.platform,
    "Arch": {"amd64": "x86_64", "arm64": "aarch64"}.get(arch, arch),
    "Libc": libc(),
    "Bits": 64 if sys.maxsize > 2**32 else 32,
}))`

// python finds the interpreter for the first of the minor versions that this machine has: python3.N on PATH, then
// python3 and python when they are of a version allowed, then what uv knows. s.mu is held.
func (s *Set) python(ctx context.Context, minors []string) (*interpreter, error) {
	memo := strings.Join(minors, " ")
	if found := s.pythons[memo]; found != nil {
		return found, nil
	}
	for _, candidate := range candidates(ctx, minors) {
		found, err := ask(ctx, candidate)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == nil && found.Implementation == "cpython" && found.Bits == 64 && slices.Contains(minors, found.Minor) {
			s.pythons[memo] = found
			return found, nil
		}
	}
	return nil, fmt.Errorf("found no Python %s on PATH; install Python %s (%s) and try again",
		strings.Join(minors, ", "), minors[0], howToInstall(minors[0]))
}

func howToInstall(minor string) string {
	return fmt.Sprintf("Debian and Ubuntu: apt install python%s python%s-venv; macOS: brew install python@%s; any: uv python install %s", minor, minor, minor, minor)
}

// candidates yields programs that may be the Python wanted, the likeliest first. uv is asked only after all of PATH.
func candidates(ctx context.Context, minors []string) func(func(int, string) bool) {
	return func(yield func(int, string) bool) {
		var names []string
		for _, minor := range minors {
			names = append(names, "python"+minor)
		}
		n := 0
		for _, name := range append(names, "python3", "python") {
			for _, path := range onPath(name) {
				if !yield(n, path) {
					return
				}
				n++
			}
		}
		uv, err := exec.LookPath("uv")
		if err != nil {
			return
		}
		for _, minor := range minors {
			out, err := quiet(ctx, uv, "python", "find", "--no-project", "--no-python-downloads", minor).Output()
			if path := strings.TrimSpace(string(out)); err == nil && path != "" && !yield(n, path) {
				return
			}
			n++
		}
	}
}

// onPath is every program of that name on PATH: the first may be a shim for a version that is not installed.
func onPath(name string) []string {
	var all []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); filepath.IsAbs(dir) && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			all = append(all, path)
		}
	}
	return all
}

func ask(ctx context.Context, path string) (*interpreter, error) {
	out, err := quiet(ctx, path, "-I", "-S", "-c", probe).Output()
	if err != nil {
		return nil, fmt.Errorf("asking %s for its version: %w", path, err)
	}
	var found interpreter
	if err := json.Unmarshal(out, &found); err != nil {
		return nil, fmt.Errorf("asking %s for its version: %w", path, err)
	}
	if !filepath.IsAbs(found.Path) || found.Arch == "" {
		return nil, errors.New(path + " does not say what it is")
	}
	return &found, nil
}

// quiet is a command that ends with ctx, gently first. Ctrl-C reaches it by ctx only, or the person would read of uv's
// end and not of their own.
func quiet(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = environment(os.Environ())
	return cmd
}

// environment is the caller's own, so that their indexes, proxies and certificates hold, without what would lead a
// Python or uv to another project. pip's settings stand in for uv's where only those are made.
func environment(caller []string) []string {
	var out []string
	has := map[string]string{}
	for _, pair := range caller {
		name, value, _ := strings.Cut(pair, "=")
		has[name] = value
		switch name {
		case "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT", "UV_WORKING_DIRECTORY":
		default:
			out = append(out, pair)
		}
	}
	for _, same := range [][3]string{
		{"PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"},
		{"PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"},
		{"PIP_CERT", "SSL_CERT_FILE", "SSL_CERT_FILE"},
	} {
		if value := has[same[0]]; value != "" && has[same[1]] == "" && has[same[2]] == "" {
			out = append(out, same[1]+"="+value)
		}
	}
	return out
}
