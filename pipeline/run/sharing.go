package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// Sharer brings results to where other machines find them, while the build goes on.
type Sharer interface {
	// Share queues a record, with all that it stands for. It waits for no network.
	Share(record artifacts.Digest)
	// Wait returns when all that was queued is there; an error says that not all is, and that no more of it is on its way.
	Wait(ctx context.Context) error
	// ShareBuild brings a Build, whose results are there.
	ShareBuild(ctx context.Context, build artifacts.Digest) error
	// Progress is how many bytes of what was queued are there, and of how many; both may grow while Wait waits.
	Progress() (done, total int64)
}

// ErrUnshared is among the causes of a build whose results are stored here, and not all where other machines find them.
var ErrUnshared = errors.New("not all results are in the shared cache")

// sharedEvery is how often it is said how far the sharing is, while the build waits for it and nothing else.
const sharedEvery = 500 * time.Millisecond

// share queues the record of a task that is done. Of equal tasks one is enough.
func (b *builder) share(t *task) {
	if b.o.Share == nil || t.digest.IsZero() || b.shared[t.digest] {
		return
	}
	if b.shared == nil {
		b.shared = map[artifacts.Digest]bool{}
	}
	b.shared[t.digest] = true
	b.o.Share.Share(t.digest)
}

// shareAll waits until other machines can find what this build has made. Nothing runs any more.
func (b *builder) shareAll(ctx context.Context) {
	if b.o.Share == nil {
		return
	}
	waited := make(chan error, 1)
	go func() { waited <- b.o.Share.Wait(ctx) }() // the loop below ends with it
	for {
		select {
		case <-b.o.Clock.After(sharedEvery):
			b.sayShared()
		case err := <-waited:
			b.sayShared()
			switch {
			case err == nil:
			case ctx.Err() != nil:
				b.unshared = fmt.Errorf("%w: %w", ErrUnshared, context.Cause(ctx))
			default:
				b.unshared = fmt.Errorf("%w: %w", ErrUnshared, err)
				b.troubles = append(b.troubles, b.unshared)
			}
			return
		}
	}
}

func (b *builder) sayShared() {
	done, total := b.o.Share.Progress()
	if total == 0 {
		return
	}
	b.o.Events.Publish(event.Event{
		Time: b.o.Clock.Now().UTC(), Type: event.Shared, Build: b.build.ID, Done: float64(done), Total: float64(total), Unit: "bytes", What: "uploading",
	})
}

// shareBuild comes after the results: a Build that is there says that they are. An interrupt that comes so late leaves nothing undone
// that another machine would look for.
func (b *builder) shareBuild(ctx context.Context, stored artifacts.Digest) error {
	if b.o.Share == nil || b.unshared != nil || ctx.Err() != nil {
		return nil
	}
	if err := b.o.Share.ShareBuild(ctx, stored); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: the build itself: %w", ErrUnshared, err)
	}
	return nil
}

// bringing has the layer say how far it is with inputs that it must bring here first: most are here before that could be read.
func (b *builder) bringing(ctx context.Context, t *task) context.Context {
	began, said := b.o.Clock.Now(), false
	return artifacts.Telling(ctx, func(p artifacts.Progress) {
		if b.o.Clock.Now().Sub(began) < storingSilent {
			return
		}
		if !said {
			said = true
			t.report.say(event.Event{Type: event.Queued, Message: "brings its inputs here from the shared cache"})
		}
		t.report.bus.Publish(t.report.worded(event.Event{
			Type: event.Progress, Done: float64(p.Done), Total: float64(p.Total), Unit: p.Unit, What: p.What + " inputs",
		}))
	})
}

// remoteTrouble tells trouble of the shared cache from that of a stage or of this machine.
func remoteTrouble(err error) bool {
	_, gone := errors.AsType[goneError](err)
	return gone || errors.Is(err, artifacts.ErrUnreachable) || errors.Is(err, artifacts.ErrRefused)
}
