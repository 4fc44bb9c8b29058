package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
)

// pushing is what is to be brought to the shared cache.
type pushing struct {
	records []artifacts.Digest
	builds  []artifacts.Digest // whose results are among them
}

func newCachePush(a *app) *cobra.Command {
	var path string
	var all bool
	cmd := &cobra.Command{
		Use:   "push [RECIPE]",
		Short: "Bring results to the shared cache",
		Long: `push brings the results of the recipe's last build to the shared cache, with all that other machines need to use them. What is
there already is not sent again. A build does the same by itself; push is for what was built before there was a shared cache, or
while it could not be reached. With --all it brings every result in the cache.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				path = args[0]
			}
			h, err := a.openHouse(path)
			if err != nil {
				return err
			}
			return h.push(cmd.Context(), all)
		},
		ValidArgsFunction: completeRecipes,
	}
	cmd.Flags().BoolVar(&all, "all", false, "every result in the cache")
	a.singleWriting(cmd)
	return cmd
}

func (h *house) push(ctx context.Context, all bool) error {
	settings, err := h.remoteSettings()
	if err != nil {
		return err
	}
	if settings == nil {
		return usage("no shared cache is configured: name one by `remote \"s3\"` in tinfra.hcl, by --remote or by TINFRA_REMOTE")
	}
	if err := readOnly(settings, "cache push"); err != nil {
		return err
	}
	what, err := h.toPush(ctx, all)
	if err != nil {
		return err
	}
	if err := h.begin(); err != nil { // what is on its way must not be collected
		return err
	}
	join := h.join
	if h.recipePath != "" { // what is there of its last build need not be sent again in other pieces
		join = func(ctx context.Context, write bool) error { return h.joinFor(ctx, h.recipePath, write) }
	}
	if err := join(ctx, true); err != nil {
		return err
	}
	for _, d := range what.records {
		h.remote.Share(d)
	}
	if err := h.awaitPush(ctx); err != nil {
		return h.remoteTrouble(ctx, err)
	}
	for _, d := range what.builds {
		if err := h.remote.ShareBuild(ctx, d); err != nil {
			return h.remoteTrouble(ctx, err)
		}
	}
	_, total := h.remote.Progress()
	fmt.Fprintf(h.app.stdout, "%s of %s in the shared cache, %s sent\n",
		view.Count(len(what.records), "result"), view.Count(len(what.builds), "build"), view.Bytes(total))
	return nil
}

// awaitPush shows who waits how far it is.
func (h *house) awaitPush(ctx context.Context) error {
	line := h.app.passing()
	defer line.end()
	waited := make(chan error, 1)
	go func() { waited <- h.remote.Wait(ctx) }() // the loop below ends with it
	tick := time.NewTicker(passingEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-waited:
			return err
		case <-tick.C:
			if done, total := h.remote.Progress(); total > 0 {
				line.say(fmt.Sprintf("to the shared cache: %s of %s", view.Bytes(done), view.Bytes(total)))
			}
		}
	}
}

func (h *house) toPush(ctx context.Context, all bool) (*pushing, error) {
	if all {
		return h.everything(ctx)
	}
	if h.recipePath == "" {
		return nil, usage("name a recipe, or say --all")
	}
	d, b, err := h.buildNamed(ctx, artifacts.RefName(h.recordedPath(h.recipePath)))
	if errors.Is(err, artifacts.ErrMissing) {
		return nil, usage("%s was not built yet in %s", h.recipePath, h.store.Dir())
	}
	if err != nil {
		return nil, err
	}
	return &pushing{recordsOf(b), []artifacts.Digest{d}}, nil
}

// everything is what stands for a key and is whole, and the last build of each recipe that has no other results.
func (h *house) everything(ctx context.Context) (*pushing, error) {
	what, whole := &pushing{}, map[artifacts.Digest]bool{}
	for name, err := range h.store.List(ctx, keysFolder, "") {
		if err != nil {
			return nil, fmt.Errorf("listing the cache: %w", err)
		}
		key, err := artifacts.ParseHex(strings.TrimPrefix(name, keysFolder))
		if err != nil {
			continue // `cache verify` names it
		}
		_, d, err := h.cache.Lookup(ctx, artifacts.Key(key))
		switch {
		case err == nil:
			what.records, whole[d] = append(what.records, d), true
		case !errors.Is(err, artifacts.ErrMissing):
			return nil, err
		}
	}
	for name, err := range h.store.List(ctx, refsFolder, "") {
		if err != nil {
			return nil, fmt.Errorf("listing the cache: %w", err)
		}
		d, b, err := h.buildNamed(ctx, name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(recordsOf(b), func(r artifacts.Digest) bool { return !whole[r] }) {
			what.builds = append(what.builds, d)
		}
	}
	return what, nil
}

const (
	keysFolder = "keys/"
	refsFolder = "refs/"
)

func (h *house) buildNamed(ctx context.Context, ref string) (artifacts.Digest, *artifacts.Build, error) {
	val, _, err := h.store.Get(ctx, ref)
	if err != nil {
		return artifacts.Digest{}, nil, err
	}
	d, err := artifacts.ParseDigest(string(val))
	if err != nil {
		return d, nil, fmt.Errorf("%s: %w", ref, err)
	}
	text, err := h.cache.GetBytes(ctx, d)
	if err != nil {
		return d, nil, err
	}
	b, err := artifacts.DecodeBuild(text)
	return d, b, err
}

// recordsOf are the results of a build, each once.
func recordsOf(b *artifacts.Build) []artifacts.Digest {
	var all []artifacts.Digest
	for _, s := range b.Steps {
		if !s.Record.IsZero() && !slices.Contains(all, s.Record) {
			all = append(all, s.Record)
		}
	}
	return all
}
