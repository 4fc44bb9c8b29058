package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/pipeline/run"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// Supervise is the verb of a supervisor: it reads its order from standard input, runs one worker, and returns its own
// exit code when every process of the worker's tree is gone and exit.json says how. It is meant to be the whole process.
func Supervise(workspace string) int {
	// The worker is told to die with its parent thread, so the thread that starts it must stay.
	runtime.LockOSThread()
	terms := make(chan os.Signal, 2)
	signal.Notify(terms, unix.SIGTERM, atOnce)
	// Taken and dropped rather than ignored: the worker would inherit that.
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGHUP)
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		if !errors.Is(err, io.EOF) {
			fmt.Fprintln(os.Stderr, "reading the order:", err)
		}
		return 1
	}
	os.Stdin.Close()
	if o.Job.Grace <= 0 {
		o.Job.Grace = defaultGrace
	}
	s := &supervisor{order: o, exit: run.Exit{Isolation: isolate(o.Isolation)}, oom: readOOM(), streams: streamsOf(workspace)}
	exitFile := filepath.Join(workspace, run.ExitFile)
	if err := reserve(exitFile); err != nil {
		fmt.Fprintln(os.Stderr, "reserving room to say how the worker ended:", err)
	}
	if err := s.start(); err != nil {
		s.exit.Code, s.exit.Problem = 127, err.Error()
	} else {
		s.watch(terms)
	}
	if err := writeJSON(exitFile, s.exit); err != nil {
		fmt.Fprintln(os.Stderr, "writing how the worker ended:", err)
		return 1
	}
	return 0
}

// isolate finishes what spawn began, and takes the right to do so from the worker.
func isolate(isolation string) string {
	if isolation == isolated {
		if err := loopbackUp(); err != nil {
			isolation += ", no loopback"
		}
	}
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	return isolation
}

// supervisor owns one worker and everything that comes of it.
type supervisor struct {
	order   order
	pid     int // of the worker, and of its process group
	ended   bool
	killed  bool         // by us
	doomed  map[int]bool // processes that have had their SIGKILL
	rested  time.Time    // when to look for more of them
	exit    run.Exit
	oom     oomCount
	streams []*stream
}

func (s *supervisor) start() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming the reaper of the worker's tree: %w", err)
	}
	job := s.order.Job
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	files := []uintptr{null.Fd()}
	for _, name := range []string{protocol.StdoutFile, protocol.StderrFile} {
		f, err := os.OpenFile(filepath.Join(job.Workspace, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		files = append(files, f.Fd())
	}
	s.pid, err = syscall.ForkExec(job.Argv[0], job.Argv, &syscall.ProcAttr{
		Dir: job.Workspace, Env: job.Env, Files: files,
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return fmt.Errorf("starting %s: %w", job.Argv[0], err)
	}
	return nil
}

// death of one child of ours: the worker, or an orphan of its tree.
type death struct {
	pid    int
	status unix.WaitStatus
	usage  unix.Rusage
}

// watch returns when nothing of the tree is left: wait4 then finds no child, and orphans have nowhere else to go.
func (s *supervisor) watch(terms <-chan os.Signal) {
	deaths := make(chan death)
	go reap(deaths) // ends with the last child
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var grace <-chan time.Time
	for {
		select {
		case <-tick.C:
			s.trim()
			if s.ended || s.killed {
				s.killAgain()
			}
		case told := <-terms:
			s.exit.Asked = true
			if told == atOnce || grace != nil {
				s.kill()
				continue
			}
			grace = time.After(s.order.Job.Grace)
			_ = unix.Kill(-s.pid, unix.SIGTERM)
		case <-grace:
			s.kill()
		case d, more := <-deaths:
			if !more {
				s.trim()
				return
			}
			s.count(d)
			switch {
			case d.pid == s.pid:
				s.kill()
			case s.ended && !s.doomed[d.pid]:
				s.killAgain()
			}
		}
	}
}

// kill ends whatever is there now.
func (s *supervisor) kill() {
	if !s.ended {
		s.killed = true
	}
	began := time.Now()
	s.doomed = map[int]bool{}
	for _, pid := range descendants(os.Getpid()) {
		s.doomed[pid] = true
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	s.rested = time.Now().Add(4 * time.Since(began))
}

// killAgain ends what was forked meanwhile. A look at all processes takes a while where there are ten thousand, and one
// at each death would leave no time to bury them.
func (s *supervisor) killAgain() {
	if time.Now().After(s.rested) {
		s.kill()
	}
}

func (s *supervisor) trim() {
	for _, f := range s.streams {
		f.trim()
	}
}

func (s *supervisor) count(d death) {
	s.exit.MaxRSS = max(s.exit.MaxRSS, d.usage.Maxrss<<10) // the kernel gives KiB
	s.exit.CPUSeconds += seconds(d.usage.Utime) + seconds(d.usage.Stime)
	if d.pid != s.pid {
		return
	}
	s.ended = true
	s.exit.Code = d.status.ExitStatus()
	if d.status.Signaled() {
		s.exit.Code = 128 + int(d.status.Signal())
		s.exit.Signal = unix.SignalName(d.status.Signal())
	}
	// A shell in between says by its exit code how the process ended that it ran.
	shot := s.exit.Code == 128+int(unix.SIGKILL) && !s.killed
	s.exit.OOMKilled = s.exit.Code != 0 && s.oom.tells(readOOM(), shot)
}

func seconds(t unix.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

func reap(deaths chan<- death) {
	defer close(deaths)
	for {
		var d death
		pid, err := unix.Wait4(-1, &d.status, 0, &d.usage)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return
		default:
			d.pid = pid
			deaths <- d
		}
	}
}
