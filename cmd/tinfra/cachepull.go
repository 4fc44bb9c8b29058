package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/shared"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
)

func newCachePull(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "pull [RECIPE]",
		Short: "Bring results of the shared cache to this machine",
		Long: `pull brings all bytes of the results of the recipe's last build here, of whichever machine it was: each file is verified by its
digest, and what is here already does not come again. From then on these results are this machine's own, so that a build with
--offline or --remote none finds them, and so is the build: show, log, report and lineage know it. A build needs no pull: it brings what its stages read. Results that the shared cache has
lost are named, the others come all the same, and exit code 5 says so.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				path = args[0]
			}
			h, err := a.openHouse(path)
			if err != nil {
				return err
			}
			return h.pull(cmd.Context())
		},
		ValidArgsFunction: completeRecipes,
	}
	return cmd
}

func (h *house) pull(ctx context.Context) error {
	settings, err := h.remoteSettings()
	switch {
	case err != nil:
		return err
	case settings == nil:
		return usage("no shared cache is configured: name one by `remote \"s3\"` in tinfra.hcl, by --remote or by TINFRA_REMOTE")
	case h.recipePath == "":
		return usage("name a recipe")
	}
	if err := h.begin(); err != nil { // what comes must not be collected before it has its names
		return err
	}
	if err := h.joinFor(ctx, h.recipePath, false); err != nil {
		return err
	}
	b := h.remote.LastBuild()
	if b == nil {
		return usage("the shared cache has no build of %s", h.recipePath)
	}
	keys := keysOf(b)
	line := h.app.passing()
	got, err := h.remote.Pull(ctx, keys, func(done, total int64) {
		line.say(fmt.Sprintf("from the shared cache: %s of %s", view.Bytes(done), view.Bytes(total)))
	})
	line.end()
	if err != nil {
		return h.remoteTrouble(ctx, err)
	}
	fmt.Fprintf(h.app.stdout, "%s of build %s brought here, %s downloaded; %d here before\n",
		view.Count(got.Came, "result"), b.ID, view.Bytes(got.Bytes), got.Here)
	return errors.Join(lostOf(b, got), h.keepBuild(ctx, b))
}

// keepBuild writes the build down, too. One of which the shared cache has lost a part is told of, and not kept: its results came all the same.
func (h *house) keepBuild(ctx context.Context, b *artifacts.Build) error {
	err := h.remote.KeepBuild(ctx, b)
	if err != nil && (errors.Is(err, artifacts.ErrMissing) || errors.Is(err, artifacts.ErrDamaged)) && !errors.Is(err, artifacts.ErrUnreachable) {
		fmt.Fprintf(h.app.stderr, "tinfra: build %s is not listed here: %v\n", b.ID, err)
		return nil
	}
	if err != nil {
		return h.remoteTrouble(ctx, err)
	}
	return nil
}

// lostOf names the stages whose results did not come.
func lostOf(b *artifacts.Build, got shared.Pulled) error {
	if len(got.Lost) == 0 {
		return nil
	}
	var stages []string
	for _, s := range b.Steps {
		if slices.Contains(got.Lost, s.Key) {
			stages = append(stages, s.Address)
		}
	}
	return &failure{code: exitCache, err: fmt.Errorf("%s not in the shared cache as it was: %s; `tinfra build --force STAGE` makes it again",
		view.Count(len(got.Lost), "result"), strings.Join(stages, ", "))}
}

// keysOf are those of the results of a build, each once.
func keysOf(b *artifacts.Build) []artifacts.Key {
	var all []artifacts.Key
	seen := map[artifacts.Key]bool{}
	for _, s := range b.Steps {
		if !s.Record.IsZero() && !seen[s.Key] {
			seen[s.Key] = true
			all = append(all, s.Key)
		}
	}
	return all
}
