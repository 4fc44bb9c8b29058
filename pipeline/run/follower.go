package run

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// follower tells what another build does with a key that this one waits for.
type follower struct {
	b      *builder
	t      *task
	mu     sync.Mutex // guards the task's reporter while both goroutines may speak
	ended  chan struct{}
	done   sync.WaitGroup
	recent elsewhere
	said   string // of who is waited for
}

func (b *builder) watchOther(ctx context.Context, t *task) *follower {
	f := &follower{b: b, t: t, ended: make(chan struct{})}
	f.done.Go(func() { // stop waits for it
		tick := time.NewTicker(tailEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f.progress()
			case <-f.ended:
				return
			case <-ctx.Done():
				return
			}
		}
	})
	return f
}

func (f *follower) progress() {
	p := f.recent.look(f.b.o.Workspaces, f.t.workKey())
	if p == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	e := event.Event{Type: event.Progress, Done: p.Done, Total: p.Total}
	if f.b.unseal(f.recent.dir, f.t.step.Node.Stage) { // else its worker knows secrets that we do not
		e.Unit, e.What = p.Unit, p.What
	}
	f.t.report.progress(e)
}

func (f *follower) held(who []byte) {
	message := "waits for another build that makes it"
	var h holder
	if json.Unmarshal(who, &h) == nil && h.Build != "" {
		message = fmt.Sprintf("waits for build %s (process %d on %s), which makes it", h.Build, h.PID, h.Host)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if message != f.said {
		f.said = message
		f.t.report.say(event.Event{Type: event.Queued, Message: message})
	}
	if p := h.Progress; p != nil { // of another machine, which has taken its secrets out of it
		f.t.report.progress(event.Event{Type: event.Progress, Done: p.Done, Total: p.Total, Unit: p.Unit, What: p.What})
	}
}

func (f *follower) stop() {
	close(f.ended)
	f.done.Wait()
	f.t.report.held = nil // its progress is not ours
}
