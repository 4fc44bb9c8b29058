package shared

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
	"github.com/Ruihan11/tiny-infra/artifacts/pieces"
)

func mapName(manifest artifacts.Digest) string { return "maps/" + manifest.Hex() }
func packName(pack artifacts.Digest) string    { return "packs/" + pack.Hex() }

// fresh is for how long what a map names may be built upon after the map was read: gc removes packs a day after the last map that names
// them, at the earliest.
const fresh = 12 * time.Hour

// maxKnown bounds what is remembered of pieces: some 100 MB.
const maxKnown = 1 << 20

// trees is what is known of maps, packs and pieces.
type trees struct {
	mu       sync.Mutex
	there    map[artifacts.Digest]time.Time     // manifests whose maps are where results are brought, and when they were seen
	broken   map[artifacts.Digest]bool          // manifests whose map, or a pack that it names, is of no use
	bad      map[artifacts.Digest]bool          // packs that are missing or damaged
	pieces   map[artifacts.Digest]known         // of maps that were read, or written
	asked    map[artifacts.Digest]bool          // manifests whose maps were read for what they may have in common with others
	fetching map[artifacts.Digest]chan struct{} // manifests whose files are on their way here; closed when they are
	fetched  map[artifacts.Digest]bool          // manifests whose files are all here
}

type known struct {
	pieces.Loc
	seen time.Time
}

func (t *trees) isThere(manifest artifacts.Digest) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen, ok := t.there[manifest]
	return ok && time.Since(seen) < fresh
}

func (t *trees) saw(manifest artifacts.Digest, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.there == nil {
		t.there = make(map[artifacts.Digest]time.Time)
	}
	t.there[manifest] = at
	delete(t.broken, manifest)
}

func (t *trees) isBroken(manifest artifacts.Digest) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.broken[manifest]
}

// lose notes that a manifest's files cannot be had by its map.
func (t *trees) lose(manifest artifacts.Digest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken == nil {
		t.broken = make(map[artifacts.Digest]bool)
	}
	t.broken[manifest] = true
	delete(t.there, manifest)
}

// spoil notes that a pack is of no use: none of its pieces is built upon again, unless it is written anew.
func (t *trees) spoil(pack artifacts.Digest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bad == nil {
		t.bad = make(map[artifacts.Digest]bool)
	}
	t.bad[pack] = true
}

func (t *trees) isBad(pack artifacts.Digest) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bad[pack]
}

func (t *trees) mend(pack artifacts.Digest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.bad, pack)
}

// learn remembers the pieces of a map that is in the bucket to which results are brought.
func (t *trees) learn(m *pieces.Map, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pieces == nil || len(t.pieces) > maxKnown {
		t.pieces = make(map[artifacts.Digest]known)
	}
	for i := range m.Pieces {
		t.pieces[m.Pieces[i].Digest] = known{m.Loc(uint32(i)), at}
	}
}

// known says where a piece lies already.
func (t *trees) known(piece artifacts.Digest) (pieces.Loc, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, ok := t.pieces[piece]
	if !ok || t.bad[k.Pack] || time.Since(k.seen) >= fresh {
		return pieces.Loc{}, false
	}
	return k.Loc, true
}

// came notes that all files of a manifest are here.
func (t *trees) came(manifest artifacts.Digest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fetched == nil {
		t.fetched = make(map[artifacts.Digest]bool)
	}
	t.fetched[manifest] = true
}

func (t *trees) isHere(manifest artifacts.Digest) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fetched[manifest]
}

// begin is for one at a time per manifest; whoever comes second waits. end is nil where the context has ended.
func (t *trees) begin(ctx context.Context, manifest artifacts.Digest) (end func(), err error) {
	for {
		t.mu.Lock()
		other := t.fetching[manifest]
		if other == nil {
			break
		}
		t.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	defer t.mu.Unlock()
	mine := make(chan struct{})
	if t.fetching == nil {
		t.fetching = make(map[artifacts.Digest]chan struct{})
	}
	t.fetching[manifest] = mine
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.fetching, manifest)
		close(mine)
	}, nil
}

// tree is a map that was read, and where.
type tree struct {
	*pieces.Map
	place *bucket.Place
	buffers
}

// tree reads the map of a manifest's files.
func (r *Remote) tree(ctx context.Context, p *bucket.Place, manifest artifacts.Digest) (*tree, error) {
	at := time.Now()
	b, _, err := r.read(ctx, p, mapName(manifest), pieces.MaxMap)
	if err != nil {
		return nil, err
	}
	m, err := pieces.DecodeMap(b)
	if err != nil {
		return nil, fmt.Errorf("%s in the shared cache: %w", mapName(manifest), err)
	}
	if p == r.write {
		r.trees.learn(m, at)
	}
	return &tree{Map: m, place: p}, nil
}
