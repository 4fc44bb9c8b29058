package run

import (
	"context"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// storingSilent is for how long nothing is said of an output that is hashed and stored: most are by then.
const storingSilent = time.Second

// storing has the store say how far it is with a large output. The worker has ended, so this is no part of its log.
func (b *builder) storing(ctx context.Context, t *task, output string) context.Context {
	began := b.o.Clock.Now()
	return artifacts.Telling(ctx, func(p artifacts.Progress) {
		if b.o.Clock.Now().Sub(began) < storingSilent {
			return
		}
		t.report.bus.Publish(t.report.worded(event.Event{
			Type: event.Progress, Done: float64(p.Done), Total: float64(p.Total), Unit: p.Unit, What: p.What + " " + output,
		}))
	})
}
