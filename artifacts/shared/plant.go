package shared

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/pieces"
)

// shareTree brings the files of a manifest: their pieces in packs, and then the map that is the proof of them. A manifest without files
// has no map. c is what the manifest is of.
func (r *Remote) shareTree(ctx context.Context, d artifacts.Digest, c *artifacts.Closure) error {
	m, err := r.cache.Manifest(ctx, d)
	if err != nil || len(m.Files) == 0 {
		return err
	}
	size := m.Size()
	r.outbox.count(0, size)
	there, version, err := r.mapThere(ctx, d)
	if err != nil {
		return err
	}
	if there {
		r.outbox.count(size, 0)
		return nil
	}
	if err := r.outbox.cut.take(ctx); err != nil {
		return err
	}
	defer r.outbox.cut.give()
	if r.trees.isThere(d) {
		r.outbox.count(size, 0)
		return nil
	}
	if size >= worthKin {
		if err := r.learnKin(ctx, c); err != nil {
			return err
		}
	}
	packed, err := r.sendPacks(ctx, m, size, r.trees.isBroken(d))
	if err != nil {
		return fmt.Errorf("files of %s: %w", d.Short(), err)
	}
	return r.sendMap(ctx, d, packed, version)
}

// mapThere asks for the map; version is that of a broken one.
func (r *Remote) mapThere(ctx context.Context, d artifacts.Digest) (there bool, version artifacts.Version, err error) {
	if r.trees.isThere(d) {
		return true, artifacts.Absent, nil
	}
	if err := r.small.take(ctx); err != nil {
		return false, artifacts.Absent, err
	}
	defer r.small.give()
	at := time.Now()
	body, o, err := r.write.Objects().Read(ctx, mapName(d), 0, 0)
	if body != nil {
		body.Close()
	}
	switch err = unreadable(ctx, r.write, err); {
	case gone(err):
		return false, artifacts.Absent, nil
	case err != nil:
		return false, artifacts.Absent, fmt.Errorf("asking the shared cache for %s: %w", mapName(d), err)
	case r.trees.isBroken(d):
		return false, o.Version, nil
	}
	r.trees.saw(d, at)
	return true, o.Version, nil
}

// sendPacks cuts the files, and sends each pack while the next is made.
func (r *Remote) sendPacks(ctx context.Context, m *artifacts.Manifest, size int64, broken bool) (*pieces.Map, error) {
	files, err := r.sources(ctx, m)
	if err != nil {
		return nil, err
	}
	known := r.trees.known
	if broken {
		known = nil // what else of it is gone, nobody has looked
	}
	var first sync.Once
	before := &earlier{broken: broken}
	var sent int64 // of files, by one goroutine
	packs, each := errgroup.WithContext(ctx)
	packer := pieces.Packer{
		Known:   known,
		Workers: min(2, runtime.GOMAXPROCS(0)),
		Emit: func(p pieces.Pack) error {
			if err := r.packs.take(each); err != nil {
				return err
			}
			var raw int64
			for _, in := range p.Pieces {
				raw += int64(in.Raw)
			}
			raw = min(raw, size-sent)
			sent += raw
			packs.Go(func() error {
				defer r.packs.give()
				defer p.Release()
				if err := r.sendPack(each, p, before); err != nil {
					return err
				}
				r.outbox.count(raw, 0)
				first.Do(func() { artifacts.Reached(artifacts.StepSharePack) })
				return nil
			})
			return nil
		},
	}
	packed, cutErr := packer.Tree(each, files)
	if err := packs.Wait(); err != nil {
		return nil, err
	}
	if cutErr != nil {
		return nil, cutErr
	}
	if err := r.untouched(ctx, m); err != nil {
		return nil, err
	}
	r.outbox.count(size-sent, 0) // what was there already
	artifacts.Reached(artifacts.StepSharePacks)
	return packed, nil
}

func (r *Remote) sendPack(ctx context.Context, p pieces.Pack, before *earlier) error {
	if there, err := before.has(ctx, r, p); there || err != nil {
		return err
	}
	b, err := p.Open()
	if err != nil {
		return err
	}
	defer b.Close()
	body := artifacts.Body{Bytes: b, Size: int64(p.Size), Digest: p.Digest}
	if _, err := r.write.Objects().Write(ctx, packName(p.Digest), body, nil); err != nil {
		return fmt.Errorf("writing %s to the shared cache: %w", packName(p.Digest), err)
	}
	r.trees.mend(p.Digest)
	return nil
}

// sendMap writes the map, unless another machine has written one meanwhile, which then is as good.
func (r *Remote) sendMap(ctx context.Context, d artifacts.Digest, m *pieces.Map, broken artifacts.Version) error {
	b, err := m.Encode()
	if err != nil {
		return err
	}
	condition := &broken
	if !r.write.Format().Conditions.Create || !r.write.Format().Conditions.Replace {
		condition = nil // of a single writer
	}
	at := time.Now()
	_, err = r.write.Objects().Write(ctx, mapName(d), artifacts.Text(b), condition)
	switch {
	case err == nil:
		r.trees.learn(m, at)
	case !errors.Is(err, artifacts.ErrConflict):
		return fmt.Errorf("writing %s to the shared cache: %w", mapName(d), err)
	}
	r.trees.saw(d, at)
	artifacts.Reached(artifacts.StepShareMap)
	return nil
}

// lately is for how long a file is believed to be what it was when the cache hashed it, if its seal holds. No disk has lost it meanwhile; most
// of it was never read from one.
var lately = time.Hour

// sources are the files of a manifest as the packer reads them. All are held, so that none is collected before it is read. Of a large file
// that was made lately the pieces are hashed, and not the whole once more, which would be a third of the work.
func (r *Remote) sources(ctx context.Context, m *artifacts.Manifest) ([]pieces.Source, error) {
	all := make([]pieces.Source, len(m.Files))
	names := make([]artifacts.Digest, len(m.Files))
	for i, f := range m.Files {
		names[i] = f.Digest
	}
	if err := r.local.Hold(ctx, names...); err != nil {
		return nil, err
	}
	for i, f := range m.Files {
		all[i] = pieces.Source{Blob: f.Blob, Name: f.Path, Open: func() (pieces.File, error) { return r.open(ctx, f.Digest) }}
		if f.Size < largeFile {
			continue
		}
		b, err := all[i].Open()
		if err != nil {
			return nil, err
		}
		all[i].Sound = madeLately(b)
		b.Close()
	}
	return all, nil
}

func madeLately(b pieces.File) bool {
	f, ok := b.(interface {
		Born() (at time.Time, ok bool)
	})
	if !ok {
		return false
	}
	born, ok := f.Born()
	age := time.Since(born)
	return ok && age >= 0 && age < lately
}

// untouched makes sure that no file was written to while it was read.
func (r *Remote) untouched(ctx context.Context, m *artifacts.Manifest) error {
	blobs := make([]artifacts.Blob, len(m.Files))
	for i, f := range m.Files {
		blobs[i] = f.Blob
	}
	return r.local.Present(ctx, blobs)
}

func (r *Remote) open(ctx context.Context, d artifacts.Digest) (pieces.File, error) {
	b, err := r.local.Open(ctx, d, 0, -1)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", d.Short(), err)
	}
	if f, ok := b.(pieces.File); ok {
		return f, nil
	}
	return nil, errors.Join(fmt.Errorf("blob %s cannot be read in parts", d.Short()), b.Close())
}
