package run

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

// progressEvery is how often a stage's progress is passed on.
const progressEvery = 100 * time.Millisecond

// maxRubbish is how many lines that are no events are reported one by one.
const maxRubbish = 20

// reporter says what happens to one stage, on the bus and in its stored log, secrets taken out. It belongs to one
// goroutine at a time.
type reporter struct {
	base    event.Event // Build, Stage, Kind, Key
	bus     *event.Bus
	clock   Clock
	redact  *redactor
	log     *storedLog
	claim   *told // hears of progress; nil where no other machine waits
	attempt int
	last    time.Time // when progress was passed on
	held    *event.Event
	trails  map[string]*trail // of what is said line by line
}

func (r *reporter) say(e event.Event) { r.tell(e, 0) }

func (r *reporter) tell(e event.Event, printed int64) {
	e = r.worded(e)
	r.log.add(e, printed)
	r.bus.Publish(e)
	if e.Type == event.Progress && r.claim != nil {
		r.claim.progress(e)
	}
}

// worded is the event as anyone may see it.
func (r *reporter) worded(e event.Event) event.Event {
	e.Time = r.clock.Now().UTC()
	e.Build, e.Stage, e.Kind, e.Key, e.Attempt = r.base.Build, r.base.Stage, r.base.Kind, r.base.Key, r.attempt
	if e.Type == event.Log {
		e.Message = r.follow(e.Stream, e.Message)
	} else {
		e.Message = r.redact.clean(e.Message)
	}
	e.Message, e.What, e.Reason, e.Unit = cutText(e.Message), r.follow("what", e.What), r.redact.clean(e.Reason), r.redact.clean(e.Unit)
	e.Name = r.redact.clean(e.Name)
	e.Observed, e.Labels = r.redact.cleanAll(e.Observed), r.redact.cleanAll(e.Labels)
	return e
}

// follow hides secrets in a stream of lines, those too that are split over two of them.
func (r *reporter) follow(stream, line string) string {
	t := r.trails[stream]
	if t == nil {
		if r.trails == nil {
			r.trails = map[string]*trail{}
		}
		t = &trail{}
		r.trails[stream] = t
	}
	return r.redact.follow(t, line)
}

func cutText(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD") // after secrets are taken out, half of a character may be a part of one
	if len(s) > maxText {
		return s[:maxText] + " … (cut)"
	}
	return s
}

// line is what a worker printed, in so many bytes.
func (r *reporter) line(stream, text string, printed int64) {
	r.tell(event.Event{Type: event.Log, Stream: stream, Message: text}, printed)
}

// gap is what a worker printed and nobody read. The log sums it up.
func (r *reporter) gap(stream string, bytes int64) {
	r.log.leave(stream, bytes)
	r.bus.Publish(r.worded(event.Event{Type: event.Log, Stream: stream, Message: unread(bytes)}))
}

func (r *reporter) problem(message string) {
	r.say(event.Event{Type: event.Problem, Level: "error", Message: message})
}

func (r *reporter) warn(message string) {
	r.say(event.Event{Type: event.Problem, Level: "warning", Message: message})
}

// progress is passed on now and then; flush passes on the last one.
func (r *reporter) progress(e event.Event) {
	if now := r.clock.Now(); now.Sub(r.last) >= progressEvery {
		r.last, r.held = now, nil
		r.say(e)
		return
	}
	r.held = &e
}

func (r *reporter) flush() {
	if r.held != nil {
		r.say(*r.held)
		r.held = nil
	}
}

// tails are the files of a running attempt that are read while they grow.
type tails struct {
	reporter       *reporter
	events         *protocol.Tail
	stdout, stderr *lineTail
	problems       []protocol.Event // those that the worker reported
	broken         bool             // reading failed: it was said once
	rubbish        int              // lines that were no events
	heard          int              // lines and events
}

func newTails(r *reporter, workspace string) *tails {
	at := func(name string) string { return filepath.Join(workspace, name) }
	return &tails{
		reporter: r,
		events:   protocol.NewTail(at(protocol.EventsFile), 0),
		stdout:   &lineTail{path: at(protocol.StdoutFile)},
		stderr:   &lineTail{path: at(protocol.StderrFile)},
	}
}

func (t *tails) poll(end bool) {
	read := t.events.Poll
	if end {
		read = t.events.End
	}
	err := errors.Join(
		read(t.event),
		t.stdout.poll(end, func(p piece) { t.printed("stdout", p) }),
		t.stderr.poll(end, func(p piece) { t.printed("stderr", p) }),
	)
	if err != nil && !t.broken {
		t.broken = true
		t.reporter.warn(err.Error())
	}
	if !end {
		return
	}
	t.reporter.flush()
	if more := t.rubbish - maxRubbish; more > 0 {
		t.reporter.warn(fmt.Sprintf("%d more lines of %s were no events", more, protocol.EventsFile))
	}
}

func (t *tails) printed(stream string, p piece) {
	t.heard++
	if p.unread {
		t.reporter.gap(stream, p.bytes)
		return
	}
	t.reporter.line(stream, p.text, p.bytes)
}

func (t *tails) event(e protocol.Event, err error) {
	t.heard++
	r := t.reporter
	if err != nil {
		if t.rubbish++; t.rubbish <= maxRubbish {
			r.warn("the worker reported something that is no event: " + err.Error())
		}
		return
	}
	switch e.Type {
	case protocol.Progress:
		r.progress(event.Event{Type: event.Progress, Done: e.Done, Total: e.Total, Unit: e.Unit, What: e.What})
		return
	case protocol.Log:
		r.say(event.Event{Type: event.Log, Stream: "worker", Level: e.Level, Message: e.Message})
	case protocol.Metric:
		r.say(event.Event{Type: event.Metric, Name: e.Name, Value: e.Value})
	case protocol.Problem:
		e.Message, e.Hint = r.follow("problem", e.Message), r.follow("hint", e.Hint)
		e.Param, e.Input = r.redact.clean(e.Param), r.redact.clean(e.Input)
		t.problems = append(t.problems, e)
		text := e.Message
		if e.Hint != "" {
			text += " (" + e.Hint + ")"
		}
		r.say(event.Event{Type: event.Problem, Level: "error", Message: text})
	}
}
