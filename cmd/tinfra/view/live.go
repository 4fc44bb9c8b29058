package view

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// Live keeps a table of the running stages at the bottom of a terminal; what has ended scrolls above it. It redraws
// with plain cursor movements instead of a progress-bar library: the columns must be dropped one by one on a narrow
// terminal, and a frame must be a function of the board and the width, to be tested as text.
type Live struct {
	w     io.Writer
	size  func() (width, height int)
	now   func() time.Time
	style style
	logs  bool

	mu     sync.Mutex // over all below
	board  *Board
	above  []string // lines to scroll out at the next frame
	drawn  []string // the frame on the screen
	headed bool
	notice string // what the last line of every frame begins with

	stop chan struct{}
	done chan struct{}
}

const frameEvery = 100 * time.Millisecond

// NewLive draws on w until Close.
func NewLive(w io.Writer, t Terminal, o Outlook, logs bool) *Live {
	l := newLive(w, t.Size, time.Now, style(t.Color), o, logs)
	go l.loop()
	return l
}

func newLive(w io.Writer, size func() (int, int), now func() time.Time, s style, o Outlook, logs bool) *Live {
	return &Live{
		w: w, size: size, now: now, style: s, logs: logs, board: NewBoard(o),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
}

func (l *Live) loop() {
	defer close(l.done)
	tick := time.NewTicker(frameEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.draw(false)
		case <-l.stop:
			l.draw(true)
			return
		}
	}
}

// Close draws what is left to say, removes the table and waits until that is done.
func (l *Live) Close() {
	close(l.stop)
	<-l.done
}

// Notice stays on the screen until Close: what is written past the frame is drawn over at once.
func (l *Live) Notice(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notice = text
}

// Event takes the next event.
func (l *Live) Event(e event.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Type != event.Planned && !l.headed && len(l.board.Stages) > 0 {
		l.headed = true
		l.above = append(l.above, headline(l.board))
	}
	l.board.Apply(e)
	if e.Type == event.Planned {
		return
	}
	if e.Type == event.Started && e.Attempt <= 1 || e.Type == event.Queued {
		return // the table shows it
	}
	if t := l.board.Stage(e.Stage); t != nil && e.State == "hit" && t.Planned == "hit" {
		return // the first line counts them
	}
	for _, h := range happening(l.board, e, l.style, l.logs) {
		l.above = append(l.above, scrolled(e, h, l.style))
	}
}

// scrolled words a line that scrolls: a sign, the stage, the rest.
func scrolled(e event.Event, h words, s style) string {
	sign := " "
	if e.Type == event.Finished {
		state := Outcome(e.State, e.Reason)
		sign = map[string]string{"hit": "=", "ran": "✓", "failed": "✗", event.Interrupted: "-", "blocked": "-"}[state]
		sign = s.state(sign, state)
		if e.State == "hit" {
			h.rest = strings.TrimSpace(s.faint("cached") + "  " + h.rest)
		}
		if state == "blocked" || state == event.Interrupted {
			h.rest = state + "  " + h.rest
		}
	} else {
		h.rest = h.word + "  " + h.rest
	}
	return fmt.Sprintf("%s %s  %s", sign, e.Stage, h.rest)
}

// draw replaces the frame. Each frame is one write, so that a terminal never shows half of it.
func (l *Live) draw(last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	width, height := l.size()
	// A line as wide as the terminal would leave the cursor in the next one on some terminals.
	width = max(width-1, 1)
	var lines []string
	switch {
	case last:
	case l.headed:
		lines = frame(l.board, l.now(), l.notice, width, height-1, l.style) // the cursor stands in the line below
	case l.notice != "":
		lines = []string{l.style.strong(clip(l.notice, width))}
	}
	if len(lines) == 0 && len(l.above) == 0 && len(l.drawn) == 0 {
		return
	}
	var b strings.Builder
	if up := rows(l.drawn, width+1); up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", up)
	}
	b.WriteString("\r")
	for _, s := range l.above {
		// What scrolls out may be as long as it likes: it wraps as any other text.
		b.WriteString(s + "\x1b[K\n")
	}
	for _, s := range lines {
		b.WriteString(s + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	_, _ = io.WriteString(l.w, b.String()) // a terminal that went away is no reason to stop a build
	l.above, l.drawn = nil, lines
}

// rows is how many rows lines take on a terminal of this width: after it was made narrower, more than one each.
func rows(lines []string, width int) int {
	n := 0
	for _, s := range lines {
		n += max((text.StringWidthWithoutEscSequences(s)+width-1)/width, 1)
	}
	return n
}
