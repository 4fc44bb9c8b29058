package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

func newLog(a *app) *cobra.Command {
	var s lookup
	var asJSON, offline bool
	cmd := &cobra.Command{
		Use:   "log STAGE",
		Short: "Replay what a stage said when it ran",
		Long: `log writes what a stage printed when it ran: in the build that ran it, also for a stage that was a hit in the last
build, and for an attempt that failed. Where this machine has not built the recipe, the last build in the shared cache counts.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := a.openHouse(s.recipe)
			if err != nil {
				return err
			}
			h.asks = !offline
			address, _ := splitPort(args[0])
			step, err := h.findStep(cmd.Context(), address, s)
			if err != nil {
				return err
			}
			b, err := h.storedLog(cmd, step)
			if err != nil {
				return err
			}
			if asJSON {
				_, err = a.stdout.Write(b)
				return err
			}
			if err := writeLog(a.stdout, b); err != nil {
				return err
			}
			why, ok, err := h.synthetic(cmd.Context(), step.Record)
			if ok {
				fmt.Fprintf(a.stdout, "-- synthetic: %s\n", view.Printable(why))
			}
			return err
		},
		ValidArgsFunction: a.completeStages,
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write the events as JSON lines")
	alone(cmd, &offline)
	return cmd
}

func (h *house) storedLog(cmd *cobra.Command, step artifacts.Step) ([]byte, error) {
	d := step.Log
	if d.IsZero() && !step.Record.IsZero() {
		rec, err := h.cache.Record(cmd.Context(), step.Record)
		if err != nil {
			return nil, err
		}
		d = rec.Log
	}
	if d.IsZero() {
		return nil, usage("%s has no log: it is %s (%s)", step.Address, step.State, step.Reason)
	}
	return h.bytesElsewhere(cmd.Context(), d)
}

// logLines gives the events of a stored log; a line that is none is given as the text it is.
func logLines(b []byte) []event.Event {
	var out []event.Event
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, len(b)+1)
	for lines.Scan() {
		var e event.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			e = event.Event{Type: event.Log, Message: lines.Text()}
		}
		out = append(out, e)
	}
	return out
}

// writeLog writes what was said, without the progress. A terminal is spared the control characters of a worker.
func writeLog(w io.Writer, b []byte) error {
	terminal := view.TerminalOf(w).Is
	for _, e := range logLines(b) {
		line, ok := logLine(e)
		if !ok {
			continue
		}
		if terminal {
			line = view.Printable(line)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return fmt.Errorf("writing the log: %w", err)
		}
	}
	return nil
}

// logLine words one event of a log; ok is false for those that say nothing to a person.
func logLine(e event.Event) (line string, ok bool) {
	switch e.Type {
	case event.Log:
		if e.Level == "warning" {
			return "warning: " + e.Message, true
		}
		return e.Message, true
	case event.Problem:
		return "problem: " + e.Message, true
	case event.Started:
		if e.Attempt > 1 {
			return fmt.Sprintf("-- attempt %d", e.Attempt), true
		}
		return "", false
	case event.Finished:
		if view.Outcome(e.State, e.Reason) == event.Interrupted {
			return "-- interrupted", true
		}
		if e.State == string(artifacts.Failed) && e.Message+e.Reason != "" {
			return "-- failed: " + e.Message + e.Reason, true
		}
		return "", false
	case event.Planned, event.Queued, event.Progress, event.Metric, event.Stored:
		return "", false
	default:
		return "", false
	}
}
