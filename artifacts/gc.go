package artifacts

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// Need is why a result stays in the cache.
type Need string

// Needs, in the order in which they are looked at: the first that holds is told.
const (
	NeedRunning Need = "running" // a running build relies on it, or a dead one has left it half published
	NeedBuild   Need = "build"   // it is of one of the last builds of a recipe, or of a young one
	NeedYoung   Need = "young"   // it is younger than the grace period
	NeedShared  Need = "shared"  // every file of it stays for the sake of others, so its going would free nothing
	NeedBudget  Need = "budget"  // there is room for it
)

// Policy is what a collection goes by.
type Policy struct {
	Keep    int           // builds of each recipe: so many that ended well, and so many others
	Grace   time.Duration // what is younger stays
	MaxSize int64         // bytes of all blobs: what nothing needs goes oldest use first, until they fit. 0: all of it goes
	Now     time.Time
}

// Result is a key that leads to a record, with the files that stand behind it.
type Result struct {
	Key     Key
	Kind    string
	Bytes   int64 // of its files, those that others share too
	LastUse time.Time
	Need    Need // "" where it goes

	files []Digest
}

// Garbage is what is to go, and what stays. Nothing has been deleted yet.
type Garbage struct {
	Results []Result // all of them, the one longest unused first
	Blobs   []Blob   // to delete
	Orphans int      // how many of them belong to no result that goes: half published, divergent, local files, …
	Freed   int64    // bytes of Blobs
	Total   int64    // bytes of all blobs, before
	Over    int64    // bytes by which what must stay is larger than MaxSize
	Builds  int      // that are kept for their results

	// Problems are what could not be read, and so might have named something that is needed. Collect refuses then.
	Problems []Problem

	wanted map[Key]bool
}

// Wants tells whether a build that is kept, or runs, holds this key, made or not.
func (g *Garbage) Wants(k Key) bool { return g.wanted[k] }

// FindGarbage decides what stays: what running builds hold, what the last builds of each recipe made, what is young, and
// all that lineage is made of. ground must be there from before the first look, or what is published meanwhile is lost.
func (c *Cache) FindGarbage(ctx context.Context, sw Sweeper, ground Ground, p Policy) (*Garbage, error) {
	m := newMarker(c, ground, p)
	for _, step := range []func(context.Context) error{
		m.held, // before the names: what is published later was held
		m.builds,
		m.refs,
		m.keys,
		m.history,
		m.inputs,
		func(ctx context.Context) error { return m.blobs(ctx, sw) },
	} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("looking for garbage: %w", err)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	slices.SortStableFunc(m.results, func(a, b Result) int {
		if n := a.LastUse.Compare(b.LastUse); n != 0 {
			return n
		}
		return cmp.Compare(a.Key.Hex(), b.Key.Hex())
	})
	return m.choose(), nil
}

// choose weighs what nothing needs against the room that there is.
func (m *marker) choose() *Garbage {
	g := &Garbage{Results: m.results, Builds: len(m.kept), Problems: m.problems, wanted: m.wanted}
	uses := make(map[Digest]int, len(m.sizes)) // results that keep a file; what is needed anyway has one more
	for d := range m.needed {
		uses[d]++
	}
	for i := range g.Results {
		for _, d := range g.Results[i].files {
			uses[d]++
		}
	}
	var size int64
	for d, n := range m.sizes {
		g.Total += n
		if uses[d] > 0 {
			size += n
		}
	}
	var gone []*Result
	for i := range g.Results {
		r := &g.Results[i]
		if r.Need != "" {
			continue
		}
		if m.policy.MaxSize > 0 && size <= m.policy.MaxSize {
			r.Need = NeedBudget
			continue
		}
		for _, d := range r.files {
			if uses[d]--; uses[d] == 0 {
				size -= m.sizes[d]
			}
		}
		gone = append(gone, r)
	}
	for _, r := range slices.Backward(gone) {
		if !slices.ContainsFunc(r.files, func(d Digest) bool { return uses[d] == 0 }) {
			r.Need = NeedShared
			for _, d := range r.files {
				uses[d]++
			}
		}
	}
	if m.policy.MaxSize > 0 {
		g.Over = max(0, size-m.policy.MaxSize)
	}
	g.sweep(m.sizes, uses)
	return g
}

// sweep lists the blobs that nothing uses.
func (g *Garbage) sweep(sizes map[Digest]int64, uses map[Digest]int) {
	of := make(map[Digest]bool)
	for _, r := range g.Results {
		for _, d := range r.files {
			of[d] = true
		}
	}
	for d, n := range sizes {
		if uses[d] > 0 {
			continue
		}
		g.Blobs = append(g.Blobs, Blob{Digest: d, Size: n})
		g.Freed += n
		if !of[d] {
			g.Orphans++
		}
	}
	slices.SortFunc(g.Blobs, func(a, b Blob) int { return cmp.Compare(a.Digest.Hex(), b.Digest.Hex()) })
}
