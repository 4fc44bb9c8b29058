package shared

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
)

// Begin reads the last build of the recipe at that path, and its index, of every bucket that has one. None is no error, nor is one that is
// damaged.
func (r *Remote) Begin(ctx context.Context, recipePath string) error {
	builds := make([]*artifacts.Build, len(r.reads))
	all, each := errgroup.WithContext(ctx)
	for i, p := range r.reads {
		all.Go(func() (err error) {
			builds[i], err = r.beginAt(each, p, artifacts.RefName(recipePath))
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return fmt.Errorf("asking the shared cache for the last build of %s: %w", recipePath, err)
	}
	for _, b := range builds {
		if b != nil {
			r.last.Store(b)
			return nil
		}
	}
	return nil
}

// beginAt gives nil where there is no build that can be read.
func (r *Remote) beginAt(ctx context.Context, p *bucket.Place, ref string) (*artifacts.Build, error) {
	val, _, err := r.pointer(ctx, p, ref)
	if err == nil {
		d, parsed := artifacts.ParseDigest(string(val))
		if parsed == nil {
			err = r.readIndex(ctx, p, d)
		}
	}
	var b *artifacts.Build
	if err == nil {
		b, err = r.buildOf(ctx, p, ref, val)
	}
	switch {
	case err == nil:
		return b, nil
	case !gone(err):
		return nil, err
	case !absent(err):
		slog.DebugContext(ctx, "the shared cache has no readable last build", "name", ref, "error", err)
	}
	return nil, nil
}

// LastBuild is the build that Begin has found, or nil.
func (r *Remote) LastBuild() *artifacts.Build { return r.last.Load() }

// lastBuild also gives the version of the name, so that it can be replaced.
func (r *Remote) lastBuild(ctx context.Context, ref string) (*artifacts.Build, artifacts.Version, error) {
	val, v, err := r.replaceable(ctx, ref)
	if err != nil {
		return nil, v, err
	}
	b, err := r.buildOf(ctx, r.write, ref, val)
	return b, v, err
}

// buildOf reads the build that a name leads to. One that is missing makes the name a damaged one.
func (r *Remote) buildOf(ctx context.Context, p *bucket.Place, ref string, val []byte) (*artifacts.Build, error) {
	d, err := artifacts.ParseDigest(string(val))
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", ref, artifacts.ErrDamaged, err)
	}
	raw, err := r.blob(ctx, p, d)
	if err != nil {
		if gone(err) {
			return nil, fmt.Errorf("%s: %w: %w", ref, artifacts.ErrDamaged, err)
		}
		return nil, err
	}
	b, err := artifacts.DecodeBuild(raw)
	if err == nil && artifacts.RefName(b.RecipePath) != ref {
		err = fmt.Errorf("%s: %w: it leads to a build of %s", ref, artifacts.ErrDamaged, b.RecipePath)
	}
	return b, err
}

// ShareBuild brings a build of this machine to the bucket, after the results that it names: those that are not there yet are shared first.
// Where one cannot be, the build is not shared either.
func (r *Remote) ShareBuild(ctx context.Context, d artifacts.Digest) error {
	if r.write == nil {
		return nil
	}
	raw, err := r.cache.GetBytes(ctx, d)
	if err != nil {
		return err
	}
	b, err := artifacts.DecodeBuild(raw)
	if err != nil {
		return err
	}
	for _, s := range b.Steps {
		r.Share(s.Record)
	}
	if err := r.Wait(ctx); err != nil {
		return err
	}
	if err := r.shareBuild(ctx, b, d); err != nil {
		return fmt.Errorf("sharing build %s: %w", b.ID, err)
	}
	return nil
}

func (r *Remote) shareBuild(ctx context.Context, b *artifacts.Build, d artifacts.Digest) error {
	if err := r.sendHistory(ctx, b); err != nil {
		return err
	}
	if err := r.send(ctx, d); err != nil {
		return err
	}
	artifacts.Reached(artifacts.StepShareBuild)
	if err := r.sendIndex(ctx, b, d); err != nil {
		return err
	}
	artifacts.Reached(artifacts.StepShareIndex)
	build, ref := b.Names(d)
	if err := r.name(ctx, build, d); err != nil {
		return err
	}
	artifacts.Reached(artifacts.StepShareBuilds)
	if err := r.setLast(ctx, b, d, ref); err != nil {
		return err
	}
	artifacts.Reached(artifacts.StepShareRefs)
	return nil
}

// sendHistory brings what a build names besides records: the logs of failed steps are named by no record. What this machine has lost of
// it, it cannot share, and has said so.
func (r *Remote) sendHistory(ctx context.Context, b *artifacts.Build) error {
	all := append(slices.Collect(maps.Values(b.Modules)), b.Recipe, b.Lock)
	for _, s := range b.Steps {
		if s.Record.IsZero() {
			all = append(all, s.Log)
		}
	}
	sends, each := errgroup.WithContext(ctx)
	sends.SetLimit(smallAtOnce)
	for _, d := range all {
		if d.IsZero() {
			continue
		}
		sends.Go(func() error {
			err := r.send(each, d)
			if err != nil && gone(err) {
				slog.DebugContext(ctx, "a part of a build is not shared", "build", b.ID, "error", err)
				return nil
			}
			return err
		})
	}
	return sends.Wait()
}

// setLast makes it its recipe's last build, unless a later one is that already. A build of a clock that is ahead of ours is later than all
// for a long time, and still it is older.
func (r *Remote) setLast(ctx context.Context, b *artifacts.Build, d artifacts.Digest, ref string) error {
	for {
		last, v, err := r.lastBuild(ctx, ref)
		switch {
		case err == nil && last.ID >= b.ID && !last.Started.After(time.Now()):
			return nil
		case err != nil && !absent(err) && (!gone(err) || v == artifacts.Absent):
			return err
		}
		if err = r.set(ctx, ref, d, v); !errors.Is(err, artifacts.ErrConflict) {
			return err
		}
	}
}
