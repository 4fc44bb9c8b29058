package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/pipeline/run"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// worker is one, and everything that comes of it.
type worker struct {
	job     run.Job
	pid     int // its own, and that of its process group
	ended   bool
	killed  bool         // by us
	doomed  map[int]bool // processes that have had their SIGKILL
	rested  time.Time    // when to look for more of them
	exit    run.Exit
	oom     oomCount
	streams []*stream
}

func (w *worker) start() error {
	var files []uintptr
	for _, name := range []string{os.DevNull, filepath.Join(w.job.Workspace, protocol.StdoutFile), filepath.Join(w.job.Workspace, protocol.StderrFile)} {
		how := unix.O_RDONLY
		if len(files) > 0 {
			how = unix.O_CREAT | unix.O_WRONLY | unix.O_APPEND
		}
		fd, err := unix.Open(name, how|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return fmt.Errorf("opening %s for the worker: %w", name, err)
		}
		defer unix.Close(fd)
		files = append(files, uintptr(fd))
	}
	var err error
	w.pid, err = syscall.ForkExec(w.job.Argv[0], w.job.Argv, &syscall.ProcAttr{
		Dir: w.job.Workspace, Env: w.job.Env, Files: files,
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return fmt.Errorf("starting %s: %w", w.job.Argv[0], err)
	}
	return nil
}

// watch returns when nothing of the tree is left: there is no child then, and orphans have nowhere else to go.
func (w *worker) watch(s *supervisor) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	orders := s.inbox.orders
	var grace <-chan time.Time
	ask := func(atOnce bool) {
		w.exit.Asked = true
		if atOnce || grace != nil {
			w.kill()
			return
		}
		grace = time.After(w.job.Grace)
		_ = unix.Kill(-w.pid, unix.SIGTERM)
	}
	for {
		select {
		case <-tick.C:
			w.trim()
			if w.ended || w.killed {
				w.killAgain()
			}
		case told := <-s.terms:
			ask(told == atOnce)
		case o, more := <-orders:
			if !more {
				orders = nil // nobody is there to cancel any more, but by a signal
			} else if o.Cancel {
				ask(false)
			}
		case <-grace:
			w.kill()
		case <-s.deaths:
			if w.bury() {
				w.trim()
				return
			}
		}
	}
}

// bury takes all deaths that there are: of the worker, and of orphans of its tree. One signal may stand for many. last: none is
// left that could die. It does not block, since a thread that blocks in a system call keeps the runtime's monitor awake.
func (w *worker) bury() (last bool) {
	running, unknown := !w.ended, false
	for {
		var d death
		pid, err := unix.Wait4(-1, &d.status, unix.WNOHANG, &d.usage)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return true
		case pid > 0:
			d.pid = pid
			w.count(d)
			unknown = unknown || !w.doomed[pid]
		default:
			switch {
			case running && w.ended:
				w.kill()
			case w.ended && unknown:
				w.killAgain()
			}
			return false
		}
	}
}

// death of one child of ours.
type death struct {
	pid    int
	status unix.WaitStatus
	usage  unix.Rusage
}

// kill ends whatever is there now.
func (w *worker) kill() {
	if !w.ended {
		w.killed = true
	}
	began := time.Now()
	w.doomed = map[int]bool{}
	for _, pid := range descendants(os.Getpid()) {
		w.doomed[pid] = true
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	w.rested = time.Now().Add(4 * time.Since(began))
}

// killAgain ends what was forked meanwhile. A look at all processes takes a while where there are ten thousand, and one
// at each death would leave no time to bury them.
func (w *worker) killAgain() {
	if time.Now().After(w.rested) {
		w.kill()
	}
}

func (w *worker) trim() {
	for _, f := range w.streams {
		f.trim()
	}
}

func (w *worker) count(d death) {
	w.exit.MaxRSS = max(w.exit.MaxRSS, d.usage.Maxrss<<10) // the kernel gives KiB
	w.exit.CPUSeconds += seconds(d.usage.Utime) + seconds(d.usage.Stime)
	if d.pid != w.pid {
		return
	}
	w.ended = true
	w.exit.Code = d.status.ExitStatus()
	if d.status.Signaled() {
		w.exit.Code = 128 + int(d.status.Signal())
		w.exit.Signal = unix.SignalName(d.status.Signal())
	}
	// A shell in between says by its exit code how the process ended that it ran.
	shot := w.exit.Code == 128+int(unix.SIGKILL) && !w.killed
	w.exit.OOMKilled = w.exit.Code != 0 && w.oom.tells(readOOM(), shot)
}

func seconds(t unix.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
