package run_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
	"github.com/Ruihan11/tiny-infra/stages/env"
)

// instant is a clock on which nobody waits; it notes for how long they would have.
type instant struct {
	mu    sync.Mutex
	waits []time.Duration
}

func (c *instant) Now() time.Time { return time.Now() }

func (c *instant) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits = append(c.waits, d)
	now := make(chan time.Time, 1)
	now <- time.Now()
	return now
}

// workspaces and layer give a disk store the types that run asks for, as cmd/tinfra does.
type workspaces struct{ *disk.Store }

func (w workspaces) Workspace(key artifacts.Key, attempt int) (run.Workspace, error) {
	return opened(w.Store.Workspace(key, attempt))
}

func (w workspaces) Fresh(key artifacts.Key, attempt int, layout []string) (run.Workspace, error) {
	return opened(w.Store.Fresh(key, attempt, layout))
}

func opened(ws *disk.Workspace, err error) (run.Workspace, error) {
	if err != nil {
		return run.Workspace{}, err
	}
	return run.Workspace{Dir: ws.Dir, Close: ws.Close, Release: ws.Release, Reuse: ws.Reuse}, nil
}

func (w workspaces) Path(key artifacts.Key, attempt int) string {
	return filepath.Join(w.Dir(), "work", key.Hex(), strconv.Itoa(attempt))
}

type layer struct{ *disk.Store }

func (l layer) Lay(ctx context.Context, m *artifacts.Manifest, dir string) (func() error, error) {
	laid, err := l.Store.Lay(ctx, m, dir)
	if err != nil {
		return nil, err
	}
	return laid.Check, nil
}

func (l layer) Found(m *artifacts.Manifest, dir string) func() error {
	return l.Store.Found(m, dir).Check
}

// machinePython is an environment with nothing but the machine's own Python in it.
type machinePython struct {
	ready env.Ready
	fail  error
}

func (*machinePython) Blob(context.Context, string) ([]byte, error) {
	return []byte(`{"python":"own"}`), nil
}

func (p *machinePython) Install(_ context.Context, name string, progress func(string)) (env.Ready, error) {
	if p.fail != nil {
		return env.Ready{}, p.fail
	}
	progress("installed " + name)
	ready := p.ready
	var err error
	ready.Python, err = exec.LookPath("python3")
	return ready, err
}

// watched tells the test that a worker is waited for.
type watched struct {
	run.Executor
	waiting func()
}

func (w watched) Wait(ctx context.Context, h run.Handle) (run.Exit, error) {
	if ctx.Err() == nil { // it is not only asked
		w.waiting()
	}
	return w.Executor.Wait(ctx, h)
}

// afterwards does something once an output is out of the worker's reach.
type afterwards struct {
	run.Adopter
	do func()
}

func (a afterwards) ReadTree(ctx context.Context, dir, typ string, labels map[string]string, most int64) (*artifacts.Manifest, []artifacts.Payload, error) {
	defer a.do()
	return a.Adopter.ReadTree(ctx, dir, typ, labels, most)
}

func (a afterwards) AdoptTree(ctx context.Context, dir, typ string, labels map[string]string) (*artifacts.Manifest, error) {
	defer a.do()
	return a.Adopter.AdoptTree(ctx, dir, typ, labels)
}
