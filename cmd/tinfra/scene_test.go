package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// scene is a folder with recipes, a cache of its own and the kinds of testdata, for what a story cannot tell: many
// processes, some of which are killed.
type scene struct {
	t       *testing.T
	dir     string
	program string // the tests' own, unless said otherwise
	count   int    // of processes started
}

func newScene(t *testing.T, files map[string]string) *scene {
	t.Helper()
	s := &scene{t: t, dir: t.TempDir(), program: "tinfra"}
	must(t, os.CopyFS(filepath.Join(s.dir, "kinds"), os.DirFS(filepath.Join("testdata", "kinds"))))
	must(t, os.Mkdir(filepath.Join(s.dir, "home"), 0o755))
	s.write("tinfra.hcl", "kinds = [\"./kinds\"]\n")
	for name, text := range files {
		s.write(name, text)
	}
	t.Cleanup(s.end)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *scene) write(name, text string) {
	s.t.Helper()
	must(s.t, os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644))
}

func (s *scene) cache() string { return filepath.Join(s.dir, "cache") }

// end kills what a failed test left running, so that its folder can be removed.
func (s *scene) end() {
	for _, pid := range s.processes() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	until(s.t, "its processes are gone", func() bool { return len(s.processes()) == 0 })
}

// process is a tinfra that runs in a scene.
type process struct {
	*exec.Cmd
	s        *scene
	out, err string // paths of what it writes
	ended    chan struct{}
}

// start begins `tinfra ARGS` with further variables.
func (s *scene) start(variables []string, args ...string) *process {
	s.t.Helper()
	s.count++
	at := filepath.Join(s.dir, "process"+strconv.Itoa(s.count))
	p := &process{Cmd: exec.Command(s.program, args...), s: s, out: at + ".out", err: at + ".err", ended: make(chan struct{})}
	p.Dir = s.dir
	p.Env = append(os.Environ(), "HOME="+filepath.Join(s.dir, "home"), "TINFRA_CACHE="+s.cache(), "XDG_CACHE_HOME=", "GORACE=atexit_sleep_ms=0")
	p.Env = append(p.Env, variables...)
	stdout, err := os.Create(p.out)
	must(s.t, err)
	defer stdout.Close()
	stderr, err := os.Create(p.err)
	must(s.t, err)
	defer stderr.Close()
	p.Stdout, p.Stderr = stdout, stderr
	must(s.t, p.Start())
	go func() { // ends with the process, which end kills
		defer close(p.ended)
		_ = p.Wait() // how it ended is in ProcessState
	}()
	return p
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// kill ends it as a power cut would, and waits until it is gone.
func (p *process) kill() {
	_ = p.Process.Kill()
	<-p.ended
}

func (p *process) killed() bool {
	<-p.ended
	status, ok := p.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signal() == syscall.SIGKILL
}

// well waits for the end, which must be a good one.
func (p *process) well() {
	p.s.t.Helper()
	<-p.ended
	if code := p.ProcessState.ExitCode(); code != 0 {
		p.s.t.Fatalf("%q ended with %d (%v)\n%s\n%s", p.Args, code, p.ProcessState, p.said(), read1(p.err))
	}
}

func (p *process) said() string { return read1(p.out) }

func read1(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// events are those that `build --json` has written so far.
func (p *process) events() []event.Event {
	p.s.t.Helper()
	lines := strings.SplitAfter(p.said(), "\n")
	var all []event.Event
	for _, line := range lines[:len(lines)-1] {
		var e event.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			p.s.t.Fatalf("%q is no event: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// stopped tells whether it stands still after SIGSTOP.
func (p *process) stopped() bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
	_, rest, _ := strings.Cut(string(b[bytes.LastIndexByte(b, ')')+1:]), " ")
	return err == nil && strings.HasPrefix(rest, "T")
}

// until looks again and again; what it waits for takes milliseconds, and a loaded machine makes seconds of them.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	patience := time.After(time.Minute)
	for !done() {
		select {
		case <-tick.C:
		case <-patience:
			t.Fatalf("waited a minute for: %s", what)
		}
	}
}

// processes are those of the scene, whoever started them: builds, supervisors, workers.
func (s *scene) processes() []int {
	var all []int
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		argv, _ := os.ReadFile(name)
		environ, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "environ"))
		if pid != os.Getpid() && len(argv) > 0 && (bytes.Contains(argv, []byte(s.dir)) || bytes.Contains(environ, []byte("="+s.dir))) {
			all = append(all, pid)
		}
	}
	return all
}

