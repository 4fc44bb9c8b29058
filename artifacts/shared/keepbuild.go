package shared

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// KeepBuild writes down here a build that Begin has found, with all that it names but the bytes of outputs: its history is then as if it
// had run here. It becomes its recipe's last build, unless a later one is that. Where the buckets have lost a part of it the error is
// ErrMissing or ErrDamaged, and there is no such build here.
func (r *Remote) KeepBuild(ctx context.Context, b *artifacts.Build) error {
	r.keeping.Lock()
	defer r.keeping.Unlock()
	for _, step := range []func(context.Context, *artifacts.Build) error{r.keepRecords, r.keepParts} {
		if err := step(ctx, b); err != nil {
			return fmt.Errorf("writing down build %s: %w", b.ID, err)
		}
	}
	_, err := r.cache.PutBuild(ctx, b)
	return err
}

// keepRecords: of a key that another record stands for here, or there, the build's own may not have come.
func (r *Remote) keepRecords(ctx context.Context, b *artifacts.Build) error {
	found := make([]*finding, len(b.Steps))
	all, each := errgroup.WithContext(ctx)
	all.SetLimit(smallAtOnce)
	for i, s := range b.Steps {
		if s.Record.IsZero() {
			continue
		}
		all.Go(func() error {
			if _, err := r.cache.Record(each, s.Record); err == nil {
				return nil
			}
			return r.anywhere(func(at int) (err error) {
				found[i], err = r.follow(each, r.reads[at], s.Key, []byte(s.Record.String()), r.blob)
				return err
			})
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(f *finding) bool { return f == nil })
	return r.writeDown(ctx, found)
}

// keepParts brings what a build names besides records.
func (r *Remote) keepParts(ctx context.Context, b *artifacts.Build) error {
	names := append(slices.Collect(maps.Values(b.Modules)), b.Recipe, b.Lock)
	for _, s := range b.Steps {
		names = append(names, s.Log)
	}
	blobs := make([]artifacts.Payload, len(names))
	all, each := errgroup.WithContext(ctx)
	all.SetLimit(smallAtOnce)
	for i, d := range names {
		if d.IsZero() {
			continue
		}
		if _, err := r.local.Stat(ctx, d); err == nil {
			continue
		}
		all.Go(func() error {
			return r.anywhere(func(at int) error {
				bytes, err := r.blob(each, r.reads[at], d)
				blobs[i] = artifacts.Payload{Blob: artifacts.Blob{Digest: d, Size: int64(len(bytes))}, Bytes: bytes}
				return err
			})
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	blobs = slices.DeleteFunc(blobs, func(p artifacts.Payload) bool { return p.Digest.IsZero() })
	return errors.Join(r.putAll(ctx, blobs)...)
}

// Blob gives a small blob of any of the buckets, whole and verified. It is not written down here.
func (r *Remote) Blob(ctx context.Context, d artifacts.Digest) (b []byte, err error) {
	err = r.anywhere(func(at int) error {
		b, err = r.blob(ctx, r.reads[at], d)
		return err
	})
	return b, err
}

// anywhere asks one bucket after the other, until one has it.
func (r *Remote) anywhere(ask func(at int) error) (err error) {
	for at := range r.reads {
		if err = ask(at); err == nil || !gone(err) {
			return err
		}
	}
	return err
}
