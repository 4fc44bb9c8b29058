package shared

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
	"github.com/Ruihan11/tiny-infra/artifacts/pieces"
)

// mapsAtOnce bounds how many maps are in memory: one may have 256 MiB.
const mapsAtOnce = 4

// Amount is how many objects there are, and how many bytes they have.
type Amount struct{ Objects, Bytes int64 }

func (a *Amount) add(size int64) {
	a.Objects++
	a.Bytes += size
}

// Usage is what one tier holds.
type Usage struct {
	Place string // its address, for people; "" where it has none

	All                          Amount // whatever lies there
	Packs, Blobs, Maps, Pointers Amount // Pointers: keys/ runs/ records/ builds/ refs/

	Files   Amount // that the maps name, each once in a tree: what they would take if each tree were stored by itself
	Pieces  Amount // that the maps name, each once, before they were compressed
	Stored  int64  // bytes of the same pieces in their packs
	Damaged int64  // maps that cannot be read
}

// Shared is how many bytes less are stored since trees have pieces in common.
func (u *Usage) Shared() int64 { return max(0, u.Files.Bytes-u.Pieces.Bytes) } // of a joined piece a map may name a part only

// Compressed is how many bytes less are stored since pieces are compressed.
func (u *Usage) Compressed() int64 { return u.Pieces.Bytes - u.Stored }

// Unnamed is how many bytes of packs belong to no map: of uploads that were cut off, say.
func (u *Usage) Unnamed() int64 { return max(0, u.Packs.Bytes-u.Stored) } // a map may name a pack that is lost

// Usage measures each tier: it lists all objects and reads all maps.
func (r *Remote) Usage(ctx context.Context) ([]*Usage, error) {
	all := make([]*Usage, len(r.reads))
	for i, p := range r.reads {
		var err error
		if all[i], err = r.usageOf(ctx, p); err != nil {
			return nil, fmt.Errorf("measuring the shared cache: %w", err)
		}
	}
	return all, nil
}

func (r *Remote) usageOf(ctx context.Context, p *bucket.Place) (*Usage, error) {
	m := &measuring{usage: &Usage{Place: addressOf(p)}, seen: map[spot]bool{}}
	maps, each := errgroup.WithContext(ctx)
	maps.SetLimit(mapsAtOnce)
	for o, err := range p.Objects().Walk(ctx, "", "") {
		if err == nil {
			err = each.Err() // what has failed, Wait says
		}
		if err != nil {
			if failed := maps.Wait(); failed != nil {
				err = failed
			}
			return nil, err
		}
		if m.object(o) {
			maps.Go(func() error { return r.measure(each, p, o.Name, m) })
		}
	}
	if err := maps.Wait(); err != nil {
		return nil, err
	}
	return m.usage, nil
}

// spot is where a piece lies.
type spot struct {
	pack   artifacts.Digest
	offset uint32
}

// measuring is a Usage under way.
type measuring struct {
	mu    sync.Mutex
	usage *Usage
	seen  map[spot]bool
}

// object counts one; true for a map.
func (m *measuring) object(o artifacts.Object) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.usage.All.add(o.Size)
	folder, _, _ := strings.Cut(o.Name, "/")
	switch folder {
	case "packs":
		m.usage.Packs.add(o.Size)
	case "blobs":
		m.usage.Blobs.add(o.Size)
	case "maps":
		m.usage.Maps.add(o.Size)
	case "keys", "runs", "records", "builds", "refs":
		m.usage.Pointers.add(o.Size)
	}
	return folder == "maps"
}

// measure reads a map. One that is gone by now is none.
func (r *Remote) measure(ctx context.Context, p *bucket.Place, name string, m *measuring) error {
	b, _, err := r.read(ctx, p, name, pieces.MaxMap)
	var tree *pieces.Map
	if err == nil {
		tree, err = pieces.DecodeMap(b)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err == nil:
		m.tree(tree)
	case !gone(err):
		return err
	case !absent(err):
		m.usage.Damaged++
	}
	return nil
}

func (m *measuring) tree(t *pieces.Map) {
	for _, f := range t.Files {
		m.usage.Files.add(f.Size)
	}
	for _, p := range t.Pieces {
		at := spot{t.Packs[p.Pack].Digest, p.Offset}
		if m.seen[at] {
			continue
		}
		m.seen[at] = true
		m.usage.Pieces.add(int64(p.Raw))
		m.usage.Stored += int64(p.Stored)
	}
}
