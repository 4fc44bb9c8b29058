package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// blocks is what a file takes on disk, in bytes.
func blocks(t *testing.T, elem ...string) (size, onDisk int64) {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(elem...), &st); err != nil {
		t.Fatal(err)
	}
	return st.Size, st.Blocks * 512
}

// A worker that prints without an end, in each of its streams: both ends stay, the disk is not filled.
func TestAFloodLeavesTheDiskAlone(t *testing.T) {
	const each, bound = 130 << 20, keptFirst + keptLast + 2*trimStep
	ws, x := t.TempDir(), New(Options{})
	var script strings.Builder
	for _, to := range []string{"stdout", "stderr", "events.jsonl"} {
		fmt.Fprintf(&script, "(echo first; yes | head -c %d; echo last) >> %s\n", each, to)
	}
	if e := wait(t, x, start(t, x, shell(ws, script.String()))); e.Code != 0 {
		t.Fatalf("exit %+v", e)
	}
	for _, name := range []string{"stdout", "stderr", "events.jsonl"} {
		size, onDisk := blocks(t, ws, name)
		if size < each || onDisk > bound {
			t.Errorf("%s has %d bytes and takes %d", name, size, onDisk)
		}
		text := content(t, ws, name)
		if !strings.HasPrefix(text, "first\ny\n") || !strings.HasSuffix(text, "y\nlast\n") || !strings.Contains(text[keptFirst:], "\x00\x00") ||
			strings.Contains(text[:keptFirst], "\x00") || strings.Contains(text[len(text)-keptLast:], "\x00") {
			t.Errorf("%s: its ends are not what they were", name)
		}
	}
}

// What has a second name may be an output, or a blob of the cache; what is no file is nobody's to cut.
func TestAStreamWithASecondNameStaysWhole(t *testing.T) {
	const size = keptFirst + keptLast + 2*trimStep
	text := strings.Repeat("x", size)
	for real, other := range map[string]func(name, real string) error{
		"stdout": func(_, real string) error { return os.Link(real, real+".too") },
		"log":    func(name, real string) error { return os.Symlink(real, name) },
	} {
		ws := t.TempDir()
		at := filepath.Join(ws, real)
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := other(filepath.Join(ws, "stdout"), at); err != nil {
			t.Fatal(err)
		}
		for _, s := range streamsOf(ws) {
			s.trim()
		}
		if content(t, at) != text {
			t.Errorf("%s was cut", real)
		}
	}
}

// storm starts this many processes that sleep, each noted by one byte in a file.
func storm(n int) string {
	return fmt.Sprintf("i=0; while [ $i -lt %d ]; do (exec sleep 1000) & i=$((i+1)); done; echo x > all; ", n)
}

// Thousands of processes end as surely as one, and in a time that grows with their number, not with its square.
func TestSoakAStormOfProcesses(t *testing.T) {
	n := 200
	if os.Getenv("TINFRA_SOAK") != "" {
		n = 3000
	}
	for name, end := range map[string]string{"left behind": `exit 0`, "cancelled": `while :; do sleep 1; done`, "forks on": `
fork() { while :; do (sleep 1000 &) ; done; }
fork & fork & sleep 0.2; exit 0`} {
		t.Run(name, func(t *testing.T) {
			ws, x := t.TempDir(), New(Options{})
			h := start(t, x, shell(ws, storm(n)+end))
			t.Cleanup(func() { _ = x.Cancel(context.Background(), h, nil); _ = x.Cancel(context.Background(), h, nil) })
			within(t, 5*time.Minute, "a storm", func() bool { return exists(ws, "all") })
			if name == "cancelled" {
				if err := x.Cancel(t.Context(), h, nil); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			e := wait(t, x, h)
			if took := time.Since(began); took > 20*time.Second+time.Duration(n)*10*time.Millisecond {
				t.Errorf("%d processes took %v to end", n, took)
			} else {
				t.Logf("%d processes took %v to end: %+v", n, took, e)
			}
			if left := living(t, ws); len(left) > 0 {
				t.Errorf("%d processes are left", len(left))
			}
		})
	}
}

// living are the processes whose working directory is the workspace.
func living(t *testing.T, ws string) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, l := range links {
		if at, err := os.Readlink(l); err == nil && at == ws {
			all = append(all, l)
		}
	}
	return all
}
