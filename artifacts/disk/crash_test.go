package disk_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

// The test binary is its own victim: with TINFRA_TEST_ROLE set it does one thing in TINFRA_TEST_CACHE and ends, or dies
// at the point of publishing that TINFRA_TEST_CRASH names.
const (
	roleVar  = "TINFRA_TEST_ROLE"
	cacheVar = "TINFRA_TEST_CACHE"
	crashVar = "TINFRA_TEST_CRASH"
	textVar  = "TINFRA_TEST_TEXT"
)

func TestMain(m *testing.M) {
	role := os.Getenv(roleVar)
	if role == "" {
		os.Exit(m.Run())
	}
	if step, nth, ok := strings.Cut(os.Getenv(crashVar), ":"); ok {
		dieAt(step, nth)
	}
	err := map[string]func(context.Context, *disk.Store) error{"build": buildOne, "group": buildGroup, "hold": holdLease, "fill": fillDisk}[role](
		context.Background(), mustOpen(os.Getenv(cacheVar)))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// dieAt kills the process when it reaches the step for the nth time.
func dieAt(step, nth string) {
	left, err := strconv.ParseInt(nth, 10, 64)
	if err != nil {
		panic(err)
	}
	var count atomic.Int64
	count.Store(left)
	artifacts.Crash = func(at string) {
		if at == step && count.Add(-1) == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
	}
}

func mustOpen(dir string) *disk.Store {
	s, err := disk.Open(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return s
}

func child(t testing.TB, role, dir string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^$")
	cmd.Env = append(os.Environ(), append([]string{roleVar + "=" + role, cacheVar + "=" + dir, "GORACE=atexit_sleep_ms=0"}, env...)...)
	cmd.Stderr = os.Stderr
	return cmd
}

// buildOne does what a build does for one stage whose worker has ended, from the output to the Build, and prints the
// winner of the key.
func buildOne(ctx context.Context, s *disk.Store) error {
	if err := s.SweepWork(ctx); err != nil {
		return err
	}
	c := artifacts.NewCache(s, s)
	log, err := c.PutBytes(ctx, artifacts.LogMediaType, []byte("the log\n"))
	if err != nil {
		return err
	}
	worker, err := c.PutManifest(ctx, &artifacts.Manifest{Type: "tinfra/worker"})
	if err != nil {
		return err
	}
	key, err := c.PutAction(ctx, &artifacts.Action{
		Format: artifacts.ActionFormat, Kind: "test", Params: json.RawMessage("{}"), Worker: worker, Outputs: map[string]string{"model": "files"},
	})
	if err != nil {
		return err
	}
	release, err := s.Lease(ctx, key, []byte("me"), nil)
	if err != nil {
		return err
	}
	m, err := adoptOne(ctx, s, key)
	if err != nil {
		return err
	}
	out, err := c.PutManifest(ctx, m)
	if err != nil {
		return err
	}
	at := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	won, d, err := c.Publish(ctx, &artifacts.Record{
		Key: key, Outputs: map[string]artifacts.Digest{"model": out}, Log: log.Digest, Builder: "test", Started: at, Ended: at,
	})
	if err != nil {
		return err
	}
	if err := release(); err != nil {
		return err
	}
	_, err = c.PutBuild(ctx, &artifacts.Build{
		ID: "20260506T070809Z-000000", Recipe: log.Digest, RecipePath: "x.hcl", Host: "h", Started: at, Ended: at,
		Steps: []artifacts.Step{{Address: "test.x", Kind: "test", Key: won.Key, Record: d, State: artifacts.Ran}},
	})
	fmt.Println(d)
	return errors.Join(err, s.Close())
}

func adoptOne(ctx context.Context, s *disk.Store, key artifacts.Key) (*artifacts.Manifest, error) {
	w, err := s.Workspace(key, 1)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(w.Dir, "out", "model")
	err = errors.Join(os.MkdirAll(filepath.Join(dir, "sub"), 0o755),
		os.WriteFile(filepath.Join(dir, "config"), []byte("config"), 0o644),
		os.WriteFile(filepath.Join(dir, "sub", "weights"), []byte("weights "+os.Getenv(textVar)), 0o644),
		os.WriteFile(filepath.Join(dir, "run"), []byte("#!"), 0o755))
	if err != nil {
		return nil, err
	}
	m, err := s.AdoptTree(ctx, dir, "files", map[string]string{"synthetic": "true"})
	if err != nil {
		return nil, err
	}
	return m, w.Close()
}

// snapshot is every name below dir with mode and content; times aside.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		all[rel] = fi.Mode().String()
		if fi.Mode().IsRegular() {
			b, err := os.ReadFile(p)
			all[rel] += " " + string(b)
			return err
		}
		return nil
	}))
	return all
}

