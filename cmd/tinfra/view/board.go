package view

import (
	"strings"
	"time"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// Tally is what is known of one stage from its events.
type Tally struct {
	Prospect
	Address string
	Planned string // hit, run or pending
	State   string // hit, run or pending as planned; then running; then hit, ran, failed, interrupted or blocked
	Reason  string
	Waiting string // what a queued stage waits for
	Attempt int
	Started time.Time
	Seconds float64
	Done    float64
	Total   float64
	Unit    string
	What    string
	Trouble string // the last problem that was told

	repeats bool    // the last problem says again what was told, in other words
	base    float64 // Done when this piece of progress began, at since
	since   time.Time
}

// Board gathers the events of a build. It is not safe for concurrent use.
type Board struct {
	Stages  []*Tally // in the order they were first heard of
	Started time.Time
	by      map[string]*Tally
	planned map[string]int // stages by what the plan made of them
	outlook Outlook
	sharing sharing
}

// Outlook is what is known of stages before they begin, by address.
type Outlook map[string]Prospect

// Prospect is what is known of one stage before it begins.
type Prospect struct {
	After   []string      // addresses that it waits for, over or not
	Expects time.Duration // what a run of it takes, from earlier ones; 0: unknown
	Metrics []string      // of its kind, in the order in which they are shown
}

// NewBoard is a Board that has heard nothing.
func NewBoard(o Outlook) *Board {
	return &Board{by: map[string]*Tally{}, planned: map[string]int{}, outlook: o}
}

// Stage finds what is known of an address, or nil.
func (b *Board) Stage(address string) *Tally { return b.by[address] }

// Apply takes one event.
func (b *Board) Apply(e event.Event) {
	if b.Started.IsZero() {
		b.Started = e.Time
	}
	if e.Type == event.Shared {
		b.sharing.apply(e)
	}
	if e.Stage == "" {
		return
	}
	t := b.by[e.Stage]
	if t == nil {
		t = &Tally{Address: e.Stage, Prospect: b.outlook[e.Stage]}
		b.by[e.Stage] = t
		b.Stages = append(b.Stages, t)
	}
	if e.Type == event.Planned {
		b.planned[e.State]++
	}
	t.apply(e)
}

func (t *Tally) apply(e event.Event) {
	switch e.Type {
	case event.Planned:
		t.Planned, t.State, t.Reason = e.State, e.State, e.Reason
		if e.State == "pending" {
			t.Reason = "" // what it waits for is no news once it has begun
		}
	case event.Queued:
		t.Waiting = e.Message
	case event.Started:
		t.State, t.Waiting, t.Attempt = "running", "", e.Attempt
		if e.Reason != "" {
			t.Reason = e.Reason
		}
		if t.Started.IsZero() {
			t.Started = e.Time
		}
		t.Done, t.Total, t.Unit, t.What, t.since = 0, 0, "", "", time.Time{}
	case event.Progress:
		if t.since.IsZero() || e.What != t.What || e.Total != t.Total || e.Done < t.Done {
			t.base, t.since = e.Done, e.Time
		}
		t.Done, t.Total, t.Unit, t.What = e.Done, e.Total, e.Unit, e.What
	case event.Finished:
		t.State, t.Waiting = Outcome(e.State, e.Reason), ""
		if e.Reason != "" {
			t.Reason = e.Reason
		}
		t.Seconds = e.Seconds
		if t.Seconds == 0 && !t.Started.IsZero() {
			t.Seconds = e.Time.Sub(t.Started).Seconds()
		}
	case event.Problem:
		t.repeats = t.Trouble != "" && strings.Contains(e.Message, t.Trouble)
		t.Trouble = e.Message
	case event.Log, event.Metric, event.Stored:
	}
}

// Outcome is the word for how a stage ended: one that a person ended did not fail.
func Outcome(state, reason string) string {
	if state == "failed" && reason == event.Interrupted {
		return event.Interrupted
	}
	return state
}

// Fraction is how much is done, 0 to 1; ok is false where the worker gave no total.
func (t *Tally) Fraction() (f float64, ok bool) {
	if t.Total <= 0 {
		return 0, false
	}
	return min(max(t.Done/t.Total, 0), 1), true
}

// Over says that the stage has ended.
func (t *Tally) Over() bool {
	switch t.State {
	case "hit", "ran", "failed", event.Interrupted, "blocked":
		// A hit is planned before it is finished: only the end gives it a duration or a verdict, and for a view
		// the two look the same.
		return true
	default:
		return false
	}
}

// Counts is how many stages are in each state.
func (b *Board) Counts() map[string]int {
	n := map[string]int{}
	for _, t := range b.Stages {
		n[t.State]++
	}
	return n
}
