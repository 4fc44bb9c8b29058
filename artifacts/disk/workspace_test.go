package disk_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

func startTime(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(t, err)
	return strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))[19]
}

func TestWorkspace(t *testing.T) {
	s := open(t, t.TempDir())
	for _, n := range []int{2, 10, 1} {
		w, err := s.Workspace(testKey, n)
		must(t, err)
		if w.Dir != s.Path(testKey, n) {
			t.Errorf("Dir %s, Path %s", w.Dir, s.Path(testKey, n))
		}
		write(t, filepath.Join(w.Dir, "in", "x"), "x", 0o444)
		must(t, os.Chmod(filepath.Join(w.Dir, "in"), 0o555), w.Release())
	}
	if got, err := s.Attempts(testKey); err != nil || !slices.Equal(got, []int{1, 2, 10}) {
		t.Errorf("Attempts = %v, %v", got, err)
	}
	for _, n := range []int{1, 2, 10} {
		w, err := s.Workspace(testKey, n)
		must(t, err)
		if _, err := os.Stat(filepath.Join(w.Dir, "in", "x")); err != nil {
			t.Errorf("what an earlier process left is gone: %v", err)
		}
		must(t, w.Close())
	}
	if left, err := os.ReadDir(filepath.Join(s.Dir(), "work")); err != nil || len(left) > 0 {
		t.Errorf("%d names were left, %v", len(left), err)
	}
	if got, err := s.Attempts(testKey); err != nil || len(got) > 0 {
		t.Errorf("Attempts = %v, %v", got, err)
	}
}

func TestSecondHolderWaitsForTheFirst(t *testing.T) {
	s := open(t, t.TempDir())
	first, err := s.Workspace(testKey, 1)
	must(t, err)
	got := make(chan *disk.Workspace)
	go func() {
		second, err := s.Workspace(testKey, 1)
		if err != nil {
			t.Error(err)
		}
		got <- second
	}()
	write(t, filepath.Join(first.Dir, "mark"), "", 0o644)
	must(t, first.Close())
	second := <-got
	if _, err := os.Stat(filepath.Join(second.Dir, "mark")); err == nil {
		t.Error("two held one workspace")
	}
	must(t, second.Close())
}

func TestSweepWork(t *testing.T) {
	s := open(t, t.TempDir())
	handle := func(pid int, started string) string {
		b, err := json.Marshal(map[string]any{"workspace": "w", "pid": pid, "start_time": started})
		must(t, err)
		return string(b)
	}
	dead := child(t, "none", s.Dir())
	dead.Stderr = nil
	_ = dead.Run() // an unknown role panics; only its pid matters
	stays := map[string]bool{}
	for i, c := range []struct {
		name  string
		files map[string]string
		stays bool
	}{
		{"abandoned", nil, false},
		{"worker lives", map[string]string{"handle.json": handle(os.Getpid(), startTime(t, os.Getpid()))}, true},
		{"worker is dead", map[string]string{"handle.json": handle(dead.ProcessState.Pid(), "12345")}, false},
		{"another process has its pid", map[string]string{"handle.json": handle(os.Getpid(), "1")}, false},
		{"on a cluster", map[string]string{"handle.json": `{"workspace":"w","job_id":"17"}`}, true},
		{"handle is rubbish", map[string]string{"handle.json": "{"}, false},
		{"result waits", map[string]string{"handle.json": handle(dead.ProcessState.Pid(), "12345"), "exit.json": "{}"}, true},
	} {
		key := artifacts.Key(artifacts.Sum([]byte(c.name)))
		w, err := s.Workspace(key, i+1)
		must(t, err)
		write(t, filepath.Join(w.Dir, "in", "deep", "x"), "x", 0o444)
		closed := filepath.Join(w.Dir, "in", "deep")
		must(t, os.Chmod(closed, 0o555))
		t.Cleanup(func() { _ = os.Chmod(closed, 0o755) }) // or the test's own folder could not be removed
		for name, text := range c.files {
			write(t, filepath.Join(w.Dir, name), text, 0o644)
		}
		stays[w.Dir] = c.stays
		must(t, w.Release())
	}
	held, err := s.Workspace(testKey, 1)
	must(t, err)
	stays[held.Dir] = true
	stale := s.Path(artifacts.Key(artifacts.Sum([]byte("result waits"))), 1)
	write(t, filepath.Join(stale, "exit.json"), "{}", 0o644)
	old := time.Now().Add(-48 * time.Hour)
	must(t, os.Chtimes(filepath.Join(stale, "exit.json"), old, old))
	stays[stale] = false

	other := open(t, s.Dir())
	must(t, other.SweepWork(t.Context()))
	for dir, want := range stays {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: stays %v, want %v", dir, err == nil, want)
		}
	}
	must(t, held.Close())
}

func TestSweepLeavesTheScratchOfLiveProcesses(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.Set(t.Context(), "refs/x", nil, artifacts.Absent); err != nil { // makes the scratch folder
		t.Fatal(err)
	}
	write(t, filepath.Join(s.Dir(), "tmp", "dead", "half"), "half a blob", 0o600)
	write(t, filepath.Join(s.Dir(), "tmp", "older.lock"), "", 0o600)
	write(t, filepath.Join(s.Dir(), "leases", testKey.Hex()), "dead", 0o600)
	must(t, open(t, s.Dir()).SweepWork(t.Context()))
	left, err := os.ReadDir(filepath.Join(s.Dir(), "tmp"))
	if err != nil || len(left) != 2 { // ours, and its lock
		t.Errorf("%d names in tmp, %v", len(left), err)
	}
	if left, err := os.ReadDir(filepath.Join(s.Dir(), "leases")); err != nil || len(left) > 0 {
		t.Errorf("%d leases, %v", len(left), err)
	}
	if _, err := s.Set(t.Context(), "refs/y", nil, artifacts.Absent); err != nil {
		t.Errorf("the sweep took a live process's folder: %v", err)
	}
}
