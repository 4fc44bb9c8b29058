package artifacts

import (
	"context"
	"errors"
	"fmt"
)

// Publish makes rec known, in an order that leaves no name dangling wherever it stops: record, runs/, records/, keys/.
// Its action, its outputs' manifests and their files must be in the Store. The first record of a key wins and is
// returned; a later one is kept under runs/ and records/ all the same, and takes the key only where the winner's
// outputs are missing or damaged.
func (c *Cache) Publish(ctx context.Context, rec *Record) (*Record, Digest, error) {
	won, d, err := c.publish(ctx, rec)
	if err != nil {
		return nil, Digest{}, fmt.Errorf("publishing %s: %w", rec.Key.Short(), err)
	}
	return won, d, nil
}

func (c *Cache) publish(ctx context.Context, rec *Record) (*Record, Digest, error) {
	b, d, err := rec.Encode()
	if err != nil {
		return nil, Digest{}, err
	}
	if _, err := c.Action(ctx, rec.Key); err != nil {
		return nil, Digest{}, err
	}
	if err := c.complete(ctx, rec); err != nil {
		return nil, Digest{}, err
	}
	if _, err := c.PutBytes(ctx, RecordMediaType, b); err != nil {
		return nil, Digest{}, err
	}
	Reached(StepRecord)
	if err := c.create(ctx, runName(rec.Key, d), d); err != nil {
		return nil, Digest{}, err
	}
	Reached(StepRuns)
	if err := c.create(ctx, recordName(day(rec.Ended), d.Hex()), d); err != nil {
		return nil, Digest{}, err
	}
	Reached(StepRecords)
	won, wd, err := c.claim(ctx, rec, d)
	if err != nil {
		return nil, Digest{}, err
	}
	Reached(StepKeys)
	return won, wd, nil
}

// create sets a pointer that has one possible value: finding that there is success. Any other is a damaged one.
func (c *Cache) create(ctx context.Context, name string, d Digest) error {
	version := Absent
	for {
		_, err := c.Set(ctx, name, []byte(d.String()), version)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return fmt.Errorf("%s: %w", name, err)
		}
		var val []byte
		val, version, err = c.Get(ctx, name)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && string(val) == d.String():
			return nil
		case err != nil && !errors.Is(err, ErrMissing):
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

// claim sets the key unless a sound record holds it. Each turn of the loop that does not end means that another build
// changed the pointer in between.
func (c *Cache) claim(ctx context.Context, rec *Record, d Digest) (*Record, Digest, error) {
	for {
		won, wd, v, err := c.lookup(ctx, rec.Key)
		if err == nil {
			return won, wd, nil
		}
		if !errors.Is(err, ErrMissing) {
			return nil, Digest{}, err
		}
		_, err = c.Set(ctx, keyName(rec.Key), []byte(d.String()), v)
		if err == nil {
			return rec, d, nil
		}
		if !errors.Is(err, ErrConflict) {
			return nil, Digest{}, err
		}
		if err := ctx.Err(); err != nil {
			return nil, Digest{}, context.Cause(ctx)
		}
	}
}
