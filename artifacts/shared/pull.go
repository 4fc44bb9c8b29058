package shared

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Trees that come at once: of small ones many, for it is the asking that takes time; each larger one uses all there is.
const (
	smallTree    = 1 << 20 // bytes of a tree's missing files
	smallTrees   = 8
	largerTrees  = 1
	lookingTrees = 4 // manifests whose files are looked for on the disk
)

// Pulled is what became of what was asked for.
type Pulled struct {
	Here  int             // results that were whole on this machine before
	Came  int             // results that are now
	Bytes int64           // of files that have come
	Lost  []artifacts.Key // results that no bucket has, or not as they were, in the order in which they were asked for
}

// pull is one Pull under way.
type pull struct {
	remote *Remote
	tell   func(done, total int64) // nil: nobody wants to know

	mu          sync.Mutex
	done, total int64
	parts       map[artifacts.Digest]int64 // of done, by manifest
	lost        map[artifacts.Digest]bool  // manifests
}

// Pull makes hits of this machine of the results that stand for keys: all their bytes come here, each file verified by its digest, with
// their history, and then keys/ is set. What is whole here stays as it is. What is lost there keeps nothing else from coming.
func (r *Remote) Pull(ctx context.Context, keys []artifacts.Key, tell func(done, total int64)) (Pulled, error) {
	p := &pull{remote: r, tell: tell, parts: map[artifacts.Digest]int64{}, lost: map[artifacts.Digest]bool{}}
	got, err := p.all(ctx, keys)
	if err != nil {
		return got, fmt.Errorf("bringing results here: %w", err)
	}
	return got, nil
}

func (p *pull) all(ctx context.Context, keys []artifacts.Key) (got Pulled, err error) {
	found, here, err := p.look(ctx, keys)
	if err != nil {
		return got, err
	}
	if err := p.remote.Keep(ctx); err != nil {
		return got, err
	}
	if err := p.bring(ctx, found); err != nil {
		return got, err
	}
	got.Bytes = p.done
	p.remote.keeping.Lock()
	defer p.remote.keeping.Unlock()
	for i, f := range found {
		switch {
		case here[i]:
			got.Here++
		case f == nil || p.lacks(f):
			got.Lost = append(got.Lost, keys[i])
		default:
			if err := p.remote.settleOne(ctx, f); err != nil {
				return got, err
			}
			got.Came++
		}
	}
	return got, nil
}

// look finds the results that are not here whole. nil is one that is here, or lost.
func (p *pull) look(ctx context.Context, keys []artifacts.Key) (found []*finding, here []bool, err error) {
	found, here = make([]*finding, len(keys)), make([]bool, len(keys))
	all, each := errgroup.WithContext(ctx)
	all.SetLimit(smallAtOnce)
	for i, k := range keys {
		all.Go(func() error {
			_, _, err := p.remote.cache.Lookup(each, k)
			if here[i] = err == nil; here[i] || !errors.Is(err, artifacts.ErrMissing) {
				return err
			}
			if _, _, err = p.remote.Find(each, k); errors.Is(err, artifacts.ErrMissing) {
				return nil
			}
			found[i] = p.remote.findings.of(k)
			return err
		})
	}
	return found, here, all.Wait()
}

// lacks tells that some output of it is lost.
func (p *pull) lacks(f *finding) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(f.closure.Outputs, func(d artifacts.Digest) bool { return p.lost[d] })
}

// bring fetches the outputs, each manifest once.
func (p *pull) bring(ctx context.Context, found []*finding) error {
	small, larger, err := p.outputs(ctx, found)
	if err != nil {
		return err
	}
	for _, class := range []struct {
		trees  []*artifacts.Manifest
		atOnce int
	}{{small, smallTrees}, {larger, largerTrees}} {
		all, each := errgroup.WithContext(ctx)
		all.SetLimit(class.atOnce)
		for _, m := range class.trees {
			all.Go(func() error { return p.fetch(each, m) })
		}
		if err := all.Wait(); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// outputs are those of which something is missing here; how much that is, is known before anything comes.
func (p *pull) outputs(ctx context.Context, found []*finding) (small, larger []*artifacts.Manifest, err error) {
	seen := map[artifacts.Digest]bool{}
	all, each := errgroup.WithContext(ctx)
	all.SetLimit(lookingTrees)
	for _, f := range found {
		if f == nil {
			continue
		}
		for _, d := range f.closure.Outputs {
			if seen[d] {
				continue
			}
			seen[d] = true
			all.Go(func() error {
				m, err := p.remote.cache.Manifest(each, d) // Keep has written it
				if err != nil {
					return err
				}
				missing, err := p.remote.missing(each, m)
				n := newMeter(missing, nil).total
				p.mu.Lock()
				defer p.mu.Unlock()
				p.total += n
				switch {
				case len(missing) == 0:
				case n < smallTree:
					small = append(small, m)
				default:
					larger = append(larger, m)
				}
				return err
			})
		}
	}
	return small, larger, all.Wait()
}

func (p *pull) fetch(ctx context.Context, m *artifacts.Manifest) error {
	_, d, err := m.Encode()
	if err != nil {
		return err
	}
	err = p.remote.Fetch(ctx, m, func(done, _ int64) { p.came(d, done) })
	if _, gone := errors.AsType[*Gone](err); gone {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.lost[d] = true
		return nil
	}
	return err
}

// came is told that this many bytes of a manifest's files have come by now.
func (p *pull) came(manifest artifacts.Digest, done int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += done - p.parts[manifest]
	p.parts[manifest] = done
	if p.tell != nil {
		p.tell(p.done, p.total)
	}
}