// workers are the processes of the scene's work: supervisors and what is below them.
func (s *scene) workers() []int {
	return slices.DeleteFunc(s.processes(), func(pid int) bool {
		argv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		work := []byte(filepath.Join(s.cache(), "work"))
		return !bytes.Contains(argv, work) && !bytes.Contains(environ, append([]byte("TINFRA_WORKSPACE="), work...))
	})
}

// runs is how often each kind was run, by the log that the test worker keeps.
func (s *scene) runs() map[string]int {
	times := map[string]int{}
	b, err := os.ReadFile(filepath.Join(s.dir, "runs.log"))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	for _, kind := range strings.Fields(string(b)) {
		times[kind]++
	}
	return times
}

// ranOnce fails unless each kind was run once, and no other.
func (s *scene) ranOnce(kinds ...string) {
	s.t.Helper()
	times := s.runs()
	for _, kind := range kinds {
		if times[kind] != 1 {
			s.t.Errorf("%s was run %d times", kind, times[kind])
		}
		delete(times, kind)
	}
	if len(times) > 0 {
		s.t.Errorf("these were run too: %v", times)
	}
}

// published are the kinds of the keys that have their record.
func (s *scene) published() []string {
	s.t.Helper()
	store, err := disk.Open(s.cache())
	must(s.t, err)
	defer store.Close()
	cache := artifacts.NewCache(store, store)
	var kinds []string
	for name, err := range store.List(s.t.Context(), "keys/", "") {
		must(s.t, err)
		key, err := artifacts.ParseHex(strings.TrimPrefix(name, "keys/"))
		must(s.t, err)
		action, err := cache.Action(s.t.Context(), artifacts.Key(key))
		must(s.t, err)
		kinds = append(kinds, action.Kind)
	}
	slices.Sort(kinds)
	return kinds
}

// sound is `cache verify`.
func (s *scene) sound() {
	s.t.Helper()
	store, err := disk.Open(s.cache())
	must(s.t, err)
	defer store.Close()
	must(s.t, artifacts.NewCache(store, store).Verify(s.t.Context(), store, func(p artifacts.Problem) {
		s.t.Errorf("cache verify: %+v", p)
	}))
}

// tree is what the cache and the recipe's folder hold in the end.
func (s *scene) tree() []string {
	s.t.Helper()
	tree, err := treeOf(s.cache())
	must(s.t, err)
	list, err := os.ReadDir(s.dir)
	must(s.t, err)
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), "process") {
			tree = append(tree, "beside the recipe: "+e.Name())
		}
	}
	return tree
}

// same fails for a cache that is not that of an undisturbed build, and for anything that a person had to clean up.
func (s *scene) same(whole []string) {
	s.t.Helper()
	s.sound()
	until(s.t, "no worker is left", func() bool { return len(s.workers()) == 0 })
	tree := s.tree()
	for _, line := range tree {
		if !slices.Contains(whole, line) {
			s.t.Errorf("an undisturbed build does not leave\n%s", line)
		}
	}
	for _, line := range whole {
		if !slices.Contains(tree, line) {
			s.t.Errorf("an undisturbed build leaves\n%s", line)
		}
	}
	if len(tree) != len(whole) {
		s.t.Errorf("%d lines, want %d:\n%s", len(tree), len(whole), strings.Join(tree, "\n"))
	}
}

// gate is the pipe at which trials in the mode gated wait.
func (s *scene) gate() (open func()) {
	s.t.Helper()
	path := filepath.Join(s.dir, "gate")
	must(s.t, syscall.Mkfifo(path, 0o644))
	f, err := os.OpenFile(path, os.O_RDWR, 0) // for both, so that nobody waits for the other end
	must(s.t, err)
	s.t.Cleanup(func() { _ = f.Close() })
	return func() {
		_, err := io.WriteString(f, strings.Repeat("go", 8))
		must(s.t, err)
	}
}
