package artifacts

import (
	"context"
	"fmt"
)

// Adopt lets a record that has come from elsewhere stand for its key here, and gives the one that does: a sound record that holds the key
// keeps it. The record, its action and all bytes of its outputs must be here; ErrMissing where one is not. Like Publish, it leaves no name
// dangling; runs/ and records/ are set by whoever wrote the record down.
func (c *Cache) Adopt(ctx context.Context, d Digest) (*Record, Digest, error) {
	rec, won, err := c.adopt(ctx, d)
	if err != nil {
		return nil, Digest{}, fmt.Errorf("adopting record %s: %w", d.Short(), err)
	}
	return rec, won, nil
}

func (c *Cache) adopt(ctx context.Context, d Digest) (*Record, Digest, error) {
	if err := c.Hold(ctx, d); err != nil {
		return nil, Digest{}, err
	}
	rec, err := c.Record(ctx, d)
	if err != nil {
		return nil, Digest{}, err
	}
	if err := c.Hold(ctx, rec.Key.Digest()); err != nil {
		return nil, Digest{}, err
	}
	if _, err := c.Action(ctx, rec.Key); err != nil {
		return nil, Digest{}, err
	}
	if err := c.holdOutputs(ctx, rec); err != nil {
		return nil, Digest{}, err
	}
	if err := c.complete(ctx, rec, nil); err != nil {
		return nil, Digest{}, miss(err)
	}
	return c.claim(ctx, rec, d)
}

// holdOutputs is for what complete looks for afterwards.
func (c *Cache) holdOutputs(ctx context.Context, rec *Record) error {
	for port, d := range rec.Outputs {
		if err := c.Hold(ctx, d); err != nil {
			return err
		}
		m, err := c.Manifest(ctx, d)
		if err != nil {
			return fmt.Errorf("output %s: %w", port, err)
		}
		files := make([]Digest, len(m.Files))
		for i, f := range m.Files {
			files[i] = f.Digest
		}
		if err := c.Hold(ctx, files...); err != nil {
			return err
		}
	}
	return nil
}
