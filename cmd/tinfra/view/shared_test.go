package view

import (
	"bytes"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

const mib = 1 << 20

func sharedAt(seconds, done, total float64) event.Event {
	return event.Event{Time: at(seconds), Type: event.Shared, Done: done * mib, Total: total * mib, Unit: "bytes", What: "uploading"}
}

func TestSharingIsALineOfTheFrame(t *testing.T) {
	b := NewBoard(nil)
	last := func() string {
		lines := frame(b, at(12), "", 79, 24, false)
		return strings.Join(lines[:len(lines)-1], "\n")
	}
	b.Apply(event.Event{Time: at(0), Type: event.Planned, Stage: "a.b", State: "hit"})
	b.Apply(event.Event{Time: at(0), Type: event.Finished, Stage: "a.b", State: "hit"})
	if got := last(); got != "" {
		t.Errorf("before there is anything to share: %q", got)
	}
	b.Apply(sharedAt(10, 100, 400))
	if got := last(); got != "  to the shared cache: 100 MiB of 400 MiB   25%" {
		t.Errorf("at first: %q", got)
	}
	b.Apply(sharedAt(12, 200, 400))
	if got := last(); got != "  to the shared cache: 200 MiB of 400 MiB   50%  50 MiB/s  eta 4.0s" {
		t.Errorf("after two seconds: %q", got)
	}
	b.Apply(sharedAt(12, 400, 400))
	if got := last(); got != "" {
		t.Errorf("when all is there: %q", got)
	}
}

func TestPlainSaysNowAndThenHowFarTheSharingIs(t *testing.T) {
	var out bytes.Buffer
	p := NewPlain(&out, false, nil, false)
	for i := range 51 { // 25 seconds, two events a second
		p.Event(sharedAt(float64(i)/2, float64(i), 50))
	}
	want := `    0.0s  share       to the shared cache: 0 B of 50 MiB    0%
   10.0s  share       to the shared cache: 20 MiB of 50 MiB   40%  2.0 MiB/s  eta 15s
   20.0s  share       to the shared cache: 40 MiB of 50 MiB   80%  2.0 MiB/s  eta 5.0s
   25.0s  share       50 MiB in the shared cache
`
	if got := out.String(); got != want {
		t.Errorf("wrote:\n%s\nwant:\n%s", got, want)
	}
}

func TestPlainSaysNothingOfASharingThatTookNoTime(t *testing.T) {
	var out bytes.Buffer
	p := NewPlain(&out, false, nil, false)
	p.Event(sharedAt(1, 50, 50))
	if out.Len() > 0 {
		t.Errorf("wrote %q", &out)
	}
}
