package shared

import (
	"context"
	"errors"
	"fmt"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Mend sends again what Inspect has found wanting where results are brought, for each result that this machine has whole, and tells how
// many these are. Nothing is removed: blobs and packs are written over themselves, maps and keys by If-Match. What is right now, Inspect
// tells.
func (r *Remote) Mend(ctx context.Context, all []*Problem) (results int, err error) {
	touched := map[artifacts.Key]bool{} // false: by what is only history
	for _, p := range all {
		if p.place != r.write {
			continue
		}
		for d := range p.trees {
			r.trees.lose(d)
		}
		if !p.pack.IsZero() {
			r.trees.spoil(p.pack)
		}
		for k := range p.keys {
			touched[k] = touched[k] || !p.story
		}
	}
	for k, hurt := range touched {
		mended, err := r.mendOne(ctx, k, hurt)
		if err != nil {
			return results, fmt.Errorf("sending the result of key %s again: %w", k.Short(), err)
		}
		if mended {
			results++
		}
	}
	return results, nil
}

// mendOne leaves a key that leads to another machine's record where the record is not hurt.
func (r *Remote) mendOne(ctx context.Context, k artifacts.Key, hurt bool) (bool, error) {
	rec, d, err := r.cache.Lookup(ctx, k)
	if errors.Is(err, artifacts.ErrMissing) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	val, version, err := r.replaceable(ctx, artifacts.KeyName(k))
	if err != nil && !gone(err) {
		return false, err
	}
	if !hurt && string(val) != d.String() {
		return false, nil
	}
	won, err := r.bringThere(ctx, rec, d, standing{version: version})
	return won, err
}
