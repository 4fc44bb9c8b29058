package run

import (
	"context"
	"fmt"
	"os"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
)

// Hit is a stage whose record is known to stand for its key.
type Hit struct {
	Address, Kind string
	Key           artifacts.Key
	Record, Log   artifacts.Digest
}

// Result is what is said of one.
type Result struct {
	Outputs  map[string]string // digests as texts, by port
	Metrics  map[string]float64
	Observed map[string]string
}

// Repeat is Execute of a plan all of whose steps are known to be hits, without the plan. Of the options it needs Cache, Events,
// Clock and Build, with ID, Started, Recipe and Variables filled in. Nothing that it says may hold a secret: the
// caller has seen to it that the build knows none. told is nil where nobody listens to what is said of single stages.
func Repeat(ctx context.Context, hits []Hit, told func(i int) Result, o Options) (*artifacts.Build, error) {
	o = o.filled()
	build := o.Build
	if build.Host == "" {
		build.Host, _ = os.Hostname()
	}
	if told != nil {
		sayHits(hits, told, o)
	}
	build.Steps = make([]artifacts.Step, len(hits))
	for i := range hits {
		h := &hits[i]
		build.Steps[i] = artifacts.Step{
			Address: h.Address, Kind: h.Kind, Key: h.Key, Record: h.Record, State: artifacts.Hit, Reason: plan.InTheCache, Log: h.Log,
		}
	}
	build.Ended = o.Clock.Now().UTC()
	var e *Error
	if _, err := o.Cache.PutBuild(context.WithoutCancel(ctx), &build); err != nil {
		e = &Error{Exit: ExitCache, Causes: []error{fmt.Errorf("storing what became of the build: %w", err)}}
		build.Exit, build.Problem = e.Exit, oneLine(e)
	}
	o.Events.Publish(event.Event{
		Time: build.Ended, Type: event.Finished, Build: build.ID, Exit: build.Exit, Message: build.Problem,
		Seconds: build.Ended.Sub(build.Started).Seconds(),
	})
	if e != nil {
		return &build, e
	}
	return &build, nil
}

func sayHits(hits []Hit, told func(i int) Result, o Options) {
	say := func(h *Hit, e event.Event) {
		e.Time = o.Clock.Now().UTC()
		e.Build, e.Stage, e.Kind, e.Key, e.State, e.Reason = o.Build.ID, h.Address, h.Kind, keyText(h.Key), string(artifacts.Hit), plan.InTheCache
		o.Events.Publish(e)
	}
	for i := range hits {
		say(&hits[i], event.Event{Type: event.Planned})
	}
	for i := range hits {
		r := told(i)
		say(&hits[i], event.Event{Type: event.Finished, Metrics: r.Metrics, Outputs: r.Outputs, Observed: r.Observed})
	}
}
