package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// successive is a builder that dies when its first job has ended and its second runs.
func successive(first, second, script string) {
	x := New(Options{})
	var handles []run.Handle
	for _, j := range []run.Job{shell(first, "exit 5"), shell(second, script)} {
		h, err := x.Start(context.Background(), j)
		if err == nil && j.Workspace == first {
			_, err = x.Wait(context.Background(), h)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		handles = append(handles, h)
	}
	_ = json.NewEncoder(os.Stdout).Encode(handles)
	_ = unix.Kill(os.Getpid(), unix.SIGKILL)
}

// untilTold runs until the file go is there.
const untilTold = `echo $$ > self; while ! [ -e go ]; do sleep 0.01; done; exit 6`

func tell(t *testing.T, ws string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(ws, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestASupervisorHasOneJobAfterAnother(t *testing.T) {
	x := New(Options{})
	var pids []int
	for i, network := range []bool{false, false, true, false, true} {
		ws := t.TempDir()
		job := shell(ws, escape+`pwd; env; exit 3`)
		job.Network = network
		job.Env = append(job.Env, fmt.Sprintf("JOB=%d", i))
		h := start(t, x, job)
		e := wait(t, x, h)
		pid, born := pidIn(t, ws, "escaped")
		if alive(pid, born) {
			t.Error("something of a job is left when it has ended")
		}
		out := content(t, ws, "stdout")
		if e.Code != 3 || !strings.HasPrefix(out, ws+"\n") || strings.Count(out, "JOB=") != 1 {
			t.Errorf("exit %+v, stdout %q", e, out)
		}
		if content(t, ws, run.ExitFile) == "" || content(t, ws, run.SupervisorFile) != "" {
			t.Error("it is not written how it ended, or something else")
		}
		pids = append(pids, h.PID)
	}
	if pids[0] != pids[1] || pids[1] != pids[3] || pids[2] != pids[4] || pids[0] == pids[2] {
		t.Errorf("supervisors %v", pids)
	}
	x.Close()
	for _, pid := range pids {
		if unix.Kill(pid, 0) == nil {
			t.Error("a supervisor outlived its executor")
		}
	}
}

func TestAtOnceEachHasASupervisorOfItsOwn(t *testing.T) {
	x, a, b := New(Options{}), t.TempDir(), t.TempDir()
	first, second := start(t, x, shell(a, untilTold)), start(t, x, shell(b, untilTold))
	if first.PID == second.PID {
		t.Error("two jobs have one supervisor")
	}
	for _, ws := range []string{b, a} {
		pidIn(t, ws, "self")
		tell(t, ws)
		h := map[string]run.Handle{a: first, b: second}[ws]
		if e := wait(t, x, h); e.Code != 6 {
			t.Errorf("exit %+v", e)
		}
	}
}

// What another process does with the handle of a job that is over does not reach the one that its supervisor has now.
func TestAHandleIsNotTakenForTheNextJobOfItsSupervisor(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	x, other := New(Options{}), New(Options{})
	past := start(t, x, shell(a, "exit 5"))
	wait(t, x, past)
	now := start(t, x, shell(b, `trap 'exit 9' TERM; `+untilTold))
	if past.PID != now.PID {
		t.Fatal("it is another supervisor")
	}
	pidIn(t, b, "self")
	for _, x := range []*Executor{x, other} {
		for range 2 {
			if err := x.Cancel(t.Context(), past, nil); err != nil {
				t.Error(err)
			}
		}
		if _, known := x.CPUTime(past); known {
			t.Error("it still uses the processor")
		}
		if e, err := x.Wait(t.Context(), past); err != nil || e.Code != 5 {
			t.Errorf("exit %+v, %v", e, err)
		}
	}
	if _, known := other.CPUTime(now); !known {
		t.Error("the job is not seen from another process")
	}
	asked, cancel := context.WithCancelCause(t.Context())
	running := errors.New("still running")
	cancel(running)
	if _, err := other.Wait(asked, now); !errors.Is(err, running) {
		t.Errorf("a wait ended with %v", err)
	}
	tell(t, b)
	if e := wait(t, x, now); e.Code != 6 || e.Asked {
		t.Errorf("exit %+v", e)
	}
}

func TestAWorkersOwnWordOfItsEndIsNotTaken(t *testing.T) {
	ws, x, other := t.TempDir(), New(Options{}), New(Options{})
	h := start(t, x, shell(ws, `echo '{"code":0}' > exit.json; `+untilTold))
	pidIn(t, ws, "self")
	asked, cancel := context.WithCancelCause(t.Context())
	running := errors.New("still running")
	cancel(running)
	if _, err := other.Wait(asked, h); !errors.Is(err, running) {
		t.Errorf("a wait ended with %v", err)
	}
	tell(t, ws)
	if e := wait(t, x, h); e.Code != 6 {
		t.Errorf("exit %+v", e)
	}
	if e := wait(t, other, h); e.Code != 6 {
		t.Errorf("exit %+v", e)
	}
}

func TestTheSupervisorOfADeadBuilderEndsWithItsJob(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	out, err := exec.Command("/proc/self/exe", "successive", a, b, untilTold).Output()
	var handles []run.Handle
	if json.Unmarshal(out, &handles) != nil || len(handles) != 2 || handles[0].PID != handles[1].PID {
		t.Fatalf("%v: %s", err, out)
	}
	pidIn(t, b, "self")
	x := New(Options{})
	if e := wait(t, x, handles[0]); e.Code != 5 {
		t.Errorf("exit %+v", e)
	}
	ended := make(chan run.Exit)
	go func() { e, _ := x.Wait(context.Background(), handles[1]); ended <- e }()
	tell(t, b)
	if e := <-ended; e.Code != 6 {
		t.Errorf("exit %+v", e)
	}
	eventually(t, "the end of the supervisor", func() bool { return !alive(handles[1].PID, handles[1].StartTime) })
}

func TestARestingSupervisorMayBeKilled(t *testing.T) {
	x := New(Options{})
	for _, how := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		h := start(t, x, shell(t.TempDir(), "exit 0"))
		wait(t, x, h)
		if err := unix.Kill(h.PID, how); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the end of it", func() bool { return unix.Kill(h.PID, 0) != nil })
		eventually(t, "that it is noticed", func() bool { x.mu.Lock(); defer x.mu.Unlock(); return len(x.idle) == 0 })
		next := start(t, x, shell(t.TempDir(), "exit 8"))
		if e := wait(t, x, next); e.Code != 8 || next.PID == h.PID {
			t.Errorf("exit %+v", e)
		}
	}
}

// Nobody has noticed yet that it is gone.
func TestAJobIsGivenToAnotherWhereASupervisorHasDied(t *testing.T) {
	x, ws := New(Options{}), t.TempDir()
	ours, theirs, err := channel()
	if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	dead := &slot{pid: 1 << 30, channel: ours, gone: make(chan struct{})}
	close(dead.gone)
	x.lay(dead)
	h := start(t, x, shell(ws, "exit 8"))
	if e := wait(t, x, h); e.Code != 8 || h.PID == dead.pid {
		t.Errorf("exit %+v", e)
	}
	var stored run.Handle
	if err := json.Unmarshal([]byte(content(t, ws, run.HandleFile)), &stored); err != nil || stored != h {
		t.Errorf("stored is %+v, %v", stored, err)
	}
}

func TestASupervisorThatRestsEnds(t *testing.T) {
	x := New(Options{})
	h := start(t, x, shell(t.TempDir(), "exit 0"))
	wait(t, x, h)
	within(t, restFor+20*time.Second, "its end", func() bool { return unix.Kill(h.PID, 0) != nil })
}

// A port may be taken for a minute after its last process is gone.
func TestANamespaceThatWasUsedServesNoOther(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	x := New(Options{})
	defer x.Close()
	talk := "exec " + self + " talk-to-myself"
	last := 0
	for _, script := range []string{talk, talk, "ip link set lo down || :", talk} {
		h := start(t, x, shell(t.TempDir(), script))
		e := wait(t, x, h)
		if e.Isolation == notIsolated {
			t.Skip("no namespace here")
		}
		if e.Code != 0 || !strings.HasPrefix(e.Isolation, isolated) || h.PID == last {
			t.Errorf("%s: exit %+v, supervisor %d, and before it %d", script, e, h.PID, last)
		}
		if script == talk {
			last = h.PID
		}
	}
}
