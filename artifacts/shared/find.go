package shared

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
)

// finding is a record that was found in a bucket. It and its closure are verified.
type finding struct {
	rec     *artifacts.Record
	digest  artifacts.Digest
	closure *artifacts.Closure
	place   *bucket.Place

	kept    bool // written down here; guarded by Remote.keeping
	settled bool // all its bytes are here, and its key is set; guarded by Remote.keeping
}

// findings is what was found, and what was found out to be gone.
type findings struct {
	mu    sync.Mutex
	byKey map[artifacts.Key]*finding
	known map[artifacts.Digest]*bucket.Place // records of byKey
	makes map[artifacts.Digest]artifacts.Key // manifest → the key of whose record it is
	gone  map[artifacts.Key]artifacts.Digest // records that stand for bytes which are not there

	indexed map[artifacts.Key]indexed // records of an index: what is known of them lies on the shelf
}

func (f *findings) of(k artifacts.Key) *finding {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byKey[k]
}

func (f *findings) add(one *finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byKey == nil {
		f.byKey = make(map[artifacts.Key]*finding)
		f.known, f.makes = make(map[artifacts.Digest]*bucket.Place), make(map[artifacts.Digest]artifacts.Key)
	}
	f.byKey[one.rec.Key] = one
	f.known[one.digest] = one.place
	for _, d := range one.rec.Outputs {
		f.makes[d] = one.rec.Key
	}
}

// forget gives what was found; nil where nothing was.
func (f *findings) forget(k artifacts.Key) *finding {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.byKey[k]
	if one == nil {
		return nil
	}
	delete(f.byKey, k)
	delete(f.known, one.digest)
	if f.gone == nil {
		f.gone = make(map[artifacts.Key]artifacts.Digest)
	}
	f.gone[k] = one.digest
	return one
}

// isGone tells that this record of a key stands for nothing any more.
func (f *findings) isGone(k artifacts.Key, record artifacts.Digest) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, ok := f.gone[k]
	return ok && d == record
}

// has tells a record that was found.
func (f *findings) has(record artifacts.Digest) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known[record] != nil
}

// isAt tells one that was found in p.
func (f *findings) isAt(record artifacts.Digest, p *bucket.Place) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return p != nil && f.known[record] == p
}

func (f *findings) all() []*finding {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.byKey))
}

func (f *findings) healed(k artifacts.Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.gone, k)
}

func (f *findings) maker(manifest artifacts.Digest) artifacts.Key {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.makes[manifest]
}

// Find looks in the buckets for the record that stands for a key, in the index that Begin has read first: artifacts.Elsewhere. ErrMissing where none has it, and ErrDamaged too
// where one is not what it should be; what the network says is another error. Nothing is written here, see Keep.
func (r *Remote) Find(ctx context.Context, k artifacts.Key) (*artifacts.Record, artifacts.Digest, error) {
	if f := r.findings.of(k); f != nil {
		return f.rec, f.digest, nil
	}
	if f := r.findIndexed(ctx, k); f != nil && !r.findings.isGone(k, f.digest) {
		r.findings.add(f)
		return f.rec, f.digest, nil
	}
	miss := fmt.Errorf("key %s: %w", k.Short(), artifacts.ErrMissing)
	for _, p := range r.reads {
		f, err := r.findIn(ctx, p, k)
		switch {
		case err == nil && !r.findings.isGone(k, f.digest):
			r.findings.add(f)
			return f.rec, f.digest, nil
		case err == nil:
			miss = fmt.Errorf("key %s: %w: the bytes of record %s are gone", k.Short(), artifacts.ErrMissing, f.digest.Short())
		case !errors.Is(err, artifacts.ErrMissing):
			return nil, artifacts.Digest{}, fmt.Errorf("looking for key %s: %w", k.Short(), err)
		case errors.Is(err, artifacts.ErrDamaged):
			slog.DebugContext(ctx, "the shared cache is damaged", "key", k.Short(), "error", err)
			miss = err
		}
	}
	return nil, artifacts.Digest{}, miss
}

// Forget says that what was found for a key is of no use: its bytes are gone. Find then finds it no more, and the next result that is
// shared takes its place, with all its bytes.
func (r *Remote) Forget(k artifacts.Key) {
	if f := r.findings.forget(k); f != nil && f.place == r.write {
		for _, d := range f.rec.Outputs {
			r.trees.lose(d)
		}
	}
}

