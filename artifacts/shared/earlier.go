package shared

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/Ruihan11/tiny-infra/artifacts/pieces"
)

const (
	worthAsking = 1 << 20 // bytes of a pack from which on it is asked for before it is sent
	enoughAsked = packsAtOnce + 2
)

// earlier is what an attempt that died has sent of a tree. The packs of a tree are always the same, and are sent in their order: after a few
// that are not there none is, and nobody is asked any more.
type earlier struct {
	broken bool // the tree is sent because its packs are of no use
	misses atomic.Int32
}

// has asks whether a pack is there. It counts only if it is young: gc spares packs without a map for a day.
func (e *earlier) has(ctx context.Context, r *Remote, p pieces.Pack) (bool, error) {
	if e.broken || r.trees.isBad(p.Digest) || p.Size < worthAsking || e.misses.Load() >= enoughAsked {
		return false, nil
	}
	body, o, err := r.write.Objects().Read(ctx, packName(p.Digest), 0, 0)
	if body != nil {
		body.Close()
	}
	switch {
	case absent(err):
		e.misses.Add(1)
		return false, nil
	case err != nil:
		return false, fmt.Errorf("asking the shared cache for %s: %w", packName(p.Digest), err)
	}
	return o.Size == int64(p.Size) && !o.Modified.IsZero() && o.Now.Sub(o.Modified) < fresh, nil
}
