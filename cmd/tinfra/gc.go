package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

// collecting is what `cache gc` was asked for.
type collecting struct {
	keep    int
	grace   time.Duration
	maxSize string
	apply   bool
	json    bool
}

// keepPieces is how long checkpoints stay that no kept build knows: a download that is not locked yet has no key by
// which a build could name it, and hours may be in them.
const keepPieces = 7 * 24 * time.Hour

func newCacheGC(a *app) *cobra.Command {
	var c collecting
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove results that nothing needs any more",
		Long: `gc says which results would go from the cache, and why the others stay; with --apply it removes them. What stays: what the
last builds of each recipe made, what running builds use, and what is younger than --grace. With --max-size, results that
nothing needs stay too while there is room for them; those longest unused go first. A result that went is made again by
the build that wants it. Records, logs and what ` + "`why`" + ` compares are never removed: lineage outlives the files.

Builds can run meanwhile.`,
		Example: `  tinfra cache gc
  tinfra cache gc --apply
  tinfra cache gc --max-size 200GB --keep 1 --apply`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			size, err := c.check()
			if err != nil {
				return err
			}
			h, err := a.openCache("")
			if err != nil {
				return err
			}
			err = h.collect(cmd.Context(), c, size)
			if err != nil && cmd.Context().Err() == nil && codeOf(err) == exitInternal { // of a folder that cannot be read, or deleted from
				return &failure{code: exitCache, err: err}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.IntVar(&c.keep, "keep", 3, "keep what the last `N` builds of each recipe made: those that ended well, and as many that failed or had a --target")
	f.DurationVar(&c.grace, "grace", time.Hour, "keep what is younger")
	f.StringVar(&c.maxSize, "max-size", "", "remove only until the cache is not larger, as in 200GB (default: remove all that nothing needs)")
	f.BoolVar(&c.apply, "apply", false, "remove it")
	f.BoolVar(&c.json, "json", false, "write JSON")
	return cmd
}

func (c *collecting) check() (size int64, err error) {
	switch {
	case c.keep < 0:
		return 0, usage("--keep %d: give a number of builds from 0 on", c.keep)
	case c.grace < 0:
		return 0, usage("--grace %s: give a time from 0 on, as in 30m", c.grace)
	case c.maxSize == "":
		return 0, nil
	}
	n, err := humanize.ParseBytes(c.maxSize)
	if err != nil || n == 0 || n > 1<<62 {
		return 0, usage("--max-size %s: give a size, as in 200GB or 1.5TiB", c.maxSize)
	}
	return int64(n), nil
}

// rubbish is all that a collection looked at.
type rubbish struct {
	*artifacts.Garbage
	running int
	pieces  []disk.Kept // checkpoints that go
	done    *collectedJSON
}

func (h *house) collect(ctx context.Context, c collecting, size int64) (err error) {
	ground := h.store.Ground()
	if c.apply {
		if err := h.writable(); err != nil {
			return err
		}
		if ground, err = h.store.Collecting(ctx); err != nil {
			return &failure{code: exitCache, err: err}
		}
	}
	defer func() { err = errors.Join(err, ground.Close()) }()
	now := time.Now()
	found, err := h.cache.FindGarbage(ctx, h.store, ground, artifacts.Policy{Keep: c.keep, Grace: c.grace, MaxSize: size, Now: now})
	if err != nil {
		return err
	}
	r := &rubbish{Garbage: found, running: ground.Builds()}
	if r.pieces, err = h.abandoned(ctx, found, now, c.grace); err != nil {
		return err
	}
	if !c.json {
		if err := h.writeRubbish(r, c, size); err != nil {
			return err
		}
	}
	if len(r.Problems) == 0 && c.apply {
		if r.done, err = h.sweep(ctx, ground, r); err != nil {
			if !c.json && r.done.Results+r.done.Files > 0 {
				h.writeCollected(r)
			}
			return err
		}
	}
	if c.json {
		if err := writeJSON(h.app.stdout, r.json(h.store.Dir())); err != nil {
			return err
		}
	}
	if len(r.Problems) > 0 {
		return &failure{code: exitCache, err: errors.New("what cannot be read might name what is needed, so nothing is removed; " +
			"see `tinfra cache verify`, and --repair there")}
	}
	if !c.json {
		h.writeCollected(r)
	}
	return nil
}

// abandoned are the checkpoints of what no kept build tried to make.
func (h *house) abandoned(ctx context.Context, g *artifacts.Garbage, now time.Time, grace time.Duration) ([]disk.Kept, error) {
	all, err := h.store.Checkpoints(ctx)
	if err != nil {
		return nil, err
	}
	var out []disk.Kept
	for _, k := range all {
		age := now.Sub(k.Changed)
		if !g.Wants(k.Key) && age >= max(grace, keepPieces) {
			out = append(out, k)
		}
	}
	return out, nil
}

func (h *house) sweep(ctx context.Context, ground *disk.Ground, r *rubbish) (*collectedJSON, error) {
	done, err := h.cache.Collect(ctx, h.store, ground, r.Garbage)
	out := &collectedJSON{Results: done.Results, Files: done.Blobs, Bytes: done.Bytes, Spared: done.Spared}
	if err != nil {
		return out, err
	}
	for _, k := range r.pieces {
		ok := false
		err := ground.Still(ctx, func(held map[artifacts.Digest]bool) (err error) {
			if !held[k.Key.Digest()] { // a build that began since the plan may be about to go on from it
				ok, err = h.store.Abandon(k.Key)
			}
			return err
		})
		if err != nil {
			return out, fmt.Errorf("collecting garbage: %w", err)
		}
		if !ok {
			continue
		}
		out.Bytes += k.Bytes
		if out.Checkpoints++; out.Checkpoints == 1 {
			artifacts.Reached(artifacts.StepCollectCheckpoint)
		}
	}
	envs, err := h.environments(true)
	if err == nil {
		envs.Sweep()
	}
	return out, errors.Join(err, h.store.SweepWork(ctx), h.store.ForgetFiles(ctx), h.store.ForgetPlans(ctx))
}
