package artifacts

import (
	"context"
	"errors"
	"fmt"
)

// ErrUnreadable: something could not be read that might name what is needed, so nothing is collected.
var ErrUnreadable = errors.New("it cannot be told what is needed")

// atOnce is how many names are deleted while builds have to wait.
const atOnce = 64

// Collected is what a collection has deleted.
type Collected struct {
	Results, Blobs int
	Bytes          int64
	Spared         int // results that a build has come to rely on since the plan
}

// Collect deletes what g lists, pointers before blobs, and less where builds have come to need it since. ground must be
// the one that g was found with.
func (c *Cache) Collect(ctx context.Context, sw Sweeper, ground Ground, g *Garbage) (Collected, error) {
	var done Collected
	if len(g.Problems) > 0 {
		p := g.Problems[0]
		return done, fmt.Errorf("%w: %s: %s", ErrUnreadable, p.Name, p.Detail)
	}
	s := sweep{c, sw, ground, &done, make(map[Digest]bool)}
	if err := s.pointers(ctx, g.Results); err != nil {
		return done, fmt.Errorf("collecting garbage: %w", err)
	}
	Reached(StepCollectKeys)
	if err := s.blobs(ctx, g.Blobs); err != nil {
		return done, fmt.Errorf("collecting garbage: %w", err)
	}
	Reached(StepCollectBlobs)
	return done, nil
}

type sweep struct {
	c      *Cache
	sw     Sweeper
	ground Ground
	done   *Collected
	spared map[Digest]bool // files of results that were to go, and stay
}

// pointers: a key that is held by now may have been taken for a hit already. One that is held later is a miss.
func (s *sweep) pointers(ctx context.Context, results []Result) error {
	var going []Result
	for _, r := range results {
		if r.Need == "" {
			going = append(going, r)
		}
	}
	return inParts(ctx, s.ground, going, func(r Result, held map[Digest]bool) error {
		if held[r.Key.Digest()] {
			s.done.Spared++
			for _, d := range r.files {
				s.spared[d] = true
			}
			return nil
		}
		if err := s.sw.Delete(ctx, keyName(r.Key)); err != nil {
			return fmt.Errorf("key %s: %w", r.Key.Short(), err)
		}
		if s.done.Results++; s.done.Results == 1 {
			Reached(StepCollectKey)
		}
		return nil
	})
}

// blobs: no key leads to them any more, and whoever publishes one with them has held them.
func (s *sweep) blobs(ctx context.Context, blobs []Blob) error {
	return inParts(ctx, s.ground, blobs, func(b Blob, held map[Digest]bool) error {
		if held[b.Digest] || s.spared[b.Digest] {
			return nil
		}
		if err := s.sw.Delete(ctx, blobPath(b.Digest)); err != nil {
			return fmt.Errorf("blob %s: %w", b.Digest.Short(), err)
		}
		s.done.Bytes += b.Size
		if s.done.Blobs++; s.done.Blobs == 1 {
			Reached(StepCollectBlob)
		}
		return nil
	})
}

func inParts[T any](ctx context.Context, ground Ground, all []T, do func(T, map[Digest]bool) error) error {
	for len(all) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		part := all[:min(atOnce, len(all))]
		all = all[len(part):]
		err := ground.Still(ctx, func(held map[Digest]bool) error {
			for _, one := range part {
				if err := do(one, held); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
