package shared

import (
	"context"
	"fmt"
	"sync"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Fetch brings the files of a manifest to this machine, those that are not here. Each is verified by its digest before it has its name.
// tell, which may be nil, is told now and then how many of the bytes that were missing have come. Where no bucket has them as they were,
// the error is a *Gone.
func (r *Remote) Fetch(ctx context.Context, m *artifacts.Manifest, tell func(done, total int64)) error {
	_, manifest, err := m.Encode()
	if err != nil {
		return err
	}
	end, err := r.trees.begin(ctx, manifest)
	if err != nil {
		return err
	}
	defer end()
	missing, err := r.missing(ctx, m)
	if err != nil {
		return err
	}
	if len(missing) == 0 {
		r.trees.came(manifest)
		return nil
	}
	meter := newMeter(missing, tell)
	lost := fmt.Errorf("%s: %w", mapName(manifest), artifacts.ErrMissing)
	for _, p := range r.reads {
		t, err := r.tree(ctx, p, manifest)
		if err == nil {
			err = r.bring(ctx, t, missing, meter)
		}
		if err == nil {
			r.trees.came(manifest)
			return nil
		}
		if !gone(err) {
			return fmt.Errorf("fetching the files of %s: %w", manifest.Short(), err)
		}
		if p == r.write {
			r.trees.lose(manifest)
		}
		if t != nil || !absent(err) {
			lost = err
		}
		if missing, err = r.missing(ctx, m); err != nil {
			return err
		}
	}
	return &Gone{r.findings.maker(manifest), manifest, lost}
}

// missing are the distinct files of a manifest that are not here whole. All are held first: those that are here stay.
func (r *Remote) missing(ctx context.Context, m *artifacts.Manifest) ([]artifacts.Blob, error) {
	var all []artifacts.Blob
	var names []artifacts.Digest
	seen := make(map[artifacts.Digest]bool, len(m.Files))
	for _, f := range m.Files {
		if !seen[f.Digest] {
			seen[f.Digest] = true
			all, names = append(all, f.Blob), append(names, f.Digest)
		}
	}
	if err := r.local.Hold(ctx, names...); err != nil {
		return nil, err
	}
	if r.local.Present(ctx, all) == nil {
		return nil, nil
	}
	var missing []artifacts.Blob
	for _, b := range all {
		n, err := r.local.Stat(ctx, b.Digest)
		switch {
		case err != nil && !gone(err):
			return nil, err
		case err != nil || n != b.Size:
			missing = append(missing, b)
		}
	}
	return missing, nil
}

// meter counts the bytes of files that have come.
type meter struct {
	mu          sync.Mutex
	done, total int64
	tell        func(done, total int64) // nil: nobody wants to know
}

func newMeter(missing []artifacts.Blob, tell func(done, total int64)) *meter {
	m := &meter{tell: tell}
	for _, b := range missing {
		m.total += b.Size
	}
	return m
}

func (m *meter) add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done = min(m.done+n, m.total) // a file may be read twice
	if m.tell != nil {
		m.tell(m.done, m.total)
	}
}
