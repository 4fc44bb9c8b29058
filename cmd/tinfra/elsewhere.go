package main

import (
	"context"
	"errors"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// bytesElsewhere is a small blob, of this machine or else of the shared cache.
func (h *house) bytesElsewhere(ctx context.Context, d artifacts.Digest) ([]byte, error) {
	b, err := h.cache.GetBytes(ctx, d)
	if err == nil || !h.asks || !errors.Is(err, artifacts.ErrMissing) {
		return b, err
	}
	if h.remote == nil {
		if joined := h.join(ctx, false); joined != nil || h.remote == nil {
			return nil, errors.Join(err, joined)
		}
	}
	b, err = h.remote.Blob(ctx, d)
	if err != nil && !errors.Is(err, artifacts.ErrMissing) && !errors.Is(err, artifacts.ErrDamaged) {
		return nil, h.remoteTrouble(ctx, err)
	}
	return b, err
}

// bringBuild lists the recipe's last build in the shared cache here, with its history, so that the index knows it. false where this machine
// has built the recipe itself, or the shared cache has not either, or is not to be asked.
func (r *archive) bringBuild(ctx context.Context) (bool, error) {
	if !r.asks || r.recipePath == "" || r.remote != nil {
		return false, nil
	}
	_, err := r.cache.LastBuild(ctx, r.recordedPath(r.recipePath))
	if err == nil || !errors.Is(err, artifacts.ErrMissing) {
		return false, err
	}
	b, err := r.buildElsewhere(ctx)
	if b == nil || err != nil {
		return false, err
	}
	if err := r.begin(); err != nil { // what comes must not be collected before it has its names
		return false, err
	}
	if err := r.remote.KeepBuild(ctx, b); err != nil {
		return false, r.remoteTrouble(ctx, err)
	}
	if err := r.index.Sync(ctx, artifacts.NewCache(r.store, r.store)); err != nil {
		return false, r.indexTrouble(ctx, err)
	}
	return true, nil
}
