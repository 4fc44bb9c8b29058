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
	"time"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// rest is where a supervisor stands that has no job. It stands in the workspace of the one that it has: so another
// process can tell whether a job is still worked at.
const rest = "/"

// Supervise is the verb of a supervisor: it takes orders from standard input and returns its own exit code when there
// are no more. A job has ended, and is replied to, when every process of its worker's tree is gone and exit.json says
// how. It is meant to be the whole process. What it is called with is for people, who see it in a list of processes.
func Supervise(string) int {
	// The worker is told to die with its parent thread, so the thread that starts it must stay.
	runtime.LockOSThread()
	s := &supervisor{terms: make(chan os.Signal, 2), deaths: make(chan os.Signal, 1)}
	signal.Notify(s.terms, unix.SIGTERM, atOnce)
	signal.Notify(s.deaths, unix.SIGCHLD)
	// Taken and dropped rather than ignored: the worker would inherit that.
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGHUP)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		s.unfit = fmt.Errorf("becoming the reaper of a worker's tree: %w", err)
	}
	var err error
	if s.inbox, err = newInbox(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s.fresh = traffic()
	for {
		select {
		case <-s.terms:
			return 0
		case o, more := <-s.inbox.orders:
			if !more {
				return s.inbox.code()
			}
			if o.Job == nil {
				continue // a cancel that came too late
			}
			if last, err := s.serve(*o.Job, o.Isolation); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			} else if last {
				return 0
			}
		}
	}
}

// supervisor has one job after another.
type supervisor struct {
	unfit  error  // why no worker can be started
	fresh  string // its traffic before the first job
	terms  chan os.Signal
	deaths chan os.Signal // at least one since the last
	inbox  *inbox
}

// serve sees one job through. last: no other can follow.
func (s *supervisor) serve(job run.Job, isolation string) (last bool, err error) {
	if job.Grace <= 0 {
		job.Grace = defaultGrace
	}
	if err := enter(job.Workspace); err != nil {
		return false, err
	}
	exitFile := filepath.Join(job.Workspace, run.ExitFile)
	if err := reserve(exitFile); err != nil {
		fmt.Fprintln(os.Stderr, "reserving room to say how the worker ended:", err)
	}
	w := &worker{job: job, exit: run.Exit{Isolation: isolate(isolation)}, oom: readOOM(), streams: streamsOf(job.Workspace)}
	began := time.Now()
	err = s.unfit
	if err == nil {
		err = w.start()
	}
	if err != nil {
		w.exit.Code, w.exit.Problem = 127, err.Error()
	} else {
		w.watch(s)
		w.exit.Durable = time.Since(began) >= worthFlushing && flush(job.Workspace)
	}
	if err := writeJSON(exitFile, w.exit); err != nil {
		return false, fmt.Errorf("writing how the worker ended: %w", err)
	}
	if err := leave(); err != nil {
		return false, err
	}
	// A namespace is handed on only as it was: a port may be taken for a while after its last process is gone.
	last = isolation != notIsolated && traffic() != s.fresh
	if err := json.NewEncoder(s.inbox.channel).Encode(reply{w.exit, last}); err != nil {
		return true, nil // the builder is dead; exit.json is for the next
	}
	return last, nil
}

// enter stands in a workspace, and has what this process itself says written there.
func enter(workspace string) error {
	if err := os.Chdir(workspace); err != nil {
		return fmt.Errorf("taking a job: %w", err)
	}
	return speakTo(run.SupervisorFile, unix.O_CREAT|unix.O_APPEND)
}

// leave lets go of a workspace, which may be removed from now on. Its exit.json is there by then.
func leave() error {
	if err := os.Chdir(rest); err != nil {
		return fmt.Errorf("leaving a workspace: %w", err)
	}
	return speakTo(os.DevNull, 0)
}

func speakTo(name string, how int) error {
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CLOEXEC|how, 0o600)
	if err != nil {
		return fmt.Errorf("finding a place for a supervisor's words: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Dup3(fd, int(os.Stderr.Fd()), 0); err != nil {
		return fmt.Errorf("finding a place for a supervisor's words: %w", err)
	}
	return nil
}

// inbox is what comes on standard input, whose other end is the builder's.
type inbox struct {
	channel *os.File
	orders  chan order // closed when the builder has hung up or is dead
	err     error      // set before that, where it was no proper end
}

// newInbox begins to listen. No thread waits for what is read without blocking.
func newInbox() (*inbox, error) {
	const standardInput = 0
	if err := unix.SetNonblock(standardInput, true); err != nil {
		return nil, fmt.Errorf("listening for orders: %w", err)
	}
	i := &inbox{channel: os.NewFile(standardInput, "builder"), orders: make(chan order)}
	go i.fill() // ends with its channel, or with us
	return i, nil
}

func (i *inbox) fill() {
	defer close(i.orders)
	in := json.NewDecoder(i.channel)
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			if !errors.Is(err, io.EOF) {
				i.err = err
			}
			return
		}
		i.orders <- o
	}
}

func (i *inbox) code() int {
	if i.err != nil {
		fmt.Fprintln(os.Stderr, "reading an order:", i.err)
		return 1
	}
	return 0
}