func diff(t *testing.T, got, want map[string]string) {
	t.Helper()
	for p, w := range want {
		if g, ok := got[p]; !ok {
			t.Errorf("%s is missing", p)
		} else if g != w {
			t.Errorf("%s is %q, want %q", p, g, w)
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok {
			t.Errorf("%s was left over", p)
		}
	}
}

func problems(t testing.TB, s *disk.Store) []artifacts.Problem {
	t.Helper()
	var all []artifacts.Problem
	must(t, artifacts.NewCache(s, s).Verify(t.Context(), s, func(p artifacts.Problem) { all = append(all, p) }))
	return all
}

// Invariants 1 and 2: killed at any named point, a build leaves no name that dangles; run again, it leaves the very
// tree that an uninterrupted build leaves.
func TestKilledAtEachStep(t *testing.T) {
	whole := t.TempDir()
	must(t, child(t, "build", whole).Run())
	want := snapshot(t, whole)
	if len(want) < 20 {
		t.Fatalf("only %d names: %v", len(want), want)
	}
	for _, step := range artifacts.Steps {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			for nth := 1; killAndGoOn(t, step, nth, want); nth++ {
			}
		})
	}
}

// killAndGoOn is false once a build does not reach the step so many times; every step must be reached once.
func killAndGoOn(t *testing.T, step string, nth int, want map[string]string) bool {
	t.Helper()
	top := t.TempDir()
	dir, again := filepath.Join(top, "cache"), filepath.Join(top, "again")
	cmd := child(t, "build", dir, fmt.Sprintf("%s=%s:%d", crashVar, step, nth))
	err := cmd.Run()
	if err == nil && nth > 1 {
		diff(t, snapshot(t, dir), want)
		return false
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Errorf("it did not die at %s: %v", step, err)
		return false
	}
	if p := problems(t, open(t, dir)); len(p) > 0 {
		t.Errorf("killed at %s, time %d: %+v", step, nth, p)
	}
	must(t, os.Rename(dir, again)) // a Store of ours has been in dir; the next build is a new process
	must(t, child(t, "build", again).Run())
	diff(t, snapshot(t, again), want)
	return true
}

// Nothing lost: wherever a build dies with an output in its hands, the next one finds it whole. Where it cannot be made
// whole again, since a file that left it is damaged, it is not found at all: half an output must never pass for one.
func TestKilledWhileAdopting(t *testing.T) {
	for name, step := range map[string]string{
		"taken": artifacts.StepAdoptTaken, "hashed": artifacts.StepAdoptHashed, "named": artifacts.StepAdoptNamed,
		"kept": artifacts.StepAdoptKept, "damaged": artifacts.StepAdoptNamed,
	} {
		whole := name != "damaged"
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			_ = child(t, "build", dir, crashVar+"="+step+":1", textVar+"=x").Run() // it dies
			if !whole {
				damageEvery(t, dir)
			}
			s := open(t, dir)
			keys, err := os.ReadDir(filepath.Join(dir, "work"))
			if err != nil || len(keys) != 1 {
				t.Fatalf("%v, %v", keys, err)
			}
			key, err := artifacts.ParseHex(keys[0].Name())
			must(t, err)
			w, err := s.Workspace(artifacts.Key(key), 1)
			must(t, err)
			out := filepath.Join(w.Dir, "out", "model")
			if left, err := filepath.Glob(filepath.Join(w.Dir, "taken-*")); err != nil || len(left) > 0 {
				t.Errorf("left over: %v, %v", left, err)
			}
			if !whole {
				if _, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("half an output was put back: %v", err)
				}
			} else if m := adopt(t, s, out); listing(m) != "config run* sub/weights" || content(t, s, m, "sub/weights") != "weights x" {
				t.Errorf("taken up again: %s", listing(m))
			}
			must(t, w.Close())
		})
	}
}

// damageEvery changes the bytes of every blob, as a disk that decays does: their times stay.
func damageEvery(t *testing.T, dir string) {
	t.Helper()
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	if err != nil || len(blobs) == 0 {
		t.Fatal(blobs, err)
	}
	for _, b := range blobs {
		fi, err := os.Stat(b)
		must(t, err, os.Chmod(b, 0o644), os.WriteFile(b, []byte("rot"), 0o644), os.Chtimes(b, fi.ModTime(), fi.ModTime()))
	}
}

// Ten processes publish one key with different outputs: one wins, and all are told which.
func TestProcessesPublishOneKey(t *testing.T) {
	dir := t.TempDir()
	const n = 10
	outs := make([]*bufio.Reader, n)
	cmds := make([]*exec.Cmd, n)
	for i := range n {
		cmds[i] = child(t, "build", dir, textVar+"="+fmt.Sprint(i%2))
		pipe, err := cmds[i].StdoutPipe()
		must(t, err, cmds[i].Start())
		outs[i] = bufio.NewReader(pipe)
	}
	winners := make(map[string]int)
	for i := range n {
		line, err := outs[i].ReadString('\n')
		must(t, err, cmds[i].Wait())
		winners[strings.TrimSpace(line)]++
	}
	if len(winners) != 1 {
		t.Errorf("winners %v", winners)
	}
	s := open(t, dir)
	if p := problems(t, s); len(p) > 0 {
		t.Errorf("%+v", p)
	}
	runs := 0
	for _, err := range s.List(t.Context(), "runs/", "") {
		must(t, err)
		runs++
	}
	if runs != 2 {
		t.Errorf("%d runs, want the two different ones", runs)
	}
}
