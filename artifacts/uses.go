package artifacts

import (
	"context"
	"maps"
	"slices"
)

// Uses tells which builds used what: blobs, records, keys, environments.
type Uses map[Digest]map[string]bool

// Of gives the IDs of the builds that used d, oldest first.
func (u Uses) Of(d Digest) []string { return slices.Sorted(maps.Keys(u[d])) }

// Uses reads all builds and what they lead to. What cannot be read tells nothing: `Verify` names it.
func (c *Cache) Uses(ctx context.Context) (Uses, error) {
	u := Uses{}
	for b, err := range c.Builds(ctx) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == nil {
			u.build(ctx, c, b)
		}
	}
	return u, nil
}

func (u Uses) add(build string, d Digest) {
	if d.IsZero() {
		return
	}
	if u[d] == nil {
		u[d] = make(map[string]bool)
	}
	u[d][build] = true
}

func (u Uses) build(ctx context.Context, c *Cache, b *Build) {
	u.add(b.ID, b.Recipe)
	u.add(b.ID, b.Lock)
	for _, d := range b.Modules {
		u.add(b.ID, d)
	}
	if _, d, err := b.Encode(); err == nil {
		u.add(b.ID, d)
	}
	for _, s := range b.Steps {
		u.add(b.ID, s.Log)
		u.action(ctx, c, b.ID, s.Key)
		u.record(ctx, c, b.ID, s.Record)
	}
}

func (u Uses) action(ctx context.Context, c *Cache, build string, k Key) {
	u.add(build, k.Digest())
	a, err := c.Action(ctx, k)
	if err != nil {
		return
	}
	u.add(build, a.Env)
	u.manifest(ctx, c, build, a.Worker)
	for _, d := range a.Inputs {
		u.manifest(ctx, c, build, d)
	}
}

func (u Uses) record(ctx context.Context, c *Cache, build string, d Digest) {
	u.add(build, d)
	rec, err := c.Record(ctx, d)
	if err != nil {
		return
	}
	u.add(build, rec.Log)
	for _, out := range rec.Outputs {
		u.manifest(ctx, c, build, out)
	}
}

// manifest: the worker of an exec is a blob of another kind, and has no files.
func (u Uses) manifest(ctx context.Context, c *Cache, build string, d Digest) {
	u.add(build, d)
	if m, err := c.Manifest(ctx, d); err == nil {
		for _, f := range m.Files {
			u.add(build, f.Digest)
		}
	}
}
