package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// words is one line of what happened: a word for the column and the rest.
type words struct{ word, rest string }

// happening words an event that deserves a line of its own; progress does not.
func happening(b *Board, e event.Event, s style, logs bool) []words {
	t := b.Stage(e.Stage)
	switch e.Type {
	case event.Started:
		rest := ""
		if t != nil {
			rest = s.faint(Printable(t.Reason))
		}
		if e.Attempt > 1 {
			rest = fmt.Sprintf("attempt %d", e.Attempt)
		}
		return []words{{"start", rest}}
	case event.Queued:
		// Waiting for a free core is the scheduler's daily work; waiting for another build is news.
		if e.Message == "" || e.Message == "waits for resources" {
			return nil
		}
		return []words{{"wait", Printable(e.Message)}}
	case event.Problem:
		if t != nil && t.repeats {
			return nil
		}
		return []words{{s.warn("problem"), firstLine(e.Message)}}
	case event.Log:
		if e.Level == "warning" {
			return []words{{s.warn("warning"), firstLine(e.Message)}}
		}
		if logs {
			return []words{{s.faint("log"), Printable(e.Message)}}
		}
		return nil
	case event.Finished:
		if e.Stage == "" {
			return nil
		}
		if e.State == "hit" && b.planned["hit"] > ManyStages {
			return nil
		}
		state := Outcome(e.State, e.Reason)
		return []words{{s.state(state, state), ending(t, e, s)}}
	case event.Planned, event.Progress, event.Metric, event.Stored, event.Shared:
		return nil
	default:
		return nil
	}
}

// ending words how a stage ended.
func ending(t *Tally, e event.Event, s style) string {
	parts := []string{}
	if e.State == "ran" || e.State == "failed" {
		parts = append(parts, Seconds(t.Seconds))
	}
	if e.State == "ran" && e.Bytes > 0 {
		parts = append(parts, Bytes(e.Bytes))
	}
	if e.State == "ran" || e.State == "hit" {
		parts = append(parts, Metrics(e.Metrics, t.Metrics...)...)
	}
	if _, synthetic := e.Labels["synthetic"]; synthetic {
		parts = append(parts, s.warn("synthetic"))
	}
	switch Outcome(e.State, e.Reason) {
	case "failed":
		why := e.Message
		if why == "" {
			why = e.Reason
		}
		if t.Trouble == "" || !strings.Contains(t.Trouble, why) {
			parts = append(parts, s.bad(firstLine(why)))
		}
	case "blocked":
		parts = append(parts, firstLine(t.Reason))
	}
	return strings.Join(parts, "  ")
}

// shownMetrics is how many of a stage's metrics a line has room for; `tinfra show` and the report have all.
const shownMetrics = 4

// Metrics words the first metrics of a stage: those of order in that order, then the others by name.
func Metrics(m map[string]float64, order ...string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		if !isBound(m, name) {
			names = append(names, name)
		}
	}
	place := func(name string) int {
		if i := slices.Index(order, name); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a, b))
	})
	out := make([]string, 0, len(m))
	for _, name := range names[:min(len(names), shownMetrics)] {
		value := Number(m[name])
		// An event does not carry units; kinds call sizes so.
		if name == "bytes" || strings.HasSuffix(name, "_bytes") {
			value = Bytes(int64(m[name]))
		}
		out = append(out, name+" "+value)
	}
	if len(names) > shownMetrics {
		out = append(out, "…")
	}
	return out
}

// isBound tells the ends of another metric's interval, x_low and x_high beside x, from metrics of their own.
func isBound(m map[string]float64, name string) bool {
	for _, end := range []string{"_low", "_high"} {
		if of, ok := strings.CutSuffix(name, end); ok {
			_, ok = m[of]
			return ok
		}
	}
	return false
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return Printable(line)
}
