package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
)

func newShow(a *app) *cobra.Command {
	var s lookup
	var asJSON, offline bool
	cmd := &cobra.Command{
		Use:   "show [BUILD|STAGE|DIGEST]",
		Short: "Show a build, a stage's record, or anything stored",
		Long: `show describes a build (its ID or the beginning of it), the record of a stage in the last build, or whatever is stored
under a digest or the beginning of one: a manifest, an action, a record, a build, a file (of safetensors or GGUF, its tensors).
Without an argument it shows the last build. Where this machine has not built the recipe, that is the last one in the shared
cache.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := a.openHouse(s.recipe)
			if err != nil {
				return err
			}
			h.asks = !offline
			what := ""
			if len(args) == 1 {
				what = args[0]
			}
			return h.show(cmd.Context(), what, s, asJSON)
		},
		ValidArgsFunction: a.completeStages,
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	alone(cmd, &offline)
	return cmd
}

func (h *house) show(ctx context.Context, what string, s lookup, asJSON bool) error {
	if what == "" {
		b, err := h.findBuild(ctx, s)
		if err != nil {
			return err
		}
		return h.showBuild(ctx, b, asJSON)
	}
	if looksLikeAddress(what) {
		address, _ := splitPort(what)
		step, err := h.findStep(ctx, address, s)
		if err != nil {
			return err
		}
		return h.showStep(ctx, step, asJSON)
	}
	b, err := h.cache.Build(ctx, what)
	if err == nil {
		return h.showBuild(ctx, b, asJSON)
	}
	if !errors.Is(err, artifacts.ErrMissing) {
		return err
	}
	d, err := h.findDigest(ctx, what)
	if err != nil {
		return err
	}
	return h.showObject(ctx, d, asJSON)
}

func (h *house) showBuild(ctx context.Context, b *artifacts.Build, asJSON bool) error {
	if asJSON {
		return writeJSON(h.app.stdout, b)
	}
	w := h.app.stdout
	fmt.Fprintf(w, "build     %s\nrecipe    %s (%s)\nstarted   %s on %s, %s\nexit      %d\n",
		b.ID, b.RecipePath, b.Recipe.Short(), b.Started.Local().Format(time.DateTime), b.Host,
		view.Duration(b.Ended.Sub(b.Started)), b.Exit)
	for _, path := range sortedKeys(b.Modules) {
		fmt.Fprintf(w, "module    %s (%s)\n", path, b.Modules[path].Short())
	}
	if b.Commit != "" {
		fmt.Fprintf(w, "commit    %s\n", b.Commit)
	}
	for _, name := range sortedKeys(b.Variables) {
		fmt.Fprintf(w, "variable  %s = %s\n", name, b.Variables[name])
	}
	if b.Problem != "" {
		fmt.Fprintf(w, "problem   %s\n", b.Problem)
	}
	fmt.Fprintln(w)
	rows := make([][]string, 0, len(b.Steps))
	for _, s := range b.Steps {
		key := ""
		if !s.Key.IsZero() {
			key = s.Key.Short()
		}
		reason := s.Reason
		if _, ok, err := h.synthetic(ctx, s.Record); err != nil {
			return err
		} else if ok {
			reason += "  " + syntheticMark
		}
		rows = append(rows, []string{s.Address, string(s.State), key, reason})
	}
	return view.Table(w, []string{"STAGE", "RESULT", "KEY", "REASON"}, rows)
}

// stepJSON is a step of a build with what stands behind it.
type stepJSON struct {
	artifacts.Step
	Action *artifacts.Action `json:"action,omitempty"`
	Result *artifacts.Record `json:"result,omitempty"`
}

func (h *house) showStep(ctx context.Context, s artifacts.Step, asJSON bool) error {
	j := stepJSON{Step: s}
	if !s.Key.IsZero() {
		if action, err := h.cache.Action(ctx, s.Key); err == nil {
			j.Action = action
		} else if !errors.Is(err, artifacts.ErrMissing) {
			return err
		}
	}
	if !s.Record.IsZero() {
		rec, err := h.cache.Record(ctx, s.Record)
		if err != nil {
			return err
		}
		j.Result = rec
	}
	if asJSON {
		return writeJSON(h.app.stdout, j)
	}
	w := h.app.stdout
	fmt.Fprintf(w, "stage     %s (%s)\nresult    %s\n", s.Address, s.Kind, s.State)
	if s.Reason != "" {
		fmt.Fprintf(w, "reason    %s\n", s.Reason)
	}
	if j.Action != nil {
		fmt.Fprintf(w, "key       %s\n", s.Key)
		h.writeAction(j.Action)
	}
	if j.Result != nil {
		fmt.Fprintf(w, "record    %s\n", s.Record)
		return h.writeRecord(ctx, j.Result)
	}
	return nil
}

func (h *house) writeAction(action *artifacts.Action) {
	w := h.app.stdout
	fmt.Fprintf(w, "params    %s\n", action.Params)
	for _, name := range sortedKeys(action.Inputs) {
		fmt.Fprintf(w, "input     %s = %s\n", name, action.Inputs[name])
	}
	fmt.Fprintf(w, "worker    %s\n", action.Worker)
	if !action.Env.IsZero() {
		fmt.Fprintf(w, "env       %s\n", action.Env)
	}
	for _, name := range sortedKeys(action.Facts) {
		fmt.Fprintf(w, "fact      %s = %s\n", name, action.Facts[name])
	}
	if action.Salt != "" {
		fmt.Fprintf(w, "salt      %s\n", action.Salt)
	}
}

func (h *house) writeRecord(ctx context.Context, r *artifacts.Record) error {
	w := h.app.stdout
	fmt.Fprintf(w, "ran       %s, %s, by %s\n", r.Started.Local().Format(time.DateTime), view.Duration(r.Ended.Sub(r.Started)), r.Builder)
	for _, name := range sortedKeys(r.Metrics) {
		fmt.Fprintf(w, "metric    %s = %s\n", name, view.Number(r.Metrics[name]))
	}
	for _, name := range sortedKeys(r.Observed) {
		fmt.Fprintf(w, "observed  %s = %s\n", name, r.Observed[name])
	}
	for _, port := range sortedKeys(r.Outputs) {
		m, err := h.cache.Manifest(ctx, r.Outputs[port])
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "\noutput    %s %s\n", port, r.Outputs[port])
		if err := h.writeManifest(m); err != nil {
			return err
		}
	}
	return nil
}

func (h *house) writeManifest(m *artifacts.Manifest) error {
	w := h.app.stdout
	fmt.Fprintf(w, "type      %s, %s in %s\n", m.Type, view.Bytes(m.Size()), view.Count(len(m.Files), "file"))
	for _, name := range sortedKeys(m.Labels) {
		fmt.Fprintf(w, "label     %s = %s\n", name, m.Labels[name])
	}
	rows := make([][]string, 0, len(m.Files))
	for _, f := range m.Files {
		rows = append(rows, []string{"  " + f.Path, view.Bytes(f.Size), f.Digest.Hex()})
	}
	return view.Table(w, []string{"  FILE", "SIZE", "SHA256"}, rows)
}

// showObject tells by trying what a digest names: each decoder refuses what is not its own.
func (h *house) showObject(ctx context.Context, d artifacts.Digest, asJSON bool) error {
	const most = 64 << 20 // bytes; more is no object but a file
	size, err := h.cache.Stat(ctx, d)
	if err != nil {
		return err
	}
	var b []byte
	if size <= most {
		if b, err = h.cache.GetBytes(ctx, d); err != nil {
			return err
		}
	}
	w := h.app.stdout
	if m, err := artifacts.DecodeManifest(b); err == nil {
		if asJSON {
			return writeJSON(w, m)
		}
		fmt.Fprintf(w, "manifest  %s\n", d)
		return h.writeManifest(m)
	}
	if r, err := artifacts.DecodeRecord(b); err == nil {
		if asJSON {
			return writeJSON(w, r)
		}
		fmt.Fprintf(w, "record    %s\nkey       %s\n", d, r.Key)
		return h.writeRecord(ctx, r)
	}
	if action, err := artifacts.DecodeAction(b); err == nil {
		if asJSON {
			return writeJSON(w, action)
		}
		fmt.Fprintf(w, "action    %s\nkind      %s\n", d, action.Kind)
		h.writeAction(action)
		return nil
	}
	if build, err := artifacts.DecodeBuild(b); err == nil {
		return h.showBuild(ctx, build, asJSON)
	}
	file := h.describeFile(ctx, d, size)
	if asJSON {
		return writeJSON(w, file)
	}
	fmt.Fprintf(w, "file      %s\nsize      %s\n", d, view.Bytes(size))
	if json.Valid(b) && len(b) < 1<<16 {
		fmt.Fprintf(w, "%s\n", b)
	}
	return h.writeTensors(file.Tensors)
}
