package shared

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/pieces"
)

// Bytes. What is under way at once is bounded by these: two batches, or the parts of streams.
const (
	largeFile  = 4 << 20  // from here on a file is written while it comes; smaller ones are written many at once
	batchFiles = 8 << 20  // of files in a batch
	batchRaw   = 16 << 20 // of the pieces that they are cut from
)

// maxWritten is how many blobs are written at once: each is an open file until all are flushed.
const maxWritten = 512

// wanted is a file that is missing here, and how it lies in a map.
type wanted struct {
	artifacts.Blob
	extents []pieces.Extent
}

// bring puts files here, by a map. An error that is ErrMissing or ErrDamaged means that they cannot be had by it.
func (r *Remote) bring(ctx context.Context, t *tree, missing []artifacts.Blob, m *meter) error {
	var small, large []wanted
	for _, b := range missing {
		f, ok := t.File(b.Digest)
		if !ok || f.Size != b.Size {
			return fmt.Errorf("the map of pieces is %w: it does not have file %s of %d bytes", artifacts.ErrDamaged, b.Digest.Short(), b.Size)
		}
		if w := (wanted{b, t.Of(f)}); b.Size < largeFile {
			small = append(small, w)
		} else {
			large = append(large, w)
		}
	}
	if err := r.bringSmall(ctx, t, small, m); err != nil {
		return err
	}
	files, each := errgroup.WithContext(ctx)
	files.SetLimit(filesAtOnce)
	for _, w := range large {
		files.Go(func() error { return r.bringLarge(each, t, w, m) })
	}
	return files.Wait()
}

