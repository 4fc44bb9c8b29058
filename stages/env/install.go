package env

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// markerFile is written last into a folder that then gets its name: an environment without it is not one.
const markerFile = "tinfra-env.json"

// marker says what an installed environment is.
type marker struct {
	Name      string           `json:"name"`
	Digest    artifacts.Digest `json:"digest"`
	Python    string           `json:"python"` // the interpreter it is made of
	Bytes     int64            `json:"bytes"`
	Installed time.Time        `json:"installed"`
	Contents  artifacts.Digest `json:"contents,omitzero"` // of the packages' lists of files; zero in what older versions installed
}

// Install gives what a worker needs of an environment and installs it first where it is not there. Builds at the same time
// install it once. progress is told what is being done, a line at a time, and never again after Install has returned.
func (s *Set) Install(ctx context.Context, name string, progress func(done string)) (Ready, error) {
	if progress == nil {
		progress = func(string) {}
	}
	if own, ok := s.Own(name); ok {
		return s.readyOwn(ctx, name, own)
	}
	blob, err := s.Blob(ctx, name)
	if err != nil {
		return Ready{}, err
	}
	digest := artifacts.Sum(blob)
	dir := filepath.Join(s.cache, "env", digest.Hex())
	if err := s.hold(ctx, digest); err != nil {
		return Ready{}, fmt.Errorf("environment %s: %w", name, err)
	}
	if s.looked(dir, digest) == nil {
		return s.installed(name, dir), nil
	}
	if s.offline && s.from == nil {
		return Ready{}, fmt.Errorf("environment %s: %w", name, ErrOffline)
	}
	release, err := s.lock(ctx, digest.Hex(), func() { progress("another build installs environment " + name + "; waiting for it") })
	if err != nil {
		return Ready{}, fmt.Errorf("environment %s: %w", name, err)
	}
	defer release()
	switch err := sound(dir, digest); {
	case err == nil:
		return s.installed(name, dir), nil
	case !errors.Is(err, fs.ErrNotExist):
		progress("environment " + name + " is damaged (" + err.Error() + "); installing it anew")
	}
	if err := s.build(ctx, name, digest, dir, progress); err != nil {
		return Ready{}, fmt.Errorf("installing environment %s: %w", name, withRoom(err))
	}
	return s.installed(name, dir), nil
}

func pythonIn(dir string) string { return filepath.Join(dir, "bin", "python") }

// sound says what is wrong with an installed environment; fs.ErrNotExist when there is none.
func sound(dir string, want artifacts.Digest) error {
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	m, err := readMarker(dir)
	if err != nil {
		return err
	}
	if m.Digest != want {
		return errors.New(markerFile + " names another environment")
	}
	// The link leads to the machine's own Python, which may have gone.
	if !executable(pythonIn(dir)) {
		return errors.New("its Python is gone")
	}
	return listsSound(dir, m)
}

// looked is sound, with all its files looked at once in a build and not for each stage: there are tens of thousands, and a
// build that holds an environment keeps it from being removed.
func (s *Set) looked(dir string, digest artifacts.Digest) error {
	s.mu.Lock()
	known := s.sound[digest] && s.held[digest] != nil
	s.mu.Unlock()
	if known {
		if m, err := readMarker(dir); err == nil && m.Digest == digest && executable(pythonIn(dir)) {
			return nil
		}
	}
	err := sound(dir, digest)
	s.mu.Lock()
	s.sound[digest] = err == nil
	s.mu.Unlock()
	return err
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}

// listsSound looks at the packages' lists, and at the sizes of what they name. Hashing all of it is Verify's.
func listsSound(dir string, m *marker) error {
	if have, err := contents(dir); !m.Contents.IsZero() && (err != nil || have != m.Contents) {
		return errors.New("the lists of its packages' files are not those that were installed")
	}
	files, err := packageFiles(dir)
	if err != nil {
		return err
	}
	return present(dir, files)
}

