package report

import (
	"math"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Timeline is when the build's stages ran. Left and Width are percent of the whole.
type Timeline struct {
	Reused bool // nothing ran: the bars are how long the runs once took, side by side from zero
	Ticks  []Tick
	Bars   []Bar
}

// Bar is a stage in a Timeline. A hit has no width: it is a mark at the moment from which its output could be used. What
// failed has neither: a record has times, and there is none.
type Bar struct {
	Step
	Left, Width float64
	Mark        bool
	Took        string
	Anchor      string
}

// Timeline draws the build; nil without one.
func (r *Report) Timeline() *Timeline {
	b := r.Build
	if b == nil || len(b.Steps) == 0 {
		return nil
	}
	t := &Timeline{Reused: b.Ran+b.Failed == 0}
	length := b.Ended.Sub(b.Started).Seconds()
	for _, s := range b.Steps {
		switch {
		case t.Reused:
			length = max(length, s.Seconds)
		case s.State == artifacts.Ran: // of a re-attached run the begin may lie before the build's
			length = max(length, s.Started.Sub(b.Started).Seconds()+s.Seconds)
		}
	}
	if t.Reused {
		length = 0
		for _, s := range b.Steps {
			length = max(length, s.Seconds)
		}
	}
	if length <= 0 {
		length = 1
	}
	ready := r.readiness()
	for _, s := range b.Steps {
		t.Bars = append(t.Bars, t.bar(s, b.Started, length, ready))
	}
	t.Ticks = timeTicks(length)
	return t
}

func (t *Timeline) bar(s Step, start time.Time, length float64, ready map[artifacts.Digest]float64) Bar {
	percent := func(seconds float64) float64 { return math.Round(min(max(seconds/length, 0), 1)*10000) / 100 }
	bar := Bar{Step: s}
	if s.Seconds > 0 {
		bar.Took = duration(s.Seconds)
	}
	if !s.Record.IsZero() {
		bar.Anchor = anchor(s.Record)
	}
	switch {
	case t.Reused:
		bar.Width = percent(s.Seconds)
	case s.State == artifacts.Ran:
		from := s.Started.Sub(start).Seconds()
		bar.Left = percent(from)
		bar.Width = math.Round((percent(from+s.Seconds)-bar.Left)*100) / 100
	case s.State == artifacts.Hit:
		bar.Left, bar.Mark = percent(ready[s.Record]), true
	}
	return bar
}

// Said is what became of the stage, as the page's summary says it.
func (b Bar) Said() string {
	switch b.State {
	case artifacts.Hit:
		return "reused"
	case artifacts.Blocked:
		return "not run"
	default:
		return string(b.State)
	}
}

// readiness is how many seconds into the build each record's inputs were there.
func (r *Report) readiness() map[artifacts.Digest]float64 {
	ended := map[artifacts.Digest]float64{}
	for _, s := range r.Build.Steps {
		if s.State == artifacts.Ran {
			ended[s.Record] = s.Started.Sub(r.Build.Started).Seconds() + s.Seconds
		}
	}
	ready := map[artifacts.Digest]float64{}
	for _, e := range r.Records { // producers come first
		for _, edge := range r.Edges {
			if edge.To == e.Record {
				ready[e.Record] = max(ready[e.Record], ended[edge.From], ready[edge.From])
			}
		}
	}
	return ready
}

// timeSteps are the distances that a clock's marks may have, in seconds.
var timeSteps = []float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400}

func timeTicks(length float64) []Tick {
	step := timeSteps[len(timeSteps)-1]
	for _, s := range timeSteps {
		if length/s <= 6 {
			step = s
			break
		}
	}
	var out []Tick
	for i := 0.0; i*step <= length*0.97; i++ {
		text := "0"
		if i > 0 {
			text = tickTime(i * step)
		}
		out = append(out, Tick{At: math.Round(i*step/length*10000) / 100, Text: text})
	}
	return out
}

// tickTime leaves out parts that are zero: 5 min, not 5 min 00 s.
func tickTime(seconds float64) string {
	n := int(math.Round(seconds))
	switch {
	case seconds < 60 || n%60 != 0:
		return tickText(seconds) + " s"
	case n < 3600 || n%3600 != 0:
		return tickText(seconds/60) + " min"
	default:
		return tickText(seconds/3600) + " h"
	}
}
