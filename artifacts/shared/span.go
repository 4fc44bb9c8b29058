package shared

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/pieces"
)

// Bytes: what is asked for at once at most, but for a single piece that is larger, and over which gap two pieces are asked for together.
const (
	maxSpan = 4 << 20
	maxGap  = 64 << 10
)

// span is a part of a pack.
type span struct {
	pack     uint32 // in Map.Packs
	off, end uint32
}

func (t *tree) span(piece uint32) span {
	p := &t.Pieces[piece]
	return span{p.Pack, p.Offset, p.Offset + p.Stored}
}

// grow takes in a piece that lies in it, or close behind, unless that makes it too large.
func (s *span) grow(t *tree, piece uint32) bool {
	o := t.span(piece)
	if o.pack != s.pack || o.off < s.off || o.off > s.end && o.off-s.end > maxGap || max(o.end, s.end)-s.off > maxSpan {
		return false
	}
	s.end = max(o.end, s.end)
	return true
}

// readSpan gives the bytes as they are stored, in a buffer of its own. A pack of another size than the map says is a damaged one.
func (r *Remote) readSpan(ctx context.Context, t *tree, s span) ([]byte, error) {
	if err := r.packs.take(ctx); err != nil {
		return nil, err
	}
	defer r.packs.give()
	pack := t.Packs[s.pack]
	n := int64(s.end - s.off)
	body, o, err := t.place.Objects().Read(ctx, packName(pack.Digest), int64(s.off), n)
	if err != nil {
		return nil, r.unread(ctx, t, s.pack, unreadable(ctx, t.place, err))
	}
	defer body.Close()
	if o.Size != int64(pack.Size) {
		return nil, r.spoiled(t, s.pack, wrongSize(o, pack))
	}
	b := t.take(int(n))
	if _, err = io.ReadFull(body, b); err == nil {
		return b, nil
	}
	if err = unreadable(ctx, t.place, short(err)); gone(err) {
		return nil, r.spoiled(t, s.pack, err)
	}
	return nil, fmt.Errorf("reading %s from the shared cache: %w", packName(pack.Digest), err)
}

func wrongSize(o artifacts.Object, pack pieces.PackRef) error {
	return fmt.Errorf("it has %d bytes in place of %d", o.Size, pack.Size)
}

// unread tells a pack that is not there, or ends before what was asked for, from a bucket that cannot be asked.
func (r *Remote) unread(ctx context.Context, t *tree, pack uint32, err error) error {
	if gone(err) {
		return r.spoiled(t, pack, err)
	}
	if spoiled := r.soundPack(ctx, t, pack); gone(spoiled) {
		return spoiled
	}
	return fmt.Errorf("reading %s from the shared cache: %w", packName(t.Packs[pack].Digest), err)
}

// soundPack asks whether a pack is there, with its size.
func (r *Remote) soundPack(ctx context.Context, t *tree, pack uint32) error {
	want := t.Packs[pack]
	body, o, err := t.place.Objects().Read(ctx, packName(want.Digest), 0, 0)
	if body != nil {
		body.Close()
	}
	switch err = unreadable(ctx, t.place, err); {
	case gone(err):
		return r.spoiled(t, pack, err)
	case err != nil:
		return fmt.Errorf("asking the shared cache for %s: %w", packName(want.Digest), err)
	case o.Size != int64(want.Size):
		return r.spoiled(t, pack, wrongSize(o, want))
	}
	return nil
}

// decode gives the raw bytes of a piece that lies in a span, in a buffer of their own. Those of a piece that is stored as it is are the
// span's.
func (r *Remote) decode(t *tree, s span, stored []byte, piece uint32) ([]byte, error) {
	p := &t.Pieces[piece]
	at := stored[p.Offset-s.off:][:p.Stored]
	if p.Codec == pieces.Raw {
		return at, nil
	}
	raw, err := pieces.Decode(t.take(int(p.Raw)), p.Codec, at)
	if err != nil {
		return nil, r.spoiled(t, p.Pack, fmt.Errorf("piece %s: %w", p.Digest.Short(), err))
	}
	return raw, nil
}

// spoiled notes that a pack is of no use, and says why.
func (r *Remote) spoiled(t *tree, pack uint32, why error) error {
	d := t.Packs[pack].Digest
	if t.place == r.write {
		r.trees.spoil(d)
	}
	err := artifacts.ErrDamaged
	if absent(why) {
		err = artifacts.ErrMissing
	}
	if errors.Is(why, err) {
		return fmt.Errorf("%s: %w", packName(d), why)
	}
	return fmt.Errorf("%s: %w: %w", packName(d), err, why)
}
