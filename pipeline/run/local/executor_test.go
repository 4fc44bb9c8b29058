package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// The test binary stands in for tinfra (the verb of supervisors), for a builder that is killed, and for a worker.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == Verb {
		syscall.Exit(Supervise(os.Args[2])) // unlike os.Exit, it does not wait a second for the race detector's end
	}
	if len(os.Args) > 2 && os.Args[1] == "builder" {
		h, err := New(Options{}).Start(context.Background(), shell(os.Args[2], os.Args[3]))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		_ = json.NewEncoder(os.Stdout).Encode(h)
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	}
	if len(os.Args) > 4 && os.Args[1] == "successive" {
		successive(os.Args[2], os.Args[3], os.Args[4])
	}
	if len(os.Args) > 4 && os.Args[1] == "confined" {
		if err := confined(os.Args[2], os.Args[3], os.Args[4]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		syscall.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == "talk-to-myself" {
		os.Exit(talkToMyself())
	}
	os.Exit(m.Run())
}

func talkToMyself() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	c, err := net.DialTimeout("tcp", l.Addr().String(), time.Second)
	if err != nil {
		fmt.Println(err)
		return 2
	}
	c.Close()
	return 0
}

func shell(workspace, script string) run.Job {
	return run.Job{
		Workspace: workspace, Argv: []string{"/bin/sh", "-c", script},
		Env: []string{"PATH=" + os.Getenv("PATH"), "CANARY=s3cret-canary"}, Grace: 300 * time.Millisecond,
	}
}

