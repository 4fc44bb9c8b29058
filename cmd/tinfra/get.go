package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
	"github.com/Ruihan11/tiny-infra/pipeline/run/local"
)

func newGet(a *app) *cobra.Command {
	var s lookup
	var dir string
	var offline bool
	cmd := &cobra.Command{
		Use:   "get OUTPUT|STAGE.PORT|DIGEST -o FOLDER",
		Short: "Write an output to a folder",
		Long: `get writes files of the last build to a folder of yours: those of an output of the recipe, as in
` + "`tinfra get model -o ./model`" + `, of a stage, as in ` + "`tinfra get gptq.int4.model -o ./model`" + `, or those of a digest or the
beginning of one. The port can be left out where a stage has one output. The folder must be new or empty. The files are
yours to change: they are copies. Those that only the shared cache has are brought from there, and a result of which all has come is
found without it from then on; where this machine has not built the recipe, the last build there counts.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir == "" {
				return usage("say where to, with -o FOLDER\nUsage: %s", cmd.UseLine())
			}
			h, err := a.openHouse(s.recipe)
			if err != nil {
				return err
			}
			h.asks = !offline
			return h.get(cmd.Context(), args[0], dir, s)
		},
		ValidArgsFunction: a.completePorts,
	}
	s.flags(cmd)
	alone(cmd, &offline)
	cmd.Flags().StringVarP(&dir, "output", "o", "", "the folder to write to")
	return cmd
}

func (h *house) get(ctx context.Context, what, dir string, s lookup) error {
	d, of, err := h.outputDigest(ctx, what, s)
	if err != nil {
		return err
	}
	m, err := h.cache.Manifest(ctx, d)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := mustBeEmpty(dir); err != nil {
		return err
	}
	if err := h.warnUnfit(ctx, what, m); err != nil {
		return err
	}
	if err := h.present(ctx, what, m); err != nil {
		return err
	}
	if err := h.store.Extract(ctx, m, dir); err != nil {
		return fmt.Errorf("writing %s: %w", what, err)
	}
	h.own(ctx, of)
	mark := ""
	if _, ok := m.Labels[run.LabelSynthetic]; ok {
		mark = "  " + syntheticMark
	}
	fmt.Fprintf(h.app.stdout, "%s: %s, %s → %s%s\n", what, view.Count(len(m.Files), "file"), view.Bytes(m.Size()), dir, mark)
	return nil
}

// warnUnfit says that what is about to be brought is of no use on this machine. It may be meant for another one.
func (h *house) warnUnfit(ctx context.Context, what string, m *artifacts.Manifest) error {
	if !plan.MadeFor(m) {
		return nil
	}
	facts, err := local.New(local.Options{Facts: limits(h.project.Local)}).Facts(ctx)
	if err != nil {
		return fmt.Errorf("asking this machine for its facts: %w", err)
	}
	if misfit := plan.MisfitOf(m, facts); misfit != nil {
		fmt.Fprintf(h.app.stderr, "tinfra: warning: %s %s\n", what, view.Printable(misfit.String()))
	}
	return nil
}

// present brings the files here that only the shared cache has, and says before anything is written that some were collected, or deleted.
func (h *house) present(ctx context.Context, what string, m *artifacts.Manifest) error {
	blobs := make([]artifacts.Blob, 0, len(m.Files))
	for _, f := range m.Files {
		blobs = append(blobs, f.Blob)
	}
	if h.store.Present(ctx, blobs) == nil {
		return nil
	}
	if fetched, err := h.fetch(ctx, what, m); fetched || err != nil {
		return err
	}
	for _, f := range m.Files {
		_, err := h.store.Stat(ctx, f.Digest)
		if errors.Is(err, artifacts.ErrMissing) {
			return fmt.Errorf("%s: %s: %w any more: it was collected or deleted; `tinfra build` with the same recipe and values makes it again",
				what, f.Path, err)
		}
	}
	return nil
}

// own makes a hit of this machine of the result of a step, where all its bytes have come. Nobody has asked for that: what is in the way
// keeps nothing from anyone.
func (h *house) own(ctx context.Context, of artifacts.Step) {
	if h.remote == nil || of.Record.IsZero() {
		return
	}
	local := artifacts.NewCache(h.store, h.store)
	_, _, err := local.Adopt(ctx, of.Record)
	if errors.Is(err, artifacts.ErrMissing) { // it may be described by the shared cache only
		if _, _, err = h.remote.Find(ctx, of.Key); err == nil {
			err = h.remote.Keep(ctx)
		}
	}
	if err != nil {
		slog.DebugContext(ctx, "a result that was fetched is no hit of this machine", "record", of.Record.Short(), "error", err)
	}
}

// outputDigest is an output, and the step that it is of; none where it was named by its digest.
func (h *house) outputDigest(ctx context.Context, what string, s lookup) (artifacts.Digest, artifacts.Step, error) {
	if name, _, _ := strings.Cut(what, "["); !looksLikeAddress(name) {
		named, err := h.namedOutput(ctx, what, s)
		switch {
		case err == nil:
			what = named
		case isDigest(what): // a digest may look like a name, and a name like a digest: the recipe's own word comes first
			d, err := h.findDigest(ctx, what)
			return d, artifacts.Step{}, err
		default:
			return artifacts.Digest{}, artifacts.Step{}, err
		}
	}
	address, port := splitPort(what)
	step, err := h.findStep(ctx, address, s)
	if err != nil {
		return artifacts.Digest{}, step, err
	}
	if step.Record.IsZero() {
		return artifacts.Digest{}, step, usage("%s made nothing: it is %s (%s)", address, step.State, step.Reason)
	}
	rec, err := h.cache.Record(ctx, step.Record)
	if err != nil {
		return artifacts.Digest{}, step, err
	}
	ports := sortedKeys(rec.Outputs)
	if port == "" && len(ports) == 1 {
		port = ports[0]
	}
	d, ok := rec.Outputs[port]
	if !ok {
		return artifacts.Digest{}, step, usage("%s has no output %q; it has: %s", address, port, strings.Join(ports, ", "))
	}
	return d, step, nil
}

func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return usage("%w", err)
	case len(entries) > 0:
		return usage("%s is not empty; name a new folder", dir)
	}
	return nil
}
