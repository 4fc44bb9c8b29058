package pieces

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// DecodeMap accepts only what Encode writes. Everything else is ErrDamaged, but for a sound map that says something unknown, which is
// ErrNewer. Nothing is allocated before the length bears out the counts.
func DecodeMap(b []byte) (*Map, error) {
	m, err := decodeMap(b)
	switch {
	case errors.Is(err, ErrNewer):
		return nil, fmt.Errorf("map of pieces: %w", err)
	case err != nil:
		return nil, fmt.Errorf("map of pieces %w: %w", artifacts.ErrDamaged, err)
	}
	return m, nil
}

func decodeMap(b []byte) (*Map, error) {
	if len(b) < headSize+sha256.Size || len(b) > MaxMap {
		return nil, fmt.Errorf("it has %d bytes", len(b))
	}
	text, trailer := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if artifacts.Sum(text) != artifacts.Digest(trailer) {
		return nil, errors.New("the sha256 at its end is not that of what stands before")
	}
	magic := string(text[:len(mapMagic)])
	switch {
	case magic == mapMagic:
	case strings.HasPrefix(magic, mapMagic[:len(mapMagic)-1]):
		return nil, fmt.Errorf("it begins with %q: %w", magic, ErrNewer)
	default:
		return nil, fmt.Errorf("it begins with %q", magic)
	}
	r := &mapReader{text[len(mapMagic):]}
	packs, pieces, extents, files, flags := r.u32(), r.u32(), r.u32(), r.u32(), r.u32()
	if flags != 0 {
		return nil, fmt.Errorf("flags %#x are not known: %w", flags, ErrNewer)
	}
	want := uint64(packs)*uint64(packSize) + uint64(pieces)*uint64(pieceSize) + uint64(extents)*uint64(extentSize) + uint64(files)*uint64(fileSize)
	if want != uint64(len(r.rest)) {
		return nil, fmt.Errorf("%d packs, %d pieces, %d extents and %d files take %d bytes, and there are %d", packs, pieces, extents, files, want, len(r.rest))
	}
	m := &Map{make([]PackRef, packs), make([]Piece, pieces), make([]Extent, extents), make([]FileRef, files)}
	if err := m.read(r); err != nil {
		return nil, err
	}
	return m, m.check()
}

func (m *Map) read(r *mapReader) error {
	for i := range m.Packs {
		m.Packs[i] = PackRef{r.digest(), r.u32()}
	}
	for i := range m.Pieces {
		p := Piece{Digest: r.digest(), Pack: r.u32(), Offset: r.u32(), Stored: r.u32(), Raw: r.u32()}
		codec := r.u32()
		if codec > math.MaxUint8 {
			return fmt.Errorf("piece %d has bytes that must be zero: %#x", i, codec)
		}
		p.Codec = Codec(codec)
		m.Pieces[i] = p
	}
	for i := range m.Extents {
		m.Extents[i] = Extent{r.u32(), r.u32(), r.u32()}
	}
	for i := range m.Files {
		f := FileRef{Digest: r.digest()}
		size := r.u64()
		if size > math.MaxInt64 {
			return fmt.Errorf("file %d has %d bytes", i, size)
		}
		f.Size, f.First, f.Count = int64(size), r.u32(), r.u32()
		m.Files[i] = f
	}
	return nil
}

// mapReader takes numbers from the front; its length was checked.
type mapReader struct{ rest []byte }

func (r *mapReader) u32() uint32 {
	n := binary.LittleEndian.Uint32(r.rest)
	r.rest = r.rest[4:]
	return n
}

func (r *mapReader) u64() uint64 {
	n := binary.LittleEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	return n
}

func (r *mapReader) digest() artifacts.Digest {
	d := artifacts.Digest(r.rest[:sha256.Size])
	r.rest = r.rest[sha256.Size:]
	return d
}