func start(t *testing.T, x *Executor, job run.Job) run.Handle {
	t.Helper()
	h, err := x.Start(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func wait(t *testing.T, x *Executor, h run.Handle) run.Exit {
	t.Helper()
	e, err := x.Wait(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func content(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// eventually looks again and again: for what another process does, which no channel tells us.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	within(t, 20*time.Second, what, done)
}

func within(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(limit); !done(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("in vain: ", what)
		}
	}
}

func exists(elem ...string) bool {
	_, err := os.Stat(filepath.Join(elem...))
	return err == nil
}

// pidIn reads a pid that a worker's process wrote, together with its identity.
func pidIn(t *testing.T, elem ...string) (int, string) {
	t.Helper()
	var pid int
	eventually(t, "a pid in "+elem[len(elem)-1], func() bool {
		b, _ := os.ReadFile(filepath.Join(elem...))
		n, err := strconv.Atoi(strings.TrimSpace(string(b)))
		pid = n
		return err == nil && bytes.HasSuffix(b, []byte("\n"))
	})
	return pid, startTime(pid)
}

func TestAWorkerRunsInItsWorkspaceWithNothingInherited(t *testing.T) {
	t.Setenv("INHERITED", "yes")
	ws, x := t.TempDir(), New(Options{})
	e := wait(t, x, start(t, x, shell(ws, `pwd; env; echo complaint >&2; read x || echo no input; exit 13`)))
	if e.Code != 13 || e.Signal != "" || e.OOMKilled || e.MaxRSS < 1<<20 || e.CPUSeconds <= 0 {
		t.Errorf("exit %+v", e)
	}
	out := content(t, ws, "stdout")
	if !strings.HasPrefix(out, ws+"\n") || strings.Contains(out, "INHERITED") || !strings.Contains(out, "CANARY=") || !strings.HasSuffix(out, "no input\n") {
		t.Errorf("stdout %q", out)
	}
	if got := content(t, ws, "stderr"); got != "complaint\n" {
		t.Errorf("stderr %q", got)
	}
}

func TestTheEnvironmentIsInNoFile(t *testing.T) {
	ws, x := t.TempDir(), New(Options{})
	wait(t, x, start(t, x, shell(ws, "true")))
	names, _ := os.ReadDir(ws)
	for _, n := range names {
		if strings.Contains(content(t, ws, n.Name()), "s3cret-canary") {
			t.Errorf("%s holds it", n.Name())
		}
	}
	if len(names) < 4 {
		t.Errorf("only %d files were looked at", len(names))
	}
}

func TestAWorkerThatCannotStartSaysWhy(t *testing.T) {
	ws, x := t.TempDir(), New(Options{})
	job := shell(ws, "")
	job.Argv = []string{filepath.Join(ws, "no-such-program")}
	e := wait(t, x, start(t, x, job))
	if e.Code != 127 || !strings.Contains(e.Problem, "no-such-program: no such file") && !strings.Contains(e.Problem, "no such file or directory") {
		t.Errorf("exit %+v", e)
	}
}

func TestTheCPUTimeOfATreeCountsItsDead(t *testing.T) {
	ws, x := t.TempDir(), New(Options{})
	h := start(t, x, shell(ws, `sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; times > used; echo $$ > self; while ! [ -e go ]; do sleep 0.01; done`))
	pidIn(t, ws, "self")
	used, known := x.CPUTime(h)
	if !known || used < 20*time.Millisecond || used > time.Minute {
		t.Errorf("%v, %v; the shell says %s", used, known, content(t, ws, "used"))
	}
	if err := os.WriteFile(filepath.Join(ws, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wait(t, x, h)
	if used, known := x.CPUTime(h); known {
		t.Errorf("%v after the end", used)
	}
}

func TestASignalIsNamed(t *testing.T) {
	ws, x := t.TempDir(), New(Options{})
	e := wait(t, x, start(t, x, shell(ws, `kill -SEGV $$`)))
	if e.Code != 139 || e.Signal != "SIGSEGV" || e.OOMKilled {
		t.Errorf("exit %+v", e)
	}
}

// A double fork, a session of its own and a deaf ear for SIGTERM: none of it outlives the worker.
const escape = `(setsid sh -c 'trap "" TERM HUP; echo $$ > escaped; while :; do sleep 1000; done' >/dev/null 2>&1 &)
while ! [ -s escaped ]; do sleep 0.01; done
`

func TestNothingOutlivesTheWorker(t *testing.T) {
	ws, x := t.TempDir(), New(Options{})
	h := start(t, x, shell(ws, escape+`while ! [ -e go ]; do sleep 0.01; done; exit 3`))
	pid, born := pidIn(t, ws, "escaped")
	if !alive(pid, born) {
		t.Fatal("the process to be killed never was")
	}
	if err := os.WriteFile(filepath.Join(ws, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := wait(t, x, h); e.Code != 3 {
		t.Errorf("exit %+v", e)
	}
	if alive(pid, born) {
		t.Errorf("process %d outlived the worker", pid)
	}
}

func TestCancelIsASignalThenGraceThenTheEndOfAll(t *testing.T) {
	ws, x := t.TempDir(), New(Options{})
	h := start(t, x, shell(ws, `trap 'echo heard >> said' TERM
`+escape+`echo $$ > self; while :; do sleep 0.01; done`))
	escaped, born := pidIn(t, ws, "escaped")
	self, selfBorn := pidIn(t, ws, "self")
	if err := x.Cancel(t.Context(), h, errors.New("enough")); err != nil {
		t.Fatal(err)
	}
	e := wait(t, x, h)
	if e.Signal != "SIGKILL" || e.OOMKilled {
		t.Errorf("exit %+v", e)
	}
	if alive(escaped, born) || alive(self, selfBorn) {
		t.Error("something is left")
	}
	if content(t, ws, "said") != "heard\n" {
		t.Error("it was killed unasked")
	}
	if err := x.Cancel(t.Context(), h, errors.New("again")); err != nil {
		t.Error("cancel of an ended job:", err)
	}
}

func TestAPoliteWorkerEndsItself(t *testing.T) {
	ws, x := t.TempDir(), New(Options{})
	job := shell(ws, `trap 'exit 7' TERM; echo $$ > self; while :; do sleep 0.01; done`)
	job.Grace = time.Hour
	h := start(t, x, job)
	pidIn(t, ws, "self")
	if err := x.Cancel(t.Context(), h, nil); err != nil {
		t.Fatal(err)
	}
	if e := wait(t, x, h); e.Code != 7 || !e.Asked {
		t.Errorf("exit %+v", e)
	}
}

func TestASecondCancelKills(t *testing.T) {
	ws, x := t.TempDir(), New(Options{})
	job := shell(ws, `trap 'echo $$ > heard' TERM; echo $$ > self; while :; do sleep 0.01; done`)
	job.Grace = time.Hour
	h := start(t, x, job)
	pidIn(t, ws, "self")
	for _, file := range []string{"heard", ""} {
		if err := x.Cancel(t.Context(), h, nil); err != nil {
			t.Fatal(err)
		}
		if file != "" {
			pidIn(t, ws, file)
		}
	}
	if e := wait(t, x, h); e.Signal != "SIGKILL" {
		t.Errorf("exit %+v", e)
	}
}

func TestAWorkerOutlivesItsBuilderAndAnotherWaitsForIt(t *testing.T) {
	ws := t.TempDir()
	out, err := exec.Command("/proc/self/exe", "builder", ws, `echo $$ > self; while ! [ -e go ]; do sleep 0.01; done; exit 14`).Output()
	var died *exec.ExitError
	if !errors.As(err, &died) || died.ExitCode() != -1 {
		t.Fatalf("the builder was to be killed: %v %s", err, out)
	}
	var h, stored run.Handle
	for text, to := range map[string]*run.Handle{string(out): &h, content(t, ws, run.HandleFile): &stored} {
		if err := json.Unmarshal([]byte(text), to); err != nil {
			t.Fatal(err)
		}
	}
	if h != stored || h.PID == 0 || h.StartTime == "" {
		t.Fatalf("handle %+v, stored %+v", h, stored)
	}
	pidIn(t, ws, "self")

	x := New(Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("waited enough")
	cancel(stop)
	if _, err := x.Wait(ctx, h); !errors.Is(err, stop) {
		t.Errorf("a wait ended with %v", err)
	}
	if err := os.WriteFile(filepath.Join(ws, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := wait(t, x, h); e.Code != 14 {
		t.Errorf("exit %+v", e)
	}
	if e, err := x.Wait(ctx, h); err != nil || e.Code != 14 {
		t.Errorf("asked after the end: %+v, %v", e, err)
	}
	h.StartTime = "1" // the pid of somebody else: what is stored counts
	if e := wait(t, x, h); e.Code != 14 {
		t.Errorf("exit %+v", e)
	}
}

func TestALostSupervisorIsSaidAndTakesTheWorkerAlong(t *testing.T) {
	ws, x := t.TempDir(), New(Options{})
	h := start(t, x, shell(ws, `echo $$ > self; while :; do sleep 0.01; done`))
	pid, born := pidIn(t, ws, "self")
	if err := unix.Kill(h.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Wait(t.Context(), h); !errors.Is(err, run.ErrLost) {
		t.Errorf("a wait ended with %v", err)
	}
	eventually(t, "the end of the worker", func() bool { return !alive(pid, born) })
}

func TestAKillByOthersIsNotAnOOM(t *testing.T) {
	ws, x := t.TempDir(), New(Options{})
	e := wait(t, x, start(t, x, shell(ws, `kill -KILL $$`)))
	if e.Signal != "SIGKILL" || e.OOMKilled != (readOOM() == oomCount{}) {
		t.Errorf("exit %+v", e)
	}
}

func TestAStaleExitIsNotTakenForThisOne(t *testing.T) {
	ws, x := t.TempDir(), New(Options{})
	if err := writeJSON(filepath.Join(ws, run.ExitFile), run.Exit{Code: 42}); err != nil {
		t.Fatal(err)
	}
	if e := wait(t, x, start(t, x, shell(ws, "exit 0"))); e.Code != 0 {
		t.Errorf("exit %+v", e)
	}
}

func TestTheNetworkIsOutOfReachButNotTheLoopback(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []bool{false, true} {
		ws, x := t.TempDir(), New(Options{})
		job := shell(ws, `readlink /proc/self/ns/net; exec `+self+` talk-to-myself`)
		job.Network = network
		e := wait(t, x, start(t, x, job))
		same := strings.HasPrefix(content(t, ws, "stdout"), host+"\n")
		if e.Code != 0 || same != (e.Isolation == notIsolated) || network && !same {
			t.Errorf("network %v: exit %+v, stdout %q, host %s", network, e, content(t, ws, "stdout"), host)
		}
		if !network && len(isolations(false)) > 1 {
			t.Log("isolation here: ", e.Isolation)
		}
	}
}

func TestEveryWayOfIsolationThatThisKernelAllowsWorks(t *testing.T) {
	for i, way := range isolations(false) {
		cmd := exec.Command("/proc/self/exe", "talk-to-myself") // needs a loopback: only the plain way has one
		cmd.SysProcAttr = way
		out, err := cmd.CombinedOutput()
		t.Logf("way %d (clone flags %#x): %v %s", i, way.Cloneflags, err, out)
		if way.Cloneflags == 0 && err != nil {
			t.Errorf("the plain way failed: %v %s", err, out)
		}
	}
}

func TestASupervisorWithoutAnOrderStartsNothing(t *testing.T) {
	ws := t.TempDir()
	cmd := exec.Command("/proc/self/exe", Verb, ws)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, `{"Job":{"Workspace":`); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if err := cmd.Wait(); err == nil || exists(ws, run.ExitFile) || exists(ws, "stdout") {
		t.Errorf("it went on: %v", err)
	}
}

func TestAWorkerIgnoresNoSignalThatWeDoNot(t *testing.T) {
	ws, x := t.TempDir(), New(Options{})
	wait(t, x, start(t, x, shell(ws, `grep SigIgn /proc/self/status`)))
	ignored := func(status string) uint64 {
		_, rest, _ := strings.Cut(status, "SigIgn:\t")
		mask, err := strconv.ParseUint(strings.SplitN(rest, "\n", 2)[0], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		return mask
	}
	if his, ours := ignored(content(t, ws, "stdout")), ignored(content(t, "/proc/self/status")); his&^ours != 0 {
		t.Errorf("he ignores %#x, we %#x", his, ours)
	}
}
