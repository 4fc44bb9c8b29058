package local

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// restFor is how long a supervisor stays that has no job: it takes memory, and starting another is a matter of milliseconds.
const restFor = 2 * time.Second

// order is what a supervisor is told on its standard input: the environment may hold secrets, so it is in no file.
type order struct {
	Job       *run.Job `json:",omitempty"`
	Isolation string   `json:",omitempty"` // what it was started in
	Cancel    bool     `json:",omitempty"` // the job that it has, if it still has one
}

// reply is what it says there of each job, after it has written the same in the job's workspace.
type reply struct {
	Exit run.Exit
	Last bool // it takes no other
}

// slot is a supervisor that this process started, and its channel. It has one job after another.
type slot struct {
	network   bool // its jobs may reach the network
	isolation string
	pid       int
	born      string // its start time
	channel   *os.File
	gone      chan struct{} // closed when it is reaped
	rest      *time.Timer   // guarded by the Executor's mu

	mu  sync.Mutex // guards job, and orders what is written to the channel
	job *job
}

// job is one that a slot was given.
type job struct {
	slot  *slot
	ended chan struct{}
	exit  *run.Exit // set when it has ended, unless its supervisor was lost or could not say
}

// slot is a supervisor that rests, or a new one. It is the caller's until it has given it a job.
func (x *Executor) slot(ctx context.Context, j run.Job) (s *slot, used bool, err error) {
	x.mu.Lock()
	for i := len(x.idle) - 1; i >= 0; i-- {
		if s := x.idle[i]; s.network == j.Network {
			x.idle = append(x.idle[:i], x.idle[i+1:]...)
			s.rest.Stop()
			x.mu.Unlock()
			return s, true, nil
		}
	}
	x.mu.Unlock()
	s, err = x.spawn(ctx, j)
	return s, false, err
}

// spawn starts a supervisor, with as much isolation as the kernel allows it.
func (x *Executor) spawn(ctx context.Context, j run.Job) (*slot, error) {
	self := x.options.Executable
	if self == "" {
		self = "/proc/self/exe"
	}
	log, err := os.OpenFile(filepath.Join(j.Workspace, run.SupervisorFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	var failed error
	for _, way := range isolations(j.Network) {
		ours, theirs, err := channel()
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(context.WithoutCancel(ctx), self) // it outlives us
		cmd.Args = []string{"tinfra", Verb, j.Workspace}
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}
		cmd.Dir, cmd.Stdin, cmd.Stderr, cmd.SysProcAttr = rest, theirs, log, way
		err = cmd.Start()
		theirs.Close()
		if err == nil {
			s := &slot{
				network: j.Network, isolation: notIsolated,
				pid: cmd.Process.Pid, born: startTime(cmd.Process.Pid), channel: ours, gone: make(chan struct{}),
			}
			if way.Cloneflags != 0 {
				s.isolation = isolated
			}
			go x.listen(s, cmd) // ends with the supervisor; Close and restFor see to that
			return s, nil
		}
		ours.Close()
		failed = err
	}
	return nil, failed
}

// channel is closed by the kernel when the process at its other end is gone, and so says that.
func channel() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a channel: %w", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, fmt.Errorf("making a channel: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "supervisor"), os.NewFile(uintptr(fds[1]), "builder"), nil
}

// listen takes the replies, and buries the supervisor.
func (x *Executor) listen(s *slot, cmd *exec.Cmd) {
	defer close(s.gone)
	replies := json.NewDecoder(s.channel)
	for {
		var r reply
		if replies.Decode(&r) != nil {
			break
		}
		j := s.take()
		if j == nil {
			break // it speaks unasked
		}
		j.exit = &r.Exit
		if r.Last {
			s.hangUp()
		} else {
			x.lay(s) // before the end is known, so that who starts the next job finds it
		}
		close(j.ended)
	}
	x.pick(s)
	s.hangUp()
	_ = cmd.Wait()
	if j := s.take(); j != nil {
		close(j.ended)
	}
}

// lay puts a supervisor to rest.
func (x *Executor) lay(s *slot) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.idle = append(x.idle, s)
	s.rest = time.AfterFunc(restFor, func() {
		if x.pick(s) {
			s.hangUp()
		}
	})
}

// pick takes that very one from those that rest, if it is among them.
func (x *Executor) pick(s *slot) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range x.idle {
		if x.idle[i] == s {
			x.idle = append(x.idle[:i], x.idle[i+1:]...)
			s.rest.Stop()
			return true
		}
	}
	return false
}

// give sends a job. With an error the supervisor is of no more use, and nothing runs.
func (s *slot) give(j *job, what *run.Job) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.job = j
	if err := json.NewEncoder(s.channel).Encode(order{Job: what, Isolation: s.isolation}); err != nil {
		return fmt.Errorf("giving it to its supervisor: %w", err)
	}
	return nil
}

// take is the job that has ended.
func (s *slot) take() *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.job
	s.job = nil
	return j
}

// cancel asks once more that the job end. Where it has ended, or its supervisor is gone, nobody is asked.
func (s *slot) cancel(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.job == j {
		_ = json.NewEncoder(s.channel).Encode(order{Cancel: true})
	}
}

// hangUp ends a supervisor that has no job; one that has a job ends with that.
func (s *slot) hangUp() { s.channel.Close() }
