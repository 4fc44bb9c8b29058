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

// death of one child of ours: the worker, or an orphan of its tree.
type death struct {
	pid    int
	status unix.WaitStatus
	usage  unix.Rusage
}

// watch returns when nothing of the tree is left: wait4 then finds no child, and orphans have nowhere else to go.
func (w *worker) watch(terms <-chan os.Signal, orders <-chan order) {
	deaths := make(chan death)
	go reap(deaths) // ends with the last child
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
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
		case told := <-terms:
			ask(told == atOnce)
		case o, more := <-orders:
			if !more {
				orders = nil // nobody is there to cancel any more, but by a signal
			} else if o.Cancel {
				ask(false)
			}
		case <-grace:
			w.kill()
		case d, more := <-deaths:
			if !more {
				w.trim()
				return
			}
			w.count(d)
			switch {
			case d.pid == w.pid:
				if !childless() {
					w.kill()
				}
			case w.ended && !w.doomed[d.pid]:
				w.killAgain()
			}
		}
	}
}

// childless spares most workers' ends a look at all processes of the machine.
func childless() bool {
	return errors.Is(unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil), unix.ECHILD)
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
