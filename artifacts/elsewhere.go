package artifacts

import (
	"context"
	"errors"
)

// Elsewhere is another place that may have what this one lacks: a bucket that machines share. What it finds is verified, and described
// here by the time Find returns, so that Record, Manifest and Action can be asked of it; the bytes of outputs may stay there. ErrMissing
// where it has nothing either.
type Elsewhere interface {
	Find(ctx context.Context, k Key) (*Record, Digest, error)
}

// Beside is c, with Lookup asking e for keys that c has no sound record of. Whatever is written is written to c.
func (c *Cache) Beside(e Elsewhere) *Cache {
	both := *c
	both.elsewhere = e
	return &both
}

// found is what is here, else what is elsewhere.
func (c *Cache) found(ctx context.Context, k Key) (*Record, Digest, error) {
	rec, d, _, err := c.lookup(ctx, k)
	if c.elsewhere == nil || !errors.Is(err, ErrMissing) {
		return rec, d, err
	}
	other, od, there := c.elsewhere.Find(ctx, k)
	if errors.Is(there, ErrMissing) {
		return rec, d, err
	}
	return other, od, there
}