func (r *Remote) findIn(ctx context.Context, p *bucket.Place, k artifacts.Key) (*finding, error) {
	val, _, err := r.pointer(ctx, p, artifacts.KeyName(k))
	if absent(err) {
		return nil, err
	}
	if err != nil {
		return nil, useless(k, err)
	}
	return r.follow(ctx, p, k, val, r.blob)
}

func (r *Remote) pointer(ctx context.Context, p *bucket.Place, name string) ([]byte, artifacts.Version, error) {
	if err := r.small.take(ctx); err != nil {
		return nil, artifacts.Absent, err
	}
	defer r.small.give()
	val, v, err := p.Get(ctx, name)
	return val, v, unreadable(ctx, p, err)
}

// replaceable is pointer for who will set it. Of one whose bytes cannot be read it gives the version as well; Absent where that cannot be had.
func (r *Remote) replaceable(ctx context.Context, name string) ([]byte, artifacts.Version, error) {
	val, v, err := r.pointer(ctx, r.write, name)
	if err == nil || !gone(err) || absent(err) || v != artifacts.Absent {
		return val, v, err
	}
	if err := r.small.take(ctx); err != nil {
		return nil, artifacts.Absent, err
	}
	defer r.small.give()
	if _, o, there := r.write.Objects().Read(ctx, name, 0, 0); there == nil {
		v = o.Version
	}
	return nil, v, err
}

// getter gives a blob that p should have.
type getter func(ctx context.Context, p *bucket.Place, d artifacts.Digest) ([]byte, error)

// follow reads what a key's value leads to. Where any of it is not there or damaged, it is as good as not there: both errors.
func (r *Remote) follow(ctx context.Context, p *bucket.Place, k artifacts.Key, val []byte, get getter) (*finding, error) {
	f, err := get.lead(ctx, p, k, val)
	return f, useless(k, err)
}

// useless makes a miss of damage to what a key stands for.
func useless(k artifacts.Key, err error) error {
	if err == nil || !gone(err) {
		return err
	}
	return fmt.Errorf("key %s is of no use in the shared cache: %w, %w: %w", k.Short(), artifacts.ErrMissing, artifacts.ErrDamaged, err)
}

func (get getter) lead(ctx context.Context, p *bucket.Place, k artifacts.Key, val []byte) (*finding, error) {
	d, err := artifacts.ParseDigest(string(val))
	if err != nil {
		return nil, fmt.Errorf("%w: its value: %w", artifacts.ErrDamaged, err)
	}
	var record, action []byte
	both, each := errgroup.WithContext(ctx)
	both.Go(func() (err error) { record, err = get(each, p, d); return err })
	both.Go(func() (err error) { action, err = get(each, p, k.Digest()); return err })
	if err := both.Wait(); err != nil {
		return nil, err
	}
	rec, err := artifacts.DecodeRecord(record)
	if err != nil {
		return nil, err
	}
	if rec.Key != k {
		return nil, fmt.Errorf("%w: record %s is of key %s", artifacts.ErrDamaged, d.Short(), rec.Key.Short())
	}
	a, err := artifacts.DecodeAction(action)
	if err != nil {
		return nil, err
	}
	worker, err := get.rest(ctx, p, rec, a)
	if err != nil {
		return nil, err
	}
	return &finding{rec: rec, digest: d, closure: artifacts.NewClosure(d, rec, a, worker), place: p}, nil
}

// rest brings what a record and an action name, less the log and the worker's files, and gives the worker.
func (get getter) rest(ctx context.Context, p *bucket.Place, rec *artifacts.Record, a *artifacts.Action) (worker []byte, err error) {
	all, each := errgroup.WithContext(ctx)
	all.Go(func() (err error) { worker, err = get(each, p, a.Worker); return err })
	if !a.Env.IsZero() {
		all.Go(func() error { _, err := get(each, p, a.Env); return err })
	}
	for _, ports := range []map[string]artifacts.Digest{a.Inputs, rec.Outputs} {
		for port, d := range ports {
			all.Go(func() error {
				b, err := get(each, p, d)
				if err == nil {
					_, err = artifacts.DecodeManifest(b)
				}
				if err != nil {
					return fmt.Errorf("%s: %w", port, err)
				}
				return nil
			})
		}
	}
	return worker, all.Wait()
}
