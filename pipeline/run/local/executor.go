// Package local runs workers as processes of this machine, each under a supervisor that outlives a killed build. It
// knows processes, namespaces and what this machine is. It must not know plans, keys or caches.
package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/pipeline/run"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// Verb is the hidden verb of this binary under which the executor starts its supervisors: `tinfra supervise WORKSPACE`.
const Verb = "supervise"

// atOnce tells a supervisor to be patient no longer. Two SIGTERMs would not do: the kernel may deliver them as one.
const atOnce = unix.SIGQUIT

// maxWords bounds what is read of a supervisor's own words, in bytes.
const maxWords = 1 << 20

// What held of a worker's isolation, as Exit.Isolation says it.
const (
	isolated    = "network namespace"
	notIsolated = "none"
)

// Options of an Executor. The zero value is right for most machines.
type Options struct {
	Facts      map[string]string // of tinfra.hcl: stand in place of what is probed
	Executable string            // the binary that has Verb; this process's own when empty
}

// Executor starts workers on this machine.
type Executor struct {
	options Options

	mu        sync.Mutex // guards both
	children  map[int]*child
	cancelled map[run.Handle]bool
}

// child is a supervisor that this process started and therefore has to reap.
type child struct{ ended chan struct{} }

// New starts nothing.
func New(o Options) *Executor {
	return &Executor{options: o, children: map[int]*child{}, cancelled: map[run.Handle]bool{}}
}

// order is what a supervisor is told on its standard input: the environment may hold secrets, so it is in no file.
type order struct {
	Job       run.Job
	Isolation string
}

// Start lays down the handle before the worker can run: a build that dies in between leaves no worker unseen.
func (x *Executor) Start(ctx context.Context, job run.Job) (run.Handle, error) {
	if err := context.Cause(ctx); err != nil {
		return run.Handle{}, err
	}
	for _, stale := range []string{run.ExitFile, run.HandleFile} {
		if err := os.Remove(filepath.Join(job.Workspace, stale)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return run.Handle{}, fmt.Errorf("starting a worker: %w", err)
		}
	}
	cmd, isolation, in, err := x.spawn(ctx, job)
	if err != nil {
		return run.Handle{}, fmt.Errorf("starting a worker's supervisor: %w", err)
	}
	defer in.Close()
	h := run.Handle{Workspace: job.Workspace, PID: cmd.Process.Pid, StartTime: startTime(cmd.Process.Pid)}
	c := &child{ended: make(chan struct{})}
	x.mu.Lock()
	x.children[h.PID] = c
	x.mu.Unlock()
	go func() { // ends with the supervisor; Wait waits for it
		defer close(c.ended)
		_ = cmd.Wait()
	}()
	err = writeJSON(filepath.Join(job.Workspace, run.HandleFile), h)
	if err == nil {
		err = json.NewEncoder(in).Encode(order{job, isolation})
	}
	if err != nil {
		in.Close()
		<-c.ended // without an order it ends by itself
		return run.Handle{}, fmt.Errorf("starting a worker: %w", err)
	}
	return h, nil
}

// spawn starts the supervisor, with as much isolation as the kernel allows it.
func (x *Executor) spawn(ctx context.Context, job run.Job) (*exec.Cmd, string, *os.File, error) {
	self := x.options.Executable
	if self == "" {
		self = "/proc/self/exe"
	}
	log, err := os.OpenFile(filepath.Join(job.Workspace, run.SupervisorFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, "", nil, err
	}
	defer log.Close()
	var failed error
	for _, way := range isolations(job.Network) {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, "", nil, err
		}
		cmd := exec.CommandContext(context.WithoutCancel(ctx), self) // it outlives us
		cmd.Args = []string{"tinfra", Verb, job.Workspace}
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}
		cmd.Dir, cmd.Stdin, cmd.Stderr, cmd.SysProcAttr = job.Workspace, r, log, way
		err = cmd.Start()
		r.Close()
		if err == nil {
			if way.Cloneflags != 0 {
				return cmd, isolated, w, nil
			}
			return cmd, notIsolated, w, nil
		}
		w.Close()
		failed = err
	}
	return nil, "", nil, failed
}

