package view

import (
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// A hit whose files are gone is planned again: it is over no more, and what is said of it is why it runs.
func TestAHitThatMustRunAfterAll(t *testing.T) {
	b := NewBoard(Outlook{"upper.loud": {After: []string{"make.hello"}}})
	var out strings.Builder
	p := NewPlain(&out, false, nil, false)
	apply := func(all ...event.Event) {
		for _, e := range all {
			e.Time = at(1)
			b.Apply(e)
			p.Event(e)
		}
	}
	counted := func() string {
		lines := frame(b, at(1), "", 79, 24, false)
		return strings.Join(lines, "\n")
	}
	apply(
		event.Event{Type: event.Planned, Stage: "make.hello", State: "hit", Reason: "in the cache"},
		event.Event{Type: event.Planned, Stage: "upper.loud", State: "run", Reason: "first build"},
		event.Event{Type: event.Finished, Stage: "make.hello", State: "hit", Reason: "in the cache"},
		event.Event{Type: event.Planned, Stage: "make.hello", State: "run", Reason: "its files are gone"},
	)
	if got := counted(); !strings.Contains(got, "upper.loud  waits for make.hello") || !strings.Contains(got, "0 of 2 stages") {
		t.Errorf("frame:\n%s", got)
	}
	apply(event.Event{Type: event.Started, Stage: "make.hello", Attempt: 1})
	if got := counted(); !strings.Contains(got, "1 running") {
		t.Errorf("frame:\n%s", got)
	}
	apply(event.Event{Type: event.Finished, Stage: "make.hello", State: "ran", Reason: "its files are gone"})
	if got := counted(); !strings.Contains(got, "1 of 2 stages") {
		t.Errorf("frame:\n%s", got)
	}
	if got := out.String(); !strings.Contains(got, "start     make.hello  its files are gone\n") || strings.Count(got, "2 stages: ") != 1 {
		t.Errorf("lines:\n%s", got)
	}
}
