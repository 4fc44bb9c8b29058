package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// maxNote bounds what is read of the workspace's own small files, in bytes: the worker could have put anything there.
const maxNote = 256 << 20

// errStillRunning ends a Wait that only asks.
var errStillRunning = errors.New("still running")

// reattach looks at the attempts that earlier builds left for a key. One whose worker still runs, or ended well and was
// not collected, is taken over; the others are removed. next is the number of a fresh attempt.
func (b *builder) reattach(ctx context.Context, t *task, key artifacts.Key, a *artifacts.Action) (next int, at *attempt, err error) {
	numbers, err := b.o.Workspaces.Attempts(key)
	if err != nil {
		return 0, nil, fmt.Errorf("looking for earlier attempts: %w", err)
	}
	slices.Sort(numbers)
	for _, n := range slices.Backward(numbers) {
		ws, err := b.o.Workspaces.Workspace(key, n)
		if err != nil {
			// Another build that lost its lease: it may go on there.
			t.report.warn(fmt.Sprintf("attempt %d of an earlier build is left alone: %v", n, err))
			continue
		}
		found := &attempt{number: n, ws: ws, found: true}
		if at == nil && b.usable(ctx, t, a, found) {
			at = found
			continue
		}
		if err := b.remove(ws); err != nil {
			return 0, nil, err
		}
	}
	if at != nil {
		t.report.attempt = at.number
		at.tails = newTails(t.report, at.ws.Dir)
		t.report.say(event.Event{Type: event.Started, Message: "an earlier build started it"})
	}
	return nextAttempt(append(numbers, b.keepers(t)...)), at, nil
}

// remove takes away what an earlier build left of an attempt, its worker first.
func (b *builder) remove(ws Workspace) error {
	if h, ok := readHandle(ws.Dir); ok {
		if err := b.end(h, errors.New("superseded")); err != nil && !errors.Is(err, ErrLost) {
			return errors.Join(err, ws.Close())
		}
	}
	if err := ws.Close(); err != nil {
		return fmt.Errorf("removing an earlier attempt: %w", err)
	}
	return nil
}

// tidy removes the attempts of a step that has its record: a build died between publishing and removing them. Of a
// download they may stand under the place that it had before the lock knew its source.
func (b *builder) tidy(t *task) {
	b.tidyKey(t, t.step.Key)
	if t.step.Source != "" {
		if place, err := b.placeOf(t.step); err == nil {
			b.tidyKey(t, place)
		}
	}
}

// tidyPromised does so at the end of a build in which hits may turn out to have no files: then what a dead build has left of one goes on.
func (b *builder) tidyPromised() {
	if b.o.Forget == nil {
		return
	}
	for _, t := range b.tasks {
		if t.state == artifacts.Hit && t.step.State == plan.Hit {
			b.tidy(t)
		}
	}
}

// tidyKey leaves alone what another build holds: that one was forced to make it again, and nobody waits for it here.
func (b *builder) tidyKey(t *task, key artifacts.Key) {
	numbers, err := b.o.Workspaces.Attempts(key)
	if err != nil || len(numbers) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	release, err := b.o.Leaser.Lease(ctx, key, b.me, func([]byte) { cancel() })
	if err != nil {
		return
	}
	defer leases{release}.release(t)
	b.removeAttempts(t, key)
}

// removeAttempts removes those of a key that nobody needs any more. The caller holds its lease.
func (b *builder) removeAttempts(t *task, key artifacts.Key) {
	numbers, err := b.o.Workspaces.Attempts(key)
	if err != nil {
		t.report.warn(err.Error())
	}
	for _, n := range numbers {
		ws, err := b.o.Workspaces.Workspace(key, n)
		if err != nil {
			continue
		}
		if err := b.remove(ws); err != nil {
			t.report.warn(err.Error())
		}
	}
}

