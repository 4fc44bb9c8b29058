package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
)

func newWhy(a *app) *cobra.Command {
	var s selection
	var path string
	var asJSON, offline bool
	cmd := &cobra.Command{
		Use:   "why STAGE",
		Short: "Say what has changed about a stage since the last build",
		Long: `why compares what decides a stage's output now with what decided it in the last build that holds the stage, field by
field, with the line of the recipe that each change comes from. Where an input has changed, it goes on to the stage that
makes it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if path == "" {
				var err error
				if path, err = onlyRecipe("."); err != nil {
					return err
				}
			}
			st, h, known := a.standingNow(cmd.Context(), path, s, offline)
			if st != nil {
				if told, err := h.whyBefore(cmd.Context(), st, canonical(args[0]), asJSON); told || err != nil {
					return err
				}
			}
			t, err := a.survey(cmd.Context(), path, &s, surveying{offline: true, alone: offline, known: known})
			if err != nil {
				return err
			}
			steps := t.stepsOf(canonical(args[0]))
			if len(steps) == 0 {
				return usage("%s has no stage %s; `tinfra graph %s` lists them", path, args[0], path)
			}
			return t.explain(cmd, steps, asJSON)
		},
		ValidArgsFunction: a.completeStages,
	}
	s.values(cmd)
	cmd.Flags().StringVar(&path, "recipe", "", "the recipe (default: the one in this folder)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	alone(cmd, &offline)
	_ = cmd.RegisterFlagCompletionFunc("recipe", completeRecipes) // fails only for a flag that is not there
	return cmd
}

// whyBefore answers for stages of a request whose last build still stands, where that was the recipe's last build, too: then nothing
// has changed.
func (h *house) whyBefore(ctx context.Context, st *standing, named string, asJSON bool) (told bool, err error) {
	last, err := h.lastBuild(ctx, st.Build.RecipePath)
	if last == nil || err != nil {
		return false, err
	}
	olds := make(map[string]artifacts.Step, len(last.Steps))
	for _, old := range last.Steps {
		olds[old.Address] = old
	}
	all := []causeJSON{}
	for i := range st.Stages {
		one := &st.Stages[i]
		if !covers(named, one.Address) {
			continue
		}
		if old := olds[one.Address]; old.Key != one.Key || old.Record != one.Record {
			return false, nil
		}
		all = append(all, causeJSON{
			Stage: one.Address, State: plan.Hit, Reason: plan.InTheCache, Key: &one.Key, OldKey: &one.Key, Note: plan.NothingChanged, Changes: []changeJSON{},
		})
	}
	if len(all) == 0 {
		return false, nil
	}
	if asJSON {
		return true, writeJSON(h.app.stdout, all)
	}
	for i, c := range all {
		if i > 0 {
			fmt.Fprintln(h.app.stdout)
		}
		fmt.Fprintf(h.app.stdout, "%s  %s: %s\n  %s\n", c.Stage, c.State, c.Reason, c.Note)
	}
	return true, nil
}

// stepsOf are the step of an address, or those of all instances of a block, or of all stages of a module.
func (t *site) stepsOf(named string) []*plan.Step {
	var out []*plan.Step
	for _, s := range t.plan.Steps {
		if covers(named, s.Node.Stage.Address) {
			out = append(out, s)
		}
	}
	return out
}

func (t *site) explain(cmd *cobra.Command, steps []*plan.Step, asJSON bool) error {
	all := []causeJSON{}
	for i, step := range steps {
		c, err := t.plan.Why(cmd.Context(), step)
		if err != nil {
			return err
		}
		if asJSON {
			all = append(all, t.causeJSON(c, map[*plan.Cause]bool{}))
			continue
		}
		if i > 0 {
			fmt.Fprintln(t.app.stdout)
		}
		fmt.Fprintf(t.app.stdout, "%s  %s: %s\n", step.Node.Stage.Address, step.State, t.reason(step))
		t.writeCause(t.app.stdout, c, "  ", map[*plan.Cause]bool{})
	}
	if asJSON {
		return writeJSON(t.app.stdout, all)
	}
	return nil
}

// writeCause writes what changed, and below each changed input why it did. A cause that two inputs share is written
// once.
func (t *site) writeCause(w io.Writer, c *plan.Cause, indent string, seen map[*plan.Cause]bool) {
	if seen[c] {
		fmt.Fprintf(w, "%s(as above)\n", indent)
		return
	}
	seen[c] = true
	for _, change := range c.Changes {
		fmt.Fprintf(w, "%s%s\n", indent, change)
		if change.Range.Filename != "" {
			fmt.Fprintf(w, "%s    at %s:%d\n", indent, shown(change.Range.Filename), change.Range.Start.Line)
		}
	}
	if c.Note != "" {
		fmt.Fprintf(w, "%s%s\n", indent, c.Note)
	}
	for _, because := range c.Because {
		fmt.Fprintf(w, "%sbecause of %s\n", indent, because.Step.Node.Stage.Address)
		t.writeCause(w, because, indent+"  ", seen)
	}
}

// causeJSON is a cause for programs.
type causeJSON struct {
	Stage   string         `json:"stage"`
	State   plan.State     `json:"state"`
	Reason  string         `json:"reason"`
	Key     *artifacts.Key `json:"key,omitempty"`
	OldKey  *artifacts.Key `json:"oldKey,omitempty"`
	Note    string         `json:"note,omitempty"`
	Changes []changeJSON   `json:"changes"`
	Because []causeJSON    `json:"because,omitempty"`
}

type changeJSON struct {
	Field string `json:"field"`
	Old   string `json:"old,omitempty"`
	New   string `json:"new,omitempty"`
	From  string `json:"from,omitempty"`
	File  string `json:"file,omitempty"`
	Line  int    `json:"line,omitempty"`
}

func (t *site) causeJSON(c *plan.Cause, seen map[*plan.Cause]bool) causeJSON {
	j := causeJSON{
		Stage: c.Step.Node.Stage.Address, State: c.Step.State, Reason: t.reason(c.Step), Note: c.Note, Changes: []changeJSON{},
	}
	if !c.Step.Key.IsZero() {
		j.Key = &c.Step.Key
	}
	if !c.Old.Key.IsZero() {
		j.OldKey = &c.Old.Key
	}
	for _, ch := range c.Changes {
		j.Changes = append(j.Changes, changeJSON{ch.Field, ch.Old, ch.New, ch.From, ch.Range.Filename, ch.Range.Start.Line})
	}
	if seen[c] {
		return j
	}
	seen[c] = true
	for _, because := range c.Because {
		j.Because = append(j.Because, t.causeJSON(because, seen))
	}
	return j
}
