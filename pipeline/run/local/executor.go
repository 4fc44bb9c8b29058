// Package local runs workers as processes of this machine, under supervisors that outlive a killed build. It knows
// processes, namespaces and what this machine is. It must not know plans, keys or caches.
package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/pipeline/run"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// Verb is the hidden verb of this binary under which the executor starts its supervisors: `tinfra supervise WORKSPACE`, that of the
// first job.
const Verb = "supervise"

// atOnce tells a supervisor to be patient no longer. Two SIGTERMs would not do: the kernel may deliver them as one.
const atOnce = unix.SIGQUIT

// maxWords bounds what is read of a supervisor's own words, in bytes.
const maxWords = 1 << 20

// defaultGrace is DESIGN's: what a worker has between SIGTERM and SIGKILL.
const defaultGrace = 20 * time.Second

// Options of an Executor. The zero value is right for most machines.
type Options struct {
	Facts      map[string]string // of tinfra.hcl: stand in place of what is probed
	Executable string            // the binary that has Verb; this process's own when empty
}

// Executor starts workers on this machine.
type Executor struct {
	options  Options
	patience time.Duration // with each program that is asked for facts

	mu        sync.Mutex // guards what follows; a slot's own may be taken after it
	idle      []*slot    // the one used last stands last
	jobs      map[run.Handle]*job
	cancelled map[run.Handle]bool // those of other processes' jobs
}

// New starts nothing.
func New(o Options) *Executor {
	return &Executor{options: o, patience: probeTimeout, jobs: map[run.Handle]*job{}, cancelled: map[run.Handle]bool{}}
}

// Close ends the supervisors that have no job, and returns when they are gone. Those at work end with their jobs.
func (x *Executor) Close() {
	x.mu.Lock()
	idle := x.idle
	x.idle = nil
	x.mu.Unlock()
	for _, s := range idle {
		s.hangUp()
	}
	for _, s := range idle {
		<-s.gone
	}
}

// Start lays down the handle before the worker can run: a build that dies in between leaves no worker unseen.
func (x *Executor) Start(ctx context.Context, j run.Job) (run.Handle, error) {
	if err := context.Cause(ctx); err != nil {
		return run.Handle{}, err
	}
	if err := unix.Unlink(filepath.Join(j.Workspace, run.ExitFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return run.Handle{}, fmt.Errorf("starting a worker: removing how an earlier one ended: %w", err)
	}
	for {
		s, used, err := x.slot(ctx, j)
		if err != nil {
			return run.Handle{}, fmt.Errorf("starting a worker's supervisor: %w", err)
		}
		h := run.Handle{Workspace: j.Workspace, PID: s.pid, StartTime: s.born, Boot: bootID()}
		if err := storeHandle(h); err != nil {
			s.hangUp()
			return run.Handle{}, fmt.Errorf("starting a worker: %w", err)
		}
		mine := &job{slot: s, ended: make(chan struct{})}
		x.mu.Lock()
		x.jobs[h] = mine
		x.mu.Unlock()
		if err = s.give(mine, &j); err == nil {
			return h, nil
		}
		s.hangUp()
		<-s.gone
		x.forget(h)
		if !used { // one that was at rest may have been killed meanwhile
			return run.Handle{}, fmt.Errorf("starting a worker: %w", err)
		}
	}
}

// storeHandle needs no rename: whoever reads half of it knows as much as if it were not there, and until it is, nothing runs.
func storeHandle(h run.Handle) error {
	text, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("storing its handle: %w", err)
	}
	if err := write(filepath.Join(h.Workspace, run.HandleFile), unix.O_NOFOLLOW|unix.O_NONBLOCK, text); err != nil {
		return fmt.Errorf("storing its handle: %w", err)
	}
	return nil
}

// Wait implements run.Executor. The Exit is there only after every process of the worker's tree is gone.
func (x *Executor) Wait(ctx context.Context, h run.Handle) (run.Exit, error) {
	x.mu.Lock()
	j := x.jobs[h]
	x.mu.Unlock()
	if j == nil {
		if err := awaitForeign(ctx, h); err != nil {
			return run.Exit{}, err
		}
		return x.exitOf(ctx, h)
	}
	select {
	case <-j.ended:
	case <-ctx.Done():
		select {
		case <-j.ended:
		default:
			return run.Exit{}, context.Cause(ctx)
		}
	}
	if j.exit != nil {
		x.forget(h)
		return *j.exit, nil
	}
	return x.exitOf(ctx, h)
}

// exitOf reads what the supervisor of a job has written.
func (x *Executor) exitOf(ctx context.Context, h run.Handle) (run.Exit, error) {
	x.forget(h)
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
	if err := believable(h, e); err != nil {
		return run.Exit{}, err
	}
	return e, nil
}

func (x *Executor) forget(h run.Handle) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.jobs, h)
	delete(x.cancelled, h)
}

// Cancel implements run.Executor; the supervisor does the rest and needs nobody for it. One of ours is told by its
// channel, in which a word for one job cannot be taken for one to the next. Another process's has no job to follow: its
// builder is dead, or we would not have its workspace.
func (x *Executor) Cancel(_ context.Context, h run.Handle, _ error) error {
	x.mu.Lock()
	j := x.jobs[h]
	x.mu.Unlock()
	if j != nil {
		j.slot.cancel(j)
		return nil
	}
	if !working(h) {
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
