package view

import (
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// halfway is a board with every kind of stage on it, ten seconds in.
func halfway() *Board {
	b := NewBoard(Outlook{
		"perplexity.int4": {After: []string{`gptq.int4["g128"]`, "download.base", "calibrate.c4"}},
		"calibrate.c4":    {Expects: 25 * time.Second},
	})
	for _, e := range []event.Event{
		{Time: at(0), Type: event.Planned, Stage: "download.base", State: "hit"},
		{Time: at(0), Type: event.Planned, Stage: `gptq.int4["g128"]`, State: "run", Reason: "params.bits changed: 4 → 2"},
		{Time: at(0), Type: event.Planned, Stage: "calibrate.c4", State: "run"},
		{Time: at(0), Type: event.Planned, Stage: "perplexity.base", State: "pending"},
		{Time: at(0), Type: event.Planned, Stage: "perplexity.int4", State: "pending"},
		{Time: at(0), Type: event.Planned, Stage: "text.broken", State: "run"},
		{Time: at(0), Type: event.Problem, Stage: "text.broken", Message: "half a dump\nand more"},
		{Time: at(0), Type: event.Finished, Stage: "text.broken", State: "failed", Reason: "exit 11"},
		{Time: at(0), Type: event.Finished, Stage: "download.base", State: "hit"},
		{Time: at(0), Type: event.Started, Stage: `gptq.int4["g128"]`, Attempt: 1},
		{Time: at(0), Type: event.Started, Stage: "calibrate.c4", Attempt: 1},
		{Time: at(2), Type: event.Progress, Stage: `gptq.int4["g128"]`, Done: 0, Total: 30, Unit: "layers", What: "quantizing"},
		{Time: at(8), Type: event.Progress, Stage: `gptq.int4["g128"]`, Done: 12, Total: 30, Unit: "layers", What: "quantizing"},
		{Time: at(9), Type: event.Queued, Stage: "perplexity.base", Message: "another build runs it (host a)"},
	} {
		b.Apply(e)
	}
	return b
}

func TestFrameAt80Columns(t *testing.T) {
	got := strings.Join(frame(halfway(), at(10), "", 79, 24, false), "\n")
	want := strings.Join([]string{
		`✗ text.broken  half a dump`,
		`  gptq.int4["g128"]  [━━━━━━━━────────────]  40%    10s  eta 12s    12/30 layers`,
		`  calibrate.c4       [──────━━━───────────]         10s  eta 15s`,
		`  perplexity.base    another build runs it (host a)`,
		`  perplexity.int4    waits for gptq.int4["g128"] and 1 other`,
		`2 of 6 stages · 2 running · 1 failed · 10s`,
	}, "\n")
	if squeeze(got) != squeeze(want) {
		t.Errorf("frame:\n%s\nwant:\n%s", got, want)
	}
}

// squeeze makes bars and runs of blanks one sign each: their exact width is not the point of a comparison.
func squeeze(s string) string {
	var out []rune
	for _, r := range s {
		if r == '─' || r == '━' {
			r = '-'
		}
		if n := len(out); n > 0 && out[n-1] == r && (r == '-' || r == ' ') {
			continue
		}
		out = append(out, r)
	}
	return string(out)
}

func TestFrameFitsAnyTerminal(t *testing.T) {
	for width := 1; width <= 200; width++ {
		for _, height := range []int{1, 2, 3, 5, 24} {
			lines := frame(halfway(), at(10), "", width, height, false)
			if height >= 3 && len(lines) > height {
				t.Fatalf("%d by %d: %d lines", width, height, len(lines))
			}
			for _, line := range lines {
				// Below this the two columns that must stay, percent and elapsed time, do not fit.
				if n := text.StringWidthWithoutEscSequences(line); width >= 24 && n > width {
					t.Errorf("%d columns: a line of %d: %q", width, n, line)
				}
			}
		}
	}
}

func TestFrameColoursDoNotChangeTheText(t *testing.T) {
	plain := strings.Join(frame(halfway(), at(10), "", 79, 24, false), "\n")
	coloured := strings.Join(frame(halfway(), at(10), "", 79, 24, true), "\n")
	if got := text.StripEscape(coloured); got != plain {
		t.Errorf("without colours:\n%s\nwith colours:\n%s", plain, got)
	}
}

// screen is a terminal of its own: it understands what Live writes, and no more.
type screen struct {
	width int
	lines []string
	row   int
}

func (s *screen) Write(p []byte) (int, error) {
	rest := string(p)
	for rest != "" {
		switch {
		case strings.HasPrefix(rest, "\x1b["):
			end := strings.IndexAny(rest, "AKJ")
			n := 0
			for _, r := range rest[2:end] {
				n = 10*n + int(r-'0')
			}
			switch rest[end] {
			case 'A':
				s.row -= n
			case 'J':
				s.lines = s.lines[:min(s.row, len(s.lines))]
			}
			rest = rest[end+1:]
		case rest[0] == '\r':
			rest = rest[1:]
		default:
			line, after, _ := strings.Cut(rest, "\n")
			s.put(strings.TrimSuffix(line, "\x1b[K"))
			rest = after
		}
	}
	return len(p), nil
}

func (s *screen) put(line string) {
	for len(s.lines) <= s.row {
		s.lines = append(s.lines, "")
	}
	s.lines[s.row] = line
	s.row++
}

func TestLiveLeavesOnlyWhatHappened(t *testing.T) {
	s := &screen{width: 80}
	l := newLive(s, func() (int, int) { return 80, 24 }, func() time.Time { return at(10) }, false, nil, false)
	feed := func(events ...event.Event) {
		for _, e := range events {
			l.Event(e)
		}
		l.draw(false)
	}
	feed(event.Event{Time: at(0), Type: event.Planned, Stage: "a.b", State: "run"},
		event.Event{Time: at(0), Type: event.Planned, Stage: "c.d", State: "hit"})
	feed(event.Event{Time: at(1), Type: event.Finished, Stage: "c.d", State: "hit"},
		event.Event{Time: at(1), Type: event.Started, Stage: "a.b", Attempt: 1})
	if got := strings.Join(s.lines, "\n"); !strings.Contains(got, "1 of 2 stages · 1 running") {
		t.Errorf("while running:\n%s", got)
	}
	feed(event.Event{Time: at(3), Type: event.Log, Stage: "a.b", Level: "warning", Message: "odd \x1b[2Jtext"})
	feed(event.Event{Time: at(5), Type: event.Finished, Stage: "a.b", State: "failed", Message: "exit 1\nmore"})
	l.draw(true)
	want := strings.Join([]string{
		"2 stages: 1 cached, 1 to run",
		"  a.b  warning  odd text",
		"✗ a.b  4.0s  exit 1",
	}, "\n")
	if got := strings.Join(s.lines, "\n"); got != want {
		t.Errorf("screen:\n%s\nwant:\n%s", got, want)
	}
}

func TestWhatWasInterruptedDidNotFail(t *testing.T) {
	s := &screen{width: 80}
	l := newLive(s, func() (int, int) { return 80, 24 }, func() time.Time { return at(10) }, false, nil, false)
	for _, e := range []event.Event{
		{Time: at(0), Type: event.Planned, Stage: "a.b", State: "run"},
		{Time: at(0), Type: event.Planned, Stage: "c.d", State: "run"},
		{Time: at(1), Type: event.Started, Stage: "a.b", Attempt: 1},
		{Time: at(1), Type: event.Started, Stage: "c.d", Attempt: 1},
		{Time: at(5), Type: event.Finished, Stage: "a.b", State: "failed", Reason: event.Interrupted},
	} {
		l.Event(e)
	}
	l.draw(false)
	got := strings.Join(s.lines, "\n")
	if !strings.Contains(got, "\n- a.b  interrupted  4.0s\n") || !strings.HasSuffix(got, "\n1 of 2 stages · 1 running · 1 interrupted · 10s") ||
		strings.Contains(got, "✗") {
		t.Errorf("screen:\n%s", got)
	}
}

func TestLiveSaysAllTheTimeThatItStops(t *testing.T) {
	s := &screen{width: 80}
	l := newLive(s, func() (int, int) { return 80, 24 }, func() time.Time { return at(10) }, false, nil, false)
	l.Event(event.Event{Time: at(0), Type: event.Planned, Stage: "a.b", State: "run"})
	const words = "stopping; once more kills what runs"
	l.Notice(words) // before anything runs
	l.draw(false)
	if got := strings.Join(s.lines, "\n"); got != words {
		t.Errorf("before the first stage:\n%s", got)
	}
	l.Event(event.Event{Time: at(1), Type: event.Started, Stage: "a.b", Attempt: 1})
	for range 3 {
		l.draw(false)
		got := strings.Join(s.lines, "\n")
		if !strings.HasSuffix(got, "\n"+words+" · 0 of 1 stage · 1 running · 10s") || strings.Count(got, "running") != 1 {
			t.Errorf("while a stage takes its time:\n%s", got)
		}
	}
	l.draw(true)
	if got := strings.Join(s.lines, "\n"); strings.Contains(got, "stopping") {
		t.Errorf("after the end:\n%s", got)
	}
}

func TestAFullScreenDoesNotScroll(t *testing.T) {
	const height = 10
	var planned Outlook
	s := &screen{width: 80}
	l := newLive(s, func() (int, int) { return 80, height }, func() time.Time { return at(10) }, false, planned, false)
	for i := range 30 {
		l.Event(event.Event{Time: at(0), Type: event.Planned, Stage: "a." + strings.Repeat("x", i+1), State: "run"})
	}
	for i := range 30 {
		l.Event(event.Event{Time: at(1), Type: event.Started, Stage: "a." + strings.Repeat("x", i+1), Attempt: 1})
	}
	l.draw(false)
	l.draw(false)
	// Every line ends with a line end, so the cursor takes a row of its own.
	if len(l.drawn) > height-1 {
		t.Errorf("a frame of %d lines on a screen of %d", len(l.drawn), height)
	}
}

func TestRowsAfterTheTerminalWasMadeNarrower(t *testing.T) {
	lines := []string{strings.Repeat("x", 79), "short", ""}
	if got := rows(lines, 80); got != 3 {
		t.Errorf("80 columns: %d rows, want 3", got)
	}
	if got := rows(lines, 40); got != 4 {
		t.Errorf("40 columns: %d rows, want 4", got)
	}
}

func TestWhatIsLeftOfABuild(t *testing.T) {
	b := NewBoard(Outlook{
		"a.a": {Expects: 20 * time.Second},
		"b.b": {Expects: 30 * time.Second},
		"c.c": {Expects: 60 * time.Second, After: []string{"a.a"}},
		"d.d": {Expects: 10 * time.Second, After: []string{"b.b"}},
	})
	for _, name := range []string{"a.a", "b.b", "c.c", "d.d"} {
		b.Apply(event.Event{Time: at(0), Type: event.Planned, Stage: name, State: "run"})
	}
	for _, name := range []string{"a.a", "b.b"} {
		b.Apply(event.Event{Time: at(0), Type: event.Started, Stage: name})
	}
	for _, c := range []struct{ now, want float64 }{{0, 80}, {5, 75}, {19, 61}} {
		if got, ok := b.Left(at(c.now)); !ok || got != time.Duration(c.want*float64(time.Second)) {
			t.Errorf("after %.0f s: %v, %v left, want %.0f s: a.a and then c.c", c.now, got, ok, c.want)
		}
	}
	b.Apply(event.Event{Time: at(20), Type: event.Finished, Stage: "a.a", State: "ran"})
	if got, ok := b.Left(at(20)); !ok || got != 80*time.Second {
		t.Errorf("one stage running: %v, %v left, want all the work that is left, 10 + 60 + 10 s", got, ok)
	}
	b.Apply(event.Event{Time: at(20), Type: event.Planned, Stage: "e.e", State: "run"})
	if got, ok := b.Left(at(20)); ok {
		t.Errorf("a stage that never ran: %v left, want no forecast", got)
	}
}