// usable fills in an attempt that is worth waiting for or collecting.
func (b *builder) usable(ctx context.Context, t *task, a *artifacts.Action, at *attempt) bool {
	h, ok := readHandle(at.ws.Dir)
	if !ok {
		return false
	}
	at.handle = h
	if !sameRequest(at.ws.Dir, a) || !b.unseal(at.ws.Dir, t.step.Node.Stage) {
		return false
	}
	if info, err := os.Stat(filepath.Join(at.ws.Dir, HandleFile)); err == nil {
		at.started = info.ModTime().UTC()
	}
	trees, err := b.trees(ctx, t.step, a)
	if err != nil {
		return false
	}
	at.check, at.heavy = b.found(trees, at.ws.Dir), heavy(trees)
	at.resumed = wasResumed(at.ws.Dir)
	asked, cancel := context.WithCancelCause(ctx)
	cancel(errStillRunning)
	e, err := b.o.Executor.Wait(asked, h)
	if errors.Is(err, errStillRunning) {
		return ctx.Err() == nil
	}
	if err != nil || e.Code != protocol.ExitOK || e.Asked {
		return false
	}
	if info, err := os.Stat(filepath.Join(at.ws.Dir, ExitFile)); err == nil { // hours ago, perhaps
		at.ended = info.ModTime().UTC()
	}
	return b.collectable(at.ws.Dir, t)
}

// collectable: the result is there, and every output that must be.
func (b *builder) collectable(ws string, t *task) bool {
	k := t.step.Node.Stage.Kind
	result := &protocol.Result{}
	if !k.Native {
		var err error
		if result, err = protocol.ReadResult(ws); err != nil {
			return false
		}
	}
	taken := readAdopted(ws)
	for _, o := range k.Outputs {
		dir := filepath.Join(ws, protocol.OutDir, o.Name)
		full, err := hasFiles(dir)
		if !full && err == nil && reuses(result, o.Name) {
			_, err = os.Lstat(dir) // what is taken away half-way is not there at all
			full = err == nil
		}
		if _, ok := taken[o.Name]; !ok && (err != nil || !full) {
			return false // without a file it was taken away half-way, or is an optional one that we cannot tell from it
		}
	}
	return true
}

func readHandle(ws string) (Handle, bool) {
	var h Handle
	text, err := protocol.ReadFile(filepath.Join(ws, HandleFile), maxNote)
	if err != nil || json.Unmarshal(text, &h) != nil {
		return Handle{}, false
	}
	h.Workspace = ws // the cache may have been moved
	return h, true
}

// sameRequest guards against a workspace that another Action left: for what is not locked yet, the key is only a name.
func sameRequest(ws string, a *artifacts.Action) bool {
	text, err := protocol.ReadFile(filepath.Join(ws, protocol.RequestFile), maxNote)
	if err != nil {
		return false
	}
	r, err := protocol.DecodeRequest(text)
	return err == nil && r.Kind == a.Kind && len(r.Inputs) == len(a.Inputs)
}

// heldGPUs are the devices that a live worker of an earlier build uses.
func (b *builder) heldGPUs(key artifacts.Key) []string {
	numbers, err := b.o.Workspaces.Attempts(key)
	if err != nil || len(numbers) == 0 {
		return nil
	}
	ws := b.o.Workspaces.Path(key, slices.Max(numbers))
	h, ok := readHandle(ws)
	if !ok {
		return nil
	}
	asked, cancel := context.WithCancelCause(context.Background())
	cancel(errStillRunning)
	if _, err := b.o.Executor.Wait(asked, h); !errors.Is(err, errStillRunning) {
		return nil
	}
	text, err := protocol.ReadFile(filepath.Join(ws, protocol.RequestFile), maxNote)
	if err != nil {
		return nil
	}
	r, err := protocol.DecodeRequest(text)
	if err != nil {
		return nil
	}
	return r.Resources.GPUs
}

// elsewhere follows the progress of another build's attempt at a key.
type elsewhere struct {
	dir  string
	tail *protocol.Tail
}

// look gives the latest progress since the last look, if there is any.
func (e *elsewhere) look(w Workspaces, key artifacts.Key) *protocol.Event {
	numbers, err := w.Attempts(key)
	if err != nil || len(numbers) == 0 {
		return nil
	}
	if dir := w.Path(key, slices.Max(numbers)); dir != e.dir {
		e.dir, e.tail = dir, protocol.NewTail(filepath.Join(dir, protocol.EventsFile), 0)
	}
	var last *protocol.Event
	_ = e.tail.Poll(func(p protocol.Event, err error) {
		if err == nil && p.Type == protocol.Progress {
			last = &p
		}
	})
	return last
}