// isolations are the ways to start a supervisor, the best first. The supervisor shares the namespace with its worker:
// it needs no network, and there it can bring the loopback interface up.
func isolations(network bool) []*syscall.SysProcAttr {
	plain := &syscall.SysProcAttr{Setsid: true}
	if network {
		return []*syscall.SysProcAttr{plain}
	}
	mine := func(id int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: id, HostID: id, Size: 1}}
	}
	owned := &syscall.SysProcAttr{
		Setsid: true, Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: mine(os.Geteuid()), GidMappings: mine(os.Getegid()),
		AmbientCaps: []uintptr{unix.CAP_NET_ADMIN},
	}
	if os.Geteuid() != 0 {
		return []*syscall.SysProcAttr{owned, plain}
	}
	return []*syscall.SysProcAttr{{Setsid: true, Cloneflags: unix.CLONE_NEWNET}, owned, plain}
}

// Wait implements run.Executor. The Exit is there only after every process of the worker's tree is gone.
func (x *Executor) Wait(ctx context.Context, h run.Handle) (run.Exit, error) {
	if err := x.gone(ctx, h); err != nil {
		return run.Exit{}, err
	}
	b, err := protocol.ReadFile(filepath.Join(h.Workspace, run.ExitFile), maxWords)
	if errors.Is(err, fs.ErrNotExist) {
		endLeft(context.WithoutCancel(ctx), h.Workspace)
		return run.Exit{}, fmt.Errorf("%w%s", run.ErrLost, lastWords(h.Workspace))
	}
	if err != nil {
		return run.Exit{}, fmt.Errorf("reading how a worker ended: %w", err)
	}
	var e run.Exit
	if err := json.Unmarshal(b, &e); err != nil {
		return run.Exit{}, fmt.Errorf("reading how a worker ended: %w", err)
	}
	return e, nil
}

// gone returns when the supervisor has ended, or with the context's cause.
func (x *Executor) gone(ctx context.Context, h run.Handle) error {
	x.mu.Lock()
	c := x.children[h.PID]
	x.mu.Unlock()
	if c == nil {
		return awaitForeign(ctx, h.PID, h.StartTime)
	}
	select {
	case <-c.ended:
	case <-ctx.Done():
		select {
		case <-c.ended:
		default:
			return context.Cause(ctx)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.children, h.PID)
	delete(x.cancelled, h)
	return nil
}

// Cancel implements run.Executor; the supervisor does the rest and needs nobody for it.
func (x *Executor) Cancel(_ context.Context, h run.Handle, _ error) error {
	if !alive(h.PID, h.StartTime) {
		return nil
	}
	x.mu.Lock()
	signal := unix.SIGTERM
	if x.cancelled[h] {
		signal = atOnce
	}
	x.cancelled[h] = true
	x.mu.Unlock()
	if err := unix.Kill(h.PID, signal); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("cancelling a worker: %w", err)
	}
	return nil
}

// lastWords is what a supervisor said when it broke.
func lastWords(workspace string) string {
	b, err := protocol.ReadFile(filepath.Join(workspace, run.SupervisorFile), maxWords)
	if err != nil || len(bytes.TrimSpace(b)) == 0 {
		return ""
	}
	return ": " + string(bytes.TrimSpace(b[max(0, len(b)-400):]))
}

// writeJSON writes a whole file or none. It stands where a worker can put a pipe or a link in its way, which must neither
// hold us nor lead elsewhere.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+partSuffix, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	// Written over and then cut, not emptied and then filled: what was reserved stays ours on a full disk.
	_, err = f.Write(b)
	if err == nil {
		err = f.Truncate(int64(len(b)))
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(path+partSuffix, path)
}

const partSuffix = ".part"

// reserve takes room for what writeJSON will write to path, so that a worker that fills the disk does not keep its
// supervisor from saying so.
func reserve(path string) error {
	const room = 4096 // bytes; an Exit takes a few hundred
	return os.WriteFile(path+partSuffix, make([]byte, room), 0o600)
}

// defaultGrace is DESIGN's: what a worker has between SIGTERM and SIGKILL.
const defaultGrace = 20 * time.Second