// bringSmall takes them in the order in which they lie in packs, so that each part of a pack is asked for once.
func (r *Remote) bringSmall(ctx context.Context, t *tree, files []wanted, m *meter) error {
	slices.SortStableFunc(files, func(a, b wanted) int {
		if len(a.extents) == 0 || len(b.extents) == 0 {
			return cmp.Compare(len(a.extents), len(b.extents))
		}
		p, q := t.Pieces[a.extents[0].Piece], t.Pieces[b.extents[0].Piece]
		return cmp.Or(cmp.Compare(p.Pack, q.Pack), cmp.Compare(p.Offset, q.Offset), cmp.Compare(a.extents[0].Offset, b.extents[0].Offset))
	})
	var writing sync.Mutex // one batch is flushed at a time
	batches, each := errgroup.WithContext(ctx)
	batches.SetLimit(batchesAtOnce)
	for len(files) > 0 && each.Err() == nil {
		n := t.batch(files)
		part := files[:n]
		files = files[n:]
		batches.Go(func() error { return r.bringBatch(each, t, part, &writing, m) })
	}
	if err := batches.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// batch tells how many of the files, one at least, are brought at once.
func (t *tree) batch(files []wanted) int {
	var size, raw int64
	seen := map[uint32]bool{}
	for i, w := range files {
		size += w.Size
		for _, e := range w.extents {
			if !seen[e.Piece] {
				seen[e.Piece] = true
				raw += int64(t.Pieces[e.Piece].Raw)
			}
		}
		if i > 0 && (size > batchFiles || raw > batchRaw) {
			return i
		}
	}
	return len(files)
}

// bringBatch reads pieces, joins files and writes them. Where one is not what it should be and its pieces are, they were damaged on the way,
// and are asked for once more.
func (r *Remote) bringBatch(ctx context.Context, t *tree, files []wanted, writing *sync.Mutex, m *meter) error {
	for again := false; ; again = true {
		wrong, err := r.tryBatch(ctx, t, files, writing)
		if err == nil {
			break
		}
		if wrong == nil {
			return err
		}
		if err := r.blame(ctx, t, *wrong, again); err != nil {
			return err
		}
	}
	for _, w := range files {
		m.add(w.Size)
	}
	return nil
}

// tryBatch also gives the first file whose bytes are wrong.
func (r *Remote) tryBatch(ctx context.Context, t *tree, files []wanted, writing *sync.Mutex) (wrong *wanted, err error) {
	var need []uint32
	for _, w := range files {
		for _, e := range w.extents {
			need = append(need, e.Piece)
		}
	}
	raw, err := r.pieces(ctx, t, need)
	if err != nil {
		return nil, err
	}
	all := make([]artifacts.Payload, len(files))
	for i, w := range files {
		all[i] = artifacts.Payload{Blob: w.Blob, Bytes: make([]byte, 0, w.Size)}
		for _, e := range w.extents {
			all[i].Bytes = append(all[i].Bytes, raw[e.Piece][e.Offset:e.Offset+e.Length]...)
		}
	}
	writing.Lock()
	errs := r.putAll(ctx, all)
	writing.Unlock()
	for i, err := range errs {
		if errors.Is(err, artifacts.ErrDamaged) {
			return &files[i], err
		}
	}
	return nil, errors.Join(errs...)
}

// putAll stores blobs here.
func (r *Remote) putAll(ctx context.Context, all []artifacts.Payload) []error {
	errs := make([]error, 0, len(all))
	for part := range slices.Chunk(all, maxWritten) {
		batches := make([]artifacts.Batch, len(part)) // of one each: what cannot be stored keeps no other from it
		for i := range part {
			batches[i].Blobs = part[i : i+1]
		}
		errs = append(errs, r.local.StoreAll(ctx, batches)...)
	}
	return errs
}

// pieces gives the raw bytes of pieces of a map, by their number.
func (r *Remote) pieces(ctx context.Context, t *tree, need []uint32) (map[uint32][]byte, error) {
	slices.SortFunc(need, func(a, b uint32) int {
		p, q := t.Pieces[a], t.Pieces[b]
		return cmp.Or(cmp.Compare(p.Pack, q.Pack), cmp.Compare(p.Offset, q.Offset), cmp.Compare(a, b))
	})
	need = slices.Compact(need)
	var mu sync.Mutex
	raw := make(map[uint32][]byte, len(need))
	parts, each := errgroup.WithContext(ctx)
	for len(need) > 0 {
		s := t.span(need[0])
		n := 1
		for n < len(need) && s.grow(t, need[n]) {
			n++
		}
		part := need[:n]
		need = need[n:]
		parts.Go(func() error {
			stored, err := r.readSpan(each, t, s)
			if err != nil {
				return err
			}
			for _, i := range part {
				b, err := r.decode(t, s, stored, i)
				if err != nil {
					return err
				}
				mu.Lock()
				raw[i] = b
				mu.Unlock()
			}
			return nil
		})
	}
	return raw, parts.Wait()
}

// bringLarge writes a file while it comes. What is wrong with it is only known at its end: then its pieces are looked at one by one.
func (r *Remote) bringLarge(ctx context.Context, t *tree, w wanted, m *meter) error {
	for again := false; ; again = true {
		s := r.stream(ctx, t, w, m)
		err := r.local.Put(ctx, w.Blob, s)
		s.end()
		if !errors.Is(err, artifacts.ErrDamaged) || !s.whole() {
			return err
		}
		if err := r.blame(ctx, t, w, again); err != nil {
			return err
		}
	}
}

// blame reads the pieces of a file whose bytes were wrong, and says which pack it was. Where all are as they should be it is none at first;
// if that happens again, it was the map.
func (r *Remote) blame(ctx context.Context, t *tree, w wanted, again bool) error {
	for _, e := range w.extents {
		raw, err := r.pieces(ctx, t, []uint32{e.Piece})
		if err != nil {
			return err
		}
		p := t.Pieces[e.Piece]
		if got := artifacts.Sum(raw[e.Piece]); got != p.Digest {
			return r.spoiled(t, p.Pack, fmt.Errorf("piece %s came as %s", p.Digest.Short(), got.Short()))
		}
	}
	if !again {
		return nil
	}
	return fmt.Errorf("the map of pieces is %w: file %s is not made of what it says", artifacts.ErrDamaged, w.Digest.Short())
}
