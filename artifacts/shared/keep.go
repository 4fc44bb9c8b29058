package shared

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Keep writes down here what Find has found since it was called last: records with all that describes them, and their names in runs/ and
// records/, so that lineage knows them. keys/ promises bytes: it is set for those of which Fetch has brought all. Logs and the files of
// workers come for it now; where the bucket has lost one, the rest is kept all the same, and `cache verify` names it.
func (r *Remote) Keep(ctx context.Context) error {
	r.keeping.Lock()
	defer r.keeping.Unlock()
	if err := r.keepFound(ctx); err != nil {
		return err
	}
	return r.settle(ctx)
}

func (r *Remote) keepFound(ctx context.Context) error {
	var all []*finding
	for _, f := range r.findings.all() {
		if !f.kept {
			all = append(all, f)
		}
	}
	if err := r.writeDown(ctx, all); err != nil {
		return fmt.Errorf("writing down what the shared cache has: %w", err)
	}
	for _, f := range all {
		f.kept = true
	}
	return nil
}

func (r *Remote) writeDown(ctx context.Context, all []*finding) error {
	if len(all) == 0 {
		return nil
	}
	if err := r.keepHistory(ctx, all); err != nil {
		return err
	}
	if err := r.keepBlobs(ctx, all); err != nil {
		return err
	}
	return r.keepNames(ctx, all)
}

// keepHistory brings what Find has left out: logs, and the files of workers.
func (r *Remote) keepHistory(ctx context.Context, all []*finding) error {
	each, ctx := errgroup.WithContext(ctx)
	each.SetLimit(smallAtOnce)
	seen := map[artifacts.Digest]bool{}
	for _, f := range all {
		for _, d := range []artifacts.Digest{f.closure.Log, f.closure.Worker} {
			if d.IsZero() || seen[d] {
				continue
			}
			seen[d] = true
			each.Go(func() error {
				err := r.keepOne(ctx, f, d)
				if err != nil && gone(err) {
					slog.DebugContext(ctx, "the shared cache has lost a part of its history", "record", f.digest.Short(), "error", err)
					return nil
				}
				return err
			})
		}
	}
	return each.Wait()
}

func (r *Remote) keepOne(ctx context.Context, f *finding, d artifacts.Digest) error {
	switch {
	case d == f.closure.Log:
		return r.keepLog(ctx, f, d)
	case f.closure.WorkerTree:
		b, err := r.blob(ctx, f.place, d)
		if err != nil {
			return err
		}
		m, err := artifacts.DecodeManifest(b)
		if err != nil {
			return err
		}
		if err := r.unshelve(ctx, m); err != nil {
			return err
		}
		return r.Fetch(ctx, m, nil)
	}
	return nil
}

// unshelve writes down files of a worker that have come with an index.
func (r *Remote) unshelve(ctx context.Context, m *artifacts.Manifest) error {
	var all []artifacts.Payload
	for _, f := range m.Files {
		if b := r.shelf.get(f.Digest); b != nil {
			all = append(all, artifacts.Payload{Blob: f.Blob, Bytes: b})
		}
	}
	return errors.Join(r.putAll(ctx, all)...)
}

// keepLog streams what is too large to be written with the others.
func (r *Remote) keepLog(ctx context.Context, f *finding, d artifacts.Digest) error {
	if _, err := r.local.Stat(ctx, d); err == nil || r.shelf.get(d) != nil {
		return nil
	}
	if err := r.small.take(ctx); err != nil {
		return err
	}
	defer r.small.give()
	body, o, err := f.place.Objects().Read(ctx, artifacts.BlobsFolder+d.Hex(), 0, -1)
	if err != nil {
		return fmt.Errorf("reading the log %s from the shared cache: %w", d.Short(), unreadable(ctx, f.place, err))
	}
	defer body.Close()
	if o.Size > largeFile {
		return unreadable(ctx, f.place, r.local.Put(ctx, artifacts.Blob{Digest: d, Size: o.Size}, body))
	}
	b, err := io.ReadAll(io.LimitReader(body, o.Size))
	if err != nil {
		return fmt.Errorf("reading the log %s from the shared cache: %w", d.Short(), unreadable(ctx, f.place, err))
	}
	if artifacts.Sum(b) != d {
		return fmt.Errorf("the log %s in the shared cache: %w", d.Short(), artifacts.ErrDamaged)
	}
	r.shelf.put(d, b)
	return nil
}

// keepBlobs writes what has come, many at once. What is not on the shelf was here when it was looked for.
func (r *Remote) keepBlobs(ctx context.Context, all []*finding) error {
	var part []artifacts.Payload
	var size int64
	seen := map[artifacts.Digest]bool{}
	flush := func() error {
		err := errors.Join(r.putAll(ctx, part)...)
		part, size = nil, 0
		return err
	}
	for _, f := range all {
		for _, d := range f.closure.Blobs() {
			b := r.shelf.get(d)
			if b == nil || seen[d] {
				continue
			}
			seen[d] = true
			part = append(part, artifacts.Payload{Blob: artifacts.Blob{Digest: d, Size: int64(len(b))}, Bytes: b})
			if size += int64(len(b)); size > batchFiles {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}

func (r *Remote) keepNames(ctx context.Context, all []*finding) error {
	batches := make([]artifacts.Batch, len(all))
	for i, f := range all {
		run, record, _ := f.rec.Names(f.digest)
		val := f.digest.String()
		batches[i].Names = []artifacts.Change{
			{Name: run, Value: val, Old: artifacts.Absent, Step: artifacts.StepRuns},
			{Name: record, Value: val, Old: artifacts.Absent, Step: artifacts.StepRecords},
		}
	}
	for i, err := range r.local.StoreAll(ctx, batches) {
		if errors.Is(err, artifacts.ErrConflict) {
			err = r.rename(ctx, batches[i].Names)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rename sets names of which one is there with a value that it cannot have.
func (r *Remote) rename(ctx context.Context, chain []artifacts.Change) error {
	for _, c := range chain {
		val, v, err := r.local.Get(ctx, c.Name)
		if err != nil && !errors.Is(err, artifacts.ErrMissing) {
			return err
		}
		if bytes.Equal(val, []byte(c.Value)) {
			continue
		}
		if _, err := r.local.Set(ctx, c.Name, []byte(c.Value), v); err != nil && !errors.Is(err, artifacts.ErrConflict) {
			return err
		}
	}
	return nil
}
