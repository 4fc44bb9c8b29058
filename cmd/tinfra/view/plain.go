package view

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// Plain writes one line a happening, for logs and pipes. A stage's progress is written when it moved by a tenth, or
// after progressEvery, whichever comes first, and never twice within progressGap.
type Plain struct {
	w       io.Writer
	style   style
	logs    bool
	board   *Board
	width   int // of the column of addresses
	headed  bool
	written map[string]mark
	told    time.Time // when a line said how far the sharing is
}

// mark is the last progress that was written of a stage.
type mark struct {
	at       time.Time
	fraction float64
}

const (
	progressEvery = 30 * time.Second
	progressGap   = 2 * time.Second
	addressMax    = 40 // columns; a longer address pushes its own line only
)

// NewPlain writes to w. With logs, what workers print is written too.
func NewPlain(w io.Writer, color bool, o Outlook, logs bool) *Plain {
	return &Plain{w: w, style: style(color), logs: logs, board: NewBoard(o), written: map[string]mark{}}
}

// Event takes the next event.
func (p *Plain) Event(e event.Event) {
	if e.Type == event.Planned {
		p.board.Apply(e)
		p.width = min(max(p.width, len(e.Stage)), addressMax)
		return
	}
	if !p.headed {
		p.headed = true
		p.head()
	}
	p.board.Apply(e)
	for _, line := range happening(p.board, e, p.style, p.logs) {
		p.line(e, line.word, line.rest)
	}
	switch e.Type {
	case event.Progress:
		p.progress(e)
	case event.Shared:
		p.shared(e)
	default:
	}
}

func (p *Plain) head() {
	if n := len(p.board.Stages); n > 0 {
		fmt.Fprintln(p.w, headline(p.board))
	}
}

// headline says in one line what is to be done.
func headline(b *Board) string { return headlineOf(len(b.Stages), b.Counts()) }

// Cached writes what Plain writes of a build of n hits, more than ManyStages, without an event of each.
func Cached(w io.Writer, n int) {
	fmt.Fprintln(w, headlineOf(n, map[string]int{"hit": n}))
}

func headlineOf(all int, n map[string]int) string {
	parts := []string{}
	for _, s := range []struct{ state, word string }{{"hit", "cached"}, {"run", "to run"}, {"pending", "pending"}} {
		if n[s.state] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[s.state], s.word))
		}
	}
	return Count(all, "stage") + ": " + strings.Join(parts, ", ")
}

func (p *Plain) line(e event.Event, word, rest string) {
	since := e.Time.Sub(p.board.Started).Seconds()
	s := fmt.Sprintf("%7.1fs  %s  %s", max(since, 0), pad(word, 8), pad(e.Stage, p.width))
	if rest != "" {
		s += "  " + rest
	}
	fmt.Fprintln(p.w, strings.TrimRight(s, " "))
}

func (p *Plain) progress(e event.Event) {
	t := p.board.Stage(e.Stage)
	f, known := t.Fraction()
	last, seen := p.written[e.Stage]
	gone := e.Time.Sub(last.at)
	if seen && f < last.fraction {
		last.fraction = 0
	}
	moved := known && (f-last.fraction >= 0.1 || f == 1 && last.fraction < 1)
	if seen && (gone < progressGap || !moved && gone < progressEvery) {
		return
	}
	p.written[e.Stage] = mark{at: e.Time, fraction: f}
	p.line(e, "progress", amount(t, e.Time))
}

// amount words a stage's progress: "layers 12/30  40%  eta 51s".
func amount(t *Tally, now time.Time) string {
	parts := []string{}
	if t.What != "" {
		parts = append(parts, Printable(t.What))
	}
	if f, ok := t.Fraction(); ok {
		parts = append(parts, units(t), fmt.Sprintf("%3.0f%%", 100*f))
	} else {
		parts = append(parts, units(t))
	}
	if left, ok := t.ETA(now); ok {
		parts = append(parts, "eta "+Duration(left))
	}
	return strings.Join(parts, "  ")
}

// units words how much is done, bytes as sizes.
func units(t *Tally) string {
	unit := Printable(t.Unit)
	if unit == "byte" || unit == "bytes" || unit == "B" {
		if t.Total > 0 {
			return Bytes(int64(t.Done)) + " of " + Bytes(int64(t.Total))
		}
		return Bytes(int64(t.Done))
	}
	s := Number(t.Done)
	if t.Total > 0 {
		s += "/" + Number(t.Total)
	}
	if unit != "" {
		s += " " + unit
	}
	return s
}
