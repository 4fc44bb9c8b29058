package local

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// pollEvery is how often a wait looks at its context, and at a process where the kernel has no pidfd.
const pollEvery = 200 * time.Millisecond

// stat is what /proc/<pid>/stat says and we need.
type stat struct {
	parent int
	state  byte
	start  string        // clock ticks since boot: with the pid, an identity
	cpu    time.Duration // used by it and by its children that were waited for
}

// readStat reads /proc/<pid>/stat. The name in parentheses may hold anything, so fields are counted from its end.
func readStat(pid int) (stat, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, false
	}
	end := bytes.LastIndexByte(b, ')')
	if end < 0 {
		return stat{}, false
	}
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 20 {
		return stat{}, false
	}
	parent, err := strconv.Atoi(f[1])
	var ticks int64
	for _, field := range f[11:15] {
		n, bad := strconv.ParseInt(field, 10, 64)
		err = errors.Join(err, bad)
		ticks += n
	}
	return stat{parent: parent, state: f[0][0], start: f[19], cpu: time.Duration(ticks) * clockTick}, err == nil
}

// clockTick is the unit of times in /proc, whatever the kernel's own is.
const clockTick = time.Second / 100

func startTime(pid int) string {
	s, _ := readStat(pid)
	return s.start
}

// alive tells whether that very process still runs; one that only waits to be reaped does not.
func alive(pid int, start string) bool {
	if pid <= 0 {
		return false
	}
	s, ok := readStat(pid)
	return ok && s.start == start && s.state != 'Z' && s.state != 'X'
}

// working tells whether the supervisor of a job still has it: it stands in the job's workspace then. It may have gone on to
// other jobs since, or not have begun; how a job ended is written before it is left. Where one cannot tell, it has it.
func working(h run.Handle) bool {
	if !alive(h.PID, h.StartTime) {
		return false
	}
	ws, err := os.Stat(h.Workspace)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	stands, err := os.Stat("/proc/" + strconv.Itoa(h.PID) + "/cwd")
	if err != nil || os.SameFile(ws, stands) {
		return true
	}
	_, err = os.Lstat(filepath.Join(h.Workspace, run.ExitFile))
	return err != nil
}

// awaitForeign returns when the supervisor of another process's job has ended, or has left the job.
func awaitForeign(ctx context.Context, h run.Handle) error {
	if !working(h) {
		return nil
	}
	fd, err := unix.PidfdOpen(h.PID, 0)
	if err != nil {
		return awaitByLooking(ctx, h)
	}
	defer unix.Close(fd)
	for working(h) { // also against a pid that was reused before PidfdOpen
		if err := context.Cause(ctx); err != nil {
			return err
		}
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(pollEvery/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return awaitByLooking(ctx, h)
		}
	}
	return nil
}

func awaitByLooking(ctx context.Context, h run.Handle) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for working(h) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// CPUTime is what the tree of a worker has used so far, those of it that have ended included; and those before it of the
// same supervisor, so what counts is by how much it grows.
func (x *Executor) CPUTime(h run.Handle) (time.Duration, bool) {
	if !working(h) {
		return 0, false
	}
	var all time.Duration
	for _, pid := range append(descendants(h.PID), h.PID) {
		if s, ok := readStat(pid); ok {
			all += s.cpu
		}
	}
	return all, true
}

// endLeft ends what a worker left whose supervisor was killed: only the worker itself dies with that. Its tree belongs to init
// then, and is known by the environment that it was given.
func endLeft(ctx context.Context, workspace string) {
	tick := time.NewTicker(pollEvery / 10)
	defer tick.Stop()
	for range 50 { // who forks faster than that is left
		left := startedFor(workspace)
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func startedFor(workspace string) []int {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []int
	mine := []byte("\x00TINFRA_WORKSPACE=" + workspace + "\x00")
	for _, n := range names {
		pid, err := strconv.Atoi(n.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile("/proc/" + n.Name() + "/environ")
		if err == nil && bytes.Contains(append([]byte{0}, env...), mine) {
			all = append(all, pid)
		}
	}
	return all
}

// descendants are all processes below this one. Orphans among them come to a subreaper, so none escapes.
func descendants(root int) []int {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	children := map[int][]int{}
	for _, n := range names {
		pid, err := strconv.Atoi(n.Name())
		if err != nil {
			continue
		}
		if s, ok := readStat(pid); ok {
			children[s.parent] = append(children[s.parent], pid)
		}
	}
	var all []int
	for next := children[root]; len(next) > 0; {
		pid := next[0]
		all = append(all, pid)
		next = append(next[1:], children[pid]...)
	}
	return all
}
