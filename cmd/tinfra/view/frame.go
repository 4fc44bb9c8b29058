package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// frame draws the board as lines of at most width columns, at most height of them: what failed, which so never scrolls
// away, what runs, what waits and for what, and one line that counts, the notice before it.
func frame(b *Board, now time.Time, notice string, width, height int, s style) []string {
	var failed, running, waiting []*Tally
	for _, t := range b.Stages {
		switch {
		case t.State == "failed":
			failed = append(failed, t)
		case t.State == "running":
			running = append(running, t)
		case !t.Over() && b.Waits(t) != "":
			waiting = append(waiting, t)
		}
	}
	// Half of the screen is left to what scrolls, unless more than that runs.
	room := max(height-2, 1)
	failed, lost := cut(failed, max(room/3, 1))
	room -= len(failed)
	running, hidden := cut(running, max(room, 0))
	waiting, more := cut(waiting, max(min(height/2, room)-len(running), 0))
	c := measure(append(append([]*Tally{}, running...), waiting...), width)
	var lines []string
	for _, t := range failed {
		lines = append(lines, clip(s.bad("✗ "+t.Address)+"  "+t.verdict(), width))
	}
	for _, t := range running {
		lines = append(lines, c.row(t, now, s))
	}
	for _, t := range waiting {
		lines = append(lines, c.waiting(t, b.Waits(t), s))
	}
	if n := lost + hidden + more; n > 0 {
		lines = append(lines, clip(s.faint(fmt.Sprintf("  … and %d more", n)), width))
	}
	if !b.sharing.over() {
		lines = append(lines, clip("  "+b.sharing.words(now), width))
	}
	return append(lines, counter(b, now, notice, width, s))
}

// cut keeps the first rows where there is not room for all.
func cut(rows []*Tally, room int) (kept []*Tally, hidden int) {
	if len(rows) <= room {
		return rows, 0
	}
	return rows[:room], len(rows) - room
}

// verdict is why a stage failed, in one line.
func (t *Tally) verdict() string {
	if t.Trouble != "" {
		return firstLine(t.Trouble)
	}
	return firstLine(t.Reason)
}

// columns is how the width is shared out: the address and the elapsed time always, then percent, bar, amount and ETA
// as long as there is room.
type columns struct{ width, address, bar, amount, eta int }

const (
	percentWidth = 5 // " 100%"
	elapsedWidth = 7 // "  1m25s"
	etaWidth     = 12
	barMin       = 8
	barMax       = 20
)

func measure(rows []*Tally, width int) columns {
	c := columns{width: width}
	for _, t := range rows {
		c.address = max(c.address, text.StringWidthWithoutEscSequences(t.Address))
	}
	left := width - 2 - percentWidth - elapsedWidth
	c.address = min(c.address, max(left*3/5, 8), max(left, 4))
	left -= c.address
	if left >= barMin+2 {
		c.bar = min(left-2, barMax)
		left -= c.bar + 2
	}
	if left >= etaWidth {
		c.eta = etaWidth
		left -= etaWidth
	}
	if left >= 8 {
		c.amount = left - 2
	}
	return c
}

func (c columns) row(t *Tally, now time.Time, s style) string {
	var b strings.Builder
	b.WriteString("  " + pad(clip(t.Address, c.address), c.address))
	f, known := t.Fraction()
	if c.bar > 0 {
		b.WriteString("  " + bar(f, known, c.bar, now, s))
	}
	if known {
		fmt.Fprintf(&b, " %3.0f%%", 100*f)
	} else {
		b.WriteString(strings.Repeat(" ", percentWidth))
	}
	b.WriteString(s.faint(fmt.Sprintf("%*s", elapsedWidth, Duration(now.Sub(t.Started)))))
	if c.eta > 0 {
		left := ""
		if d, ok := t.ETA(now); ok {
			left = "eta " + Duration(d)
		}
		b.WriteString(pad("  "+left, c.eta))
	}
	if c.amount > 0 && (known || t.Done > 0 || t.What != "") {
		b.WriteString(s.faint("  " + short(t, c.amount)))
	}
	return strings.TrimRight(b.String(), " ")
}

func (c columns) waiting(t *Tally, why string, s style) string {
	return s.faint("  " + pad(clip(t.Address, c.address), c.address) + clip("  "+Printable(why), c.width-c.address-2))
}

// short is the amount without the percentage, which has its own column; what is being done is said only where there
// is room for all of it.
func short(t *Tally, width int) string {
	u, what := "", Printable(t.What)
	if t.Total > 0 || t.Done > 0 {
		u = units(t)
	}
	if u == "" {
		return clip(what, width)
	}
	if all := u + "  " + what; what != "" && text.StringWidthWithoutEscSequences(all) <= width {
		return all
	}
	return clip(u, width)
}

// bar draws a fraction; an unknown one is a block that travels, so that the screen is seen to live.
func bar(f float64, known bool, width int, now time.Time, s style) string {
	inner := width - 2
	if known {
		n := int(f * float64(inner))
		return "[" + s.good(strings.Repeat("━", n)) + s.faint(strings.Repeat("─", inner-n)) + "]"
	}
	const block = 3
	span := inner - block
	at := int(now.UnixMilli()/120) % (2 * span)
	if at > span {
		at = 2*span - at
	}
	return "[" + s.faint(strings.Repeat("─", at)) + s.good(strings.Repeat("━", block)) +
		s.faint(strings.Repeat("─", span-at)) + "]"
}

func counter(b *Board, now time.Time, notice string, width int, s style) string {
	n := b.Counts()
	over := n["hit"] + n["ran"] + n["failed"] + n[event.Interrupted] + n["blocked"]
	line := ""
	if notice != "" {
		line = notice + " · "
	}
	line += fmt.Sprintf("%d of %s", over, Count(len(b.Stages), "stage"))
	for _, p := range []struct {
		state, word string
	}{{"running", "running"}, {"failed", "failed"}, {event.Interrupted, event.Interrupted}, {"blocked", "blocked"}} {
		if n[p.state] > 0 {
			line += fmt.Sprintf(" · %d %s", n[p.state], p.word)
		}
	}
	line += " · " + Duration(now.Sub(b.Started))
	if left, ok := b.Left(now); ok && left >= time.Second && notice == "" {
		line += " · about " + Duration(left) + " left"
	}
	return s.strong(clip(line, width))
}
