package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// sharing is how far a build's results are on their way to other machines.
type sharing struct {
	done, total float64
	base        float64 // done at since, when it was first heard of
	since       time.Time
}

func (s *sharing) apply(e event.Event) {
	if s.since.IsZero() || e.Done < s.done {
		s.base, s.since = e.Done, e.Time
	}
	s.done, s.total = e.Done, e.Total
}

// over says that all is there, or that there was nothing.
func (s *sharing) over() bool { return s.done >= s.total }

// words is "1.0 GiB of 3.0 GiB   33%  64 MiB/s  eta 32s", or how much it was in the end.
func (s *sharing) words(now time.Time) string {
	if s.over() {
		return Bytes(int64(s.total)) + " in the shared cache"
	}
	parts := []string{"to the shared cache: " + Bytes(int64(s.done)) + " of " + Bytes(int64(s.total)), fmt.Sprintf("%3.0f%%", 100*s.done/s.total)}
	if moved, spent := s.done-s.base, now.Sub(s.since); moved > 0 && spent >= time.Second {
		rate := moved / spent.Seconds()
		parts = append(parts, Bytes(int64(rate))+"/s", "eta "+Duration(time.Duration((s.total-s.done)/rate*float64(time.Second))))
	}
	return strings.Join(parts, "  ")
}

// sharedEvery is how often a line says how far it is.
const sharedEvery = 10 * time.Second

// shared writes now and then how far the sharing is, and how much it was where that took long enough to be spoken of.
func (p *Plain) shared(e event.Event) {
	s := &p.board.sharing
	if s.over() && p.told.IsZero() || !s.over() && e.Time.Sub(p.told) < sharedEvery {
		return
	}
	p.told = e.Time
	p.line(e, "share", s.words(e.Time))
}
