package env

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// oldestUV is the first whose options are those used here.
var oldestUV = [3]int{0, 6, 0}

const uvLock = "uv.lock"

// toolPrefix begins the names of what becomes a tool. Whoever makes one holds its lock, and removes what a killed one left.
const toolPrefix = ".new-"

var (
	uvSays = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^uv ([0-9]+)\.([0-9]+)\.([0-9]+)`) })
	uvPin  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^uv==([0-9][0-9A-Za-z.]*)`) })
)

// uv is the program that installs environments: the one on PATH if it is new enough, else tinfra's own.
func (s *Set) uv(ctx context.Context, python *interpreter, progress func(string)) (string, error) {
	if path, ok := uvOnPath(ctx); ok {
		return path, nil
	}
	lock, err := fs.ReadFile(s.roots[0], uvLock)
	if err != nil {
		return "", fmt.Errorf("reading the version of uv to install: %w", err)
	}
	pin := uvPin().FindSubmatch(lock)
	if pin == nil {
		return "", errors.New(uvLock + " names no version of uv")
	}
	final := filepath.Join(s.cache, "tools", "uv-"+string(pin[1]), "uv")
	if out, err := quiet(ctx, final, "--version").Output(); err == nil && newEnough(string(out)) {
		return final, nil
	}
	if s.offline && s.from == nil {
		return "", fmt.Errorf("uv: %w", ErrOffline)
	}
	release, err := s.lock(ctx, "uv", func() { progress("another build installs uv; waiting for it") })
	if err != nil {
		return "", err
	}
	defer release()
	if out, err := quiet(ctx, final, "--version").Output(); err == nil && newEnough(string(out)) {
		return final, nil
	}
	if s.from != nil {
		return final, s.from.keepUV(final)
	}
	progress("installing uv " + string(pin[1]))
	if err := s.bringUV(ctx, python, lock, final); err != nil {
		return "", fmt.Errorf("installing uv %s: %w", pin[1], err)
	}
	return final, nil
}

// uvOnPath is this machine's own uv, where it has one that is new enough.
func uvOnPath(ctx context.Context) (path string, ok bool) {
	path, err := exec.LookPath("uv")
	if err != nil {
		return "", false
	}
	out, err := quiet(ctx, path, "--version").Output()
	return path, err == nil && newEnough(string(out))
}

func newEnough(version string) bool {
	found := uvSays().FindStringSubmatch(version)
	if found == nil {
		return false
	}
	for i, least := range oldestUV {
		if n, err := strconv.Atoi(found[i+1]); err != nil || n != least {
			return err == nil && n > least
		}
	}
	return true
}

// bringUV installs uv into a throw-away virtual environment and keeps the one program of it.
func (s *Set) bringUV(ctx context.Context, python *interpreter, lock []byte, final string) error {
	if err := os.MkdirAll(filepath.Dir(final), 0o777); err != nil {
		return err
	}
	discard(filepath.Dir(final), toolPrefix)
	aside, err := os.MkdirTemp(filepath.Dir(final), toolPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(aside)
	name := filepath.Join(aside, uvLock)
	if err := os.WriteFile(name, lock, 0o644); err != nil {
		return err
	}
	venv := filepath.Join(aside, "venv")
	if out, err := combined(quiet(ctx, python.Path, "-m", "venv", venv)); err != nil {
		return explain(ctx, out, fmt.Errorf("%s -m venv: %w; install its venv module (Debian and Ubuntu: apt install python%s-venv), or uv", python.Path, err, python.Minor))
	}
	pip := quiet(ctx, filepath.Join(venv, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
		"--no-input", "--only-binary", ":all:", "--require-hashes", "--requirement", name)
	pip.Dir = aside
	if out, err := combined(pip); err != nil {
		return explain(ctx, out, err)
	}
	program, err := os.Open(filepath.Join(venv, "bin", "uv"))
	if err != nil {
		return err
	}
	defer program.Close()
	return keepProgram(program, final)
}

// combined runs a command that dies with this process, and gives all that it said.
func combined(cmd *exec.Cmd) (string, error) {
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := runBound(cmd)
	return said.String(), err
}

// keepProgram copies a program to its place by rename: a half-copied one is never run.
func keepProgram(in io.Reader, to string) error {
	out, err := os.CreateTemp(filepath.Dir(to), toolPrefix)
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Chmod(0o755), out.Sync(), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}

const fullDisk = "no space left on the disk: free some, or set TINFRA_CACHE and UV_CACHE_DIR to a larger one"

// withRoom says what to do where an error is that a disk is full.
func withRoom(err error) error {
	if full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT); full && !strings.Contains(err.Error(), fullDisk) {
		return fmt.Errorf("%s (%w)", fullDisk, err)
	}
	return err
}

// explain says in a person's words why a command that installs something failed, and keeps the end of what it said.
func explain(ctx context.Context, said string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	lower := strings.ToLower(said)
	why := ""
	for _, cause := range []struct{ why, words string }{
		{fullDisk, "no space left on device|os error 28|errno 28"},
		{"a package is not the one that the lock names: its hash differs", "hash mismatch|do not match the hashes"},
		{"the package index does not answer: is there a network? behind a proxy or with an index of your own, set the HTTPS_PROXY, UV_… or PIP_… variables",
			"error sending request|failed to fetch|dns error|failed to lookup|connection refused|connecterror|newconnectionerror|name resolution|network is unreachable|timed out|certificate"},
		{"the lock has no package for this machine", "no wheels|no matching distribution|has no usable wheels|building source distributions is disabled"},
	} {
		for word := range strings.SplitSeq(cause.words, "|") {
			if why == "" && strings.Contains(lower, word) {
				why = cause.why
			}
		}
	}
	if why != "" {
		err = fmt.Errorf("%s (%w)", why, err)
	}
	if tail := lastLines(said, 12); tail != "" {
		return fmt.Errorf("%w\n%s", err, tail)
	}
	return err
}

func lastLines(text string, most int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