func readMarker(dir string) (*marker, error) {
	text, err := os.ReadFile(filepath.Join(dir, markerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("it has no " + markerFile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading it: %w", err)
	}
	var m marker
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, errors.New("its " + markerFile + " is not readable")
	}
	return &m, nil
}

// build makes the environment in a folder of its own and renames it into place. A uv that outlives a killed tinfra
// still writes to its own folder, hence the random name; what it leaves is removed by the next one to come here.
func (s *Set) build(ctx context.Context, name string, digest artifacts.Digest, dir string, progress func(string)) error {
	begun := time.Now()
	d, err := s.declaration(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	python, err := s.python(ctx, d.Python)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	uv, err := s.uv(ctx, python, progress)
	if err != nil {
		return err
	}
	parent, prefix := filepath.Dir(dir), asideOf(digest)
	s.sweep()
	discard(parent, prefix)
	aside := filepath.Join(parent, prefix+rand.Text()[:10])
	if err := os.Mkdir(aside, 0o777); err != nil { // not 0700: whom the umask lets read the cache uses the environment too
		return err
	}
	defer os.RemoveAll(aside)
	artifacts.Reached(artifacts.StepEnvAside)
	progress("making environment " + name + " with Python " + python.Minor)
	if err := s.bring(ctx, d, uv, python, aside, progress); err != nil {
		return err
	}
	artifacts.Reached(artifacts.StepEnvFilled)
	lists, err := contents(aside)
	if err != nil {
		return err
	}
	m := marker{Name: name, Digest: digest, Python: python.Path, Bytes: size(aside), Installed: time.Now().UTC(), Contents: lists}
	if err := writeMarker(aside, m); err != nil {
		return err
	}
	artifacts.Reached(artifacts.StepEnvMarked)
	if err := s.clear(dir, parent, prefix); err != nil {
		return err
	}
	artifacts.Reached(artifacts.StepEnvCleared)
	if err := os.Rename(aside, dir); err != nil {
		return err
	}
	artifacts.Reached(artifacts.StepEnvRenamed)
	s.dropJars(d.Natives)
	discard(parent, prefix) // what a killed build's compilers wrote while they died
	progress(fmt.Sprintf("environment %s is installed (%.1f s)", name, time.Since(begun).Seconds()))
	return nil
}

// bring fills the folder: native parts first, so that a repository which is not there is noticed before gigabytes of packages are here.
func (s *Set) bring(ctx context.Context, d *declaration, uv string, python *interpreter, aside string, progress func(string)) error {
	if err := s.bringNatives(ctx, d, aside, progress); err != nil {
		return err
	}
	var how []string
	if s.from != nil {
		how = s.from.howToInstall()
	}
	return fillIntact(ctx, uv, python, aside, d.lock, progress, how...)
}

// fillIntact also compares what was installed with what the packages say they brought: uv links files of its own cache, and
// whatever damaged an environment has damaged that too. Then they are brought anew.
func fillIntact(ctx context.Context, uv string, python *interpreter, aside string, lock []string, progress func(string), how ...string) error {
	if err := fill(ctx, uv, python, aside, lock, progress, how...); err != nil {
		return err
	}
	wrong := intact(ctx, aside)
	if wrong == nil || ctx.Err() != nil {
		return wrong
	}
	progress("uv's cache is damaged (" + wrong.Error() + "); installing without it; `uv cache clean` mends it")
	if err := fill(ctx, uv, python, aside, lock, progress, append(how, "--no-cache", "--reinstall")...); err != nil {
		return err
	}
	return intact(ctx, aside)
}

// clear removes an environment. It loses its name first, so that whoever looks meanwhile finds all of it or nothing.
func (s *Set) clear(dir, parent, prefix string) error {
	aside, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return err
	}
	if err := os.Rename(dir, filepath.Join(aside, "old")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	artifacts.Reached(artifacts.StepEnvDropped)
	return os.RemoveAll(aside)
}

// fill makes the virtual environment. What is not a wheel is refused: building one would fetch tools that no lock names.
func fill(ctx context.Context, uv string, python *interpreter, aside string, lock []string, progress func(string), how ...string) error {
	name := filepath.Join(aside, lockFile)
	venv := quiet(ctx, uv, "venv", "--no-project", "--relocatable", "--allow-existing", "--python", python.Path, aside)
	if err := follow(ctx, venv, nil); err != nil {
		return err
	}
	if err := os.WriteFile(name, []byte(strings.Join(lock, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	progress(fmt.Sprintf("installing %d packages", len(lock)))
	sync := quiet(ctx, uv, append([]string{
		"pip", "sync", "--require-hashes", "--no-build", "--compile-bytecode", "--allow-empty-requirements", "--python", pythonIn(aside), name,
	}, how...)...)
	sync.Dir = aside // no project's settings are looked for in the caller's folder
	return follow(ctx, sync, func(line string) {
		if !strings.HasPrefix(line, "+ ") { // one line a package is no progress, only noise
			progress(line)
		}
	})
}

// runBound runs a command that dies with this process: of a killed build, uv would go on to fill a folder that the next
// build clears away. The kernel watches the thread that started it, which therefore has to stay.
func runBound(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return cmd.Run()
}

// follow runs a command and hands its lines on as they come.
func follow(ctx context.Context, cmd *exec.Cmd, progress func(string)) error {
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	said := make(chan string)
	go func() {
		var all []string
		lines := bufio.NewReader(read)
		for {
			line, err := lines.ReadString('\n')
			if line = strings.TrimSpace(line); line != "" {
				all = append(all, line)
				if progress != nil {
					progress(line)
				}
			}
			if err != nil {
				break
			}
		}
		said <- strings.Join(all, "\n")
	}()
	err := runBound(cmd)
	_ = write.Close() // a pipe's end: it only lets the reader finish
	if text := <-said; err != nil {
		return explain(ctx, text, err)
	}
	return nil
}

func writeMarker(dir string, m marker) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, markerFile), append(text, '\n'), 0o644)
}

// discard removes what a killed build left. Failing to is not worth failing for.
func discard(parent, prefix string) {
	left, _ := filepath.Glob(filepath.Join(parent, prefix+"*"))
	for _, dir := range left {
		_ = os.RemoveAll(dir)
	}
}

// size is what the files hold; uv links them to its own cache where it can, so the disk may hold less.
func size(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	return sum
}
