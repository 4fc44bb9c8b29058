package shared

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
)

// indexed is a record of an index that Begin has read.
type indexed struct {
	record artifacts.Digest
	place  *bucket.Place
}

// readIndex puts the blobs of a build's index on the shelf. One that is missing or damaged is as good as none: then each key is asked for.
func (r *Remote) readIndex(ctx context.Context, p *bucket.Place, build artifacts.Digest) error {
	b, _, err := r.read(ctx, p, indexName(build), maxIndex)
	var blobs [][]byte
	if err == nil {
		blobs, err = decodeIndex(b)
	}
	switch {
	case err != nil && !gone(err):
		return err
	case err != nil && !absent(err):
		slog.DebugContext(ctx, "the shared cache has no readable index", "build", build.Short(), "error", err)
	}
	records := true
	for i, blob := range blobs {
		d := artifacts.Sum(blob)
		r.shelf.put(d, blob)
		if i == 0 || !records {
			continue
		}
		rec, err := artifacts.DecodeRecord(blob)
		if records = err == nil; records {
			r.findings.index(rec.Key, indexed{d, p})
		}
	}
	return nil
}

// index notes where a record was listed; what the first bucket says goes.
func (f *findings) index(k artifacts.Key, at indexed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.indexed == nil {
		f.indexed = make(map[artifacts.Key]indexed)
	}
	if _, ok := f.indexed[k]; !ok {
		f.indexed[k] = at
	}
}

// lists tells whether p's index has this record of the key, and nothing speaks against it.
func (f *findings) lists(k artifacts.Key, record artifacts.Digest, p *bucket.Place) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.indexed[k]
	return ok && at == indexed{record, p} && f.gone[k] != record
}

// findIndexed asks no network. An index with less than all of a record is of no use for that one.
func (r *Remote) findIndexed(ctx context.Context, k artifacts.Key) *finding {
	r.findings.mu.Lock()
	at, ok := r.findings.indexed[k]
	r.findings.mu.Unlock()
	if !ok {
		return nil
	}
	f, err := r.follow(ctx, at.place, k, []byte(at.record.String()), func(_ context.Context, _ *bucket.Place, d artifacts.Digest) ([]byte, error) {
		if b := r.shelf.get(d); b != nil {
			return b, nil
		}
		return nil, artifacts.ErrMissing
	})
	if err != nil {
		return nil
	}
	return f
}

// sendIndex writes the index of a build: of those of its results that the bucket's keys lead to.
func (r *Remote) sendIndex(ctx context.Context, b *artifacts.Build, d artifacts.Digest) error {
	in := newBundle()
	if !r.bundle(ctx, in, d) {
		return nil // a build that large is read by itself
	}
	var all []*artifacts.Closure
	for _, s := range b.Steps {
		if s.Record.IsZero() || !r.stands(s.Record) {
			continue
		}
		c, err := r.closure(ctx, s.Record, s.Key)
		if err != nil {
			if gone(err) {
				continue
			}
			return err
		}
		if r.bundle(ctx, in, s.Record) {
			all = append(all, c)
		}
	}
	for _, f := range r.carried(ctx, b) {
		if r.bundle(ctx, in, f.digest) {
			all = append(all, f.closure)
		}
	}
	for _, c := range all {
		r.bundleRest(ctx, in, c)
	}
	body := artifacts.Text(in.encode())
	if err := r.small.take(ctx); err != nil {
		return err
	}
	defer r.small.give()
	if _, err := r.write.Objects().Write(ctx, indexName(d), body, nil); err != nil {
		return fmt.Errorf("writing %s to the shared cache: %w", indexName(d), err)
	}
	return nil
}

// carried are the results of the last build's index at addresses of which this build has none: it failed before them, or was of some
// targets. The next build wants them again.
func (r *Remote) carried(ctx context.Context, b *artifacts.Build) []*finding {
	last := r.LastBuild()
	if last == nil {
		return nil
	}
	has := make(map[string]bool, len(b.Steps))
	for _, s := range b.Steps {
		has[s.Address] = !s.Record.IsZero()
	}
	var all []*finding
	for _, s := range last.Steps {
		if s.Record.IsZero() || has[s.Address] {
			continue
		}
		if f := r.findIndexed(ctx, s.Key); f != nil && f.digest == s.Record && f.place == r.write && !r.findings.isGone(s.Key, s.Record) {
			all = append(all, f)
		}
	}
	return all
}

// closure is that of a record which is here, or was found.
func (r *Remote) closure(ctx context.Context, record artifacts.Digest, k artifacts.Key) (*artifacts.Closure, error) {
	if f := r.findings.of(k); f != nil && f.digest == record {
		return f.closure, nil
	}
	return r.cache.Closure(ctx, record)
}

// bundle takes in a blob that is here, or has come; false where it is not, or does not fit.
func (r *Remote) bundle(ctx context.Context, in *bundle, d artifacts.Digest) bool {
	if d.IsZero() || in.seen[d] {
		return true
	}
	b := r.shelf.get(d)
	if b == nil {
		var err error
		if b, err = r.cache.GetBytes(ctx, d); err != nil {
			return false
		}
	}
	return in.add(d, b)
}

// bundleRest takes in what a record stands on: what decides whether it is a hit first.
func (r *Remote) bundleRest(ctx context.Context, in *bundle, c *artifacts.Closure) {
	for _, d := range c.Blobs() {
		if d != c.Log {
			r.bundle(ctx, in, d)
		}
	}
	if r.atMost(ctx, c.Log, maxIndexLog) {
		r.bundle(ctx, in, c.Log)
	}
	if !c.WorkerTree || in.sources[c.Worker] {
		return
	}
	in.sources[c.Worker] = true
	j := r.Joined()
	m, err := artifacts.NewCache(j, j).Manifest(ctx, c.Worker)
	if err != nil {
		return
	}
	for _, f := range m.Files {
		if f.Size <= maxIndexSource {
			r.bundle(ctx, in, f.Digest)
		}
	}
}

// atMost tells a blob that is no larger.
func (r *Remote) atMost(ctx context.Context, d artifacts.Digest, size int64) bool {
	n, err := r.Joined().Stat(ctx, d)
	return err == nil && n <= size
}
