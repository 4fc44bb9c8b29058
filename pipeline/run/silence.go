package run

import (
	"fmt"
	"time"
)

// longSilence is how long a worker may say nothing before a person is told, who is told again each time that it has
// lasted twice as long. Nobody ends the worker for it: a compiler may be at work for an hour and say nothing.
const longSilence = 10 * time.Minute

// busyShare of the time on a CPU is less than a worker uses that works, and more than one that only waits.
const busyShare = 0.02

// Meter tells how much CPU time the processes of a job have used so far; false where nobody knows.
type Meter interface {
	CPUTime(h Handle) (time.Duration, bool)
}

// silence watches for a worker that may hang: there is no heartbeat in the protocol, so what counts is that it says
// nothing and computes nothing.
type silence struct {
	since time.Time
	heard int           // lines and events, when it began
	limit time.Duration // when to speak of it
	gauge bool          // cpu was read, half-way to the limit
	cpu   time.Duration
	known bool // cpu
}

func newSilence(now time.Time) *silence { return &silence{since: now, limit: longSilence} }

// look gives what to tell a person, or "".
func (s *silence) look(now time.Time, heard int, cpu func() (time.Duration, bool)) string {
	if heard != s.heard {
		*s = silence{since: now, heard: heard, limit: longSilence}
		return ""
	}
	lasted := now.Sub(s.since)
	if !s.gauge && lasted >= s.limit/2 {
		s.cpu, s.known = cpu()
		s.gauge = true
	}
	if lasted < s.limit {
		return ""
	}
	half := s.limit / 2
	used, known := cpu()
	used -= s.cpu
	known = known && s.known
	s.limit *= 2
	s.gauge = false // half-way to the next is now
	text := "it has said nothing for " + minutes(lasted)
	switch {
	case !known:
		return text + "; it may hang: Ctrl-C ends it, and a `timeout` in its stage would"
	case used.Seconds() < busyShare*half.Seconds():
		return text + ", and in the last " + minutes(half) + " its processes used next to no CPU: it may hang, or wait for something; Ctrl-C ends it, and a `timeout` in its stage would"
	default:
		return fmt.Sprintf("%s, but it is at work: in the last %s its processes used %v of CPU time", text, minutes(half), used.Round(time.Second))
	}
}

func minutes(d time.Duration) string { return fmt.Sprintf("%d min", int(d.Minutes())) }

// listen says so where the worker has been silent for long.
func (b *builder) listen(t *task, at *attempt, s *silence) {
	said := s.look(b.o.Clock.Now(), at.tails.heard, func() (time.Duration, bool) {
		if b.o.Meter == nil {
			return 0, false
		}
		return b.o.Meter.CPUTime(at.handle)
	})
	if said != "" {
		t.report.warn(said)
	}
}
