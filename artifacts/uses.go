package artifacts

import (
	"context"
	"maps"
	"slices"
)

// Uses tells which builds used what of the things that it was made for: blobs, records, keys, environments.
type Uses struct {
	builds map[Digest]map[string]bool // a thing asked for → IDs
	leads  map[Digest][]Digest        // an action or a record → what it leads to of the things asked for
}

// Of gives the IDs of the builds that used d, oldest first.
func (u *Uses) Of(d Digest) []string { return slices.Sorted(maps.Keys(u.builds[d])) }

// Uses reads all builds and what they lead to, and keeps what concerns these things. What cannot be read tells nothing:
// `Verify` names it.
func (c *Cache) Uses(ctx context.Context, about ...Digest) (*Uses, error) {
	u := &Uses{builds: map[Digest]map[string]bool{}, leads: map[Digest][]Digest{}}
	for _, d := range about {
		if !d.IsZero() {
			u.builds[d] = map[string]bool{}
		}
	}
	if len(u.builds) == 0 {
		return u, nil
	}
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

func (u *Uses) add(build string, all ...Digest) {
	for _, d := range all {
		if ids := u.builds[d]; ids != nil {
			ids[build] = true
		}
	}
}

func (u *Uses) build(ctx context.Context, c *Cache, b *Build) {
	u.add(b.ID, b.Recipe, b.Lock)
	for _, d := range b.Modules {
		u.add(b.ID, d)
	}
	if _, d, err := b.Encode(); err == nil {
		u.add(b.ID, d)
	}
	for _, s := range b.Steps {
		u.add(b.ID, s.Log)
		u.add(b.ID, u.from(s.Key.Digest(), func() []Digest { return actionLeads(ctx, c, s.Key) })...)
		u.add(b.ID, u.from(s.Record, func() []Digest { return recordLeads(ctx, c, s.Record) })...)
	}
}

// from reads each thing once, however many builds name it.
func (u *Uses) from(d Digest, read func() []Digest) []Digest {
	if d.IsZero() {
		return nil
	}
	if _, ok := u.leads[d]; !ok {
		u.leads[d] = slices.DeleteFunc(append(read(), d), func(d Digest) bool { return u.builds[d] == nil })
	}
	return u.leads[d]
}

func actionLeads(ctx context.Context, c *Cache, k Key) []Digest {
	a, err := c.Action(ctx, k)
	if err != nil {
		return nil
	}
	all := append(manifestLeads(ctx, c, a.Worker), a.Env)
	for _, d := range a.Inputs {
		all = append(all, manifestLeads(ctx, c, d)...)
	}
	return all
}

func recordLeads(ctx context.Context, c *Cache, d Digest) []Digest {
	rec, err := c.Record(ctx, d)
	if err != nil {
		return nil
	}
	all := []Digest{rec.Log}
	for _, out := range rec.Outputs {
		all = append(all, manifestLeads(ctx, c, out)...)
	}
	return all
}

// manifestLeads: the worker of an exec is a blob of another kind, and has no files.
func manifestLeads(ctx context.Context, c *Cache, d Digest) []Digest {
	all := []Digest{d}
	if m, err := c.Manifest(ctx, d); err == nil {
		for _, f := range m.Files {
			all = append(all, f.Digest)
		}
	}
	return all
}
