package pieces

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// part is a part of a piece's raw bytes.
type part struct {
	piece          *artifacts.Digest // known by the time that the map is drawn
	offset, length uint32
}

// layout is how one file lies in pieces.
type layout struct {
	blob  artifacts.Blob
	parts []part
	whole bool // it is one piece by itself
}

// draw makes the one map of files, each of them once, whose pieces lie at where.
func draw(files []layout, where map[artifacts.Digest]Loc) (*Map, error) {
	slices.SortFunc(files, func(a, b layout) int { return bytes.Compare(a.blob.Digest[:], b.blob.Digest[:]) })
	m := new(Map)
	pieces, packs := make(map[artifacts.Digest]uint32), make(map[artifacts.Digest]uint32)
	for _, f := range files {
		m.Files = append(m.Files, FileRef{f.blob.Digest, f.blob.Size, uint32(len(m.Extents)), uint32(len(f.parts))})
		for _, p := range f.parts {
			i, ok := pieces[*p.piece]
			if !ok {
				l, ok := where[*p.piece]
				if !ok {
					return nil, fmt.Errorf("no pack has piece %s", p.piece.Short())
				}
				pack, ok := packs[l.Pack]
				if !ok {
					pack = uint32(len(m.Packs))
					packs[l.Pack] = pack
					m.Packs = append(m.Packs, PackRef{l.Pack, l.PackSize})
				}
				i = uint32(len(m.Pieces))
				pieces[*p.piece] = i
				m.Pieces = append(m.Pieces, Piece{*p.piece, pack, l.Offset, l.Stored, l.Raw, l.Codec})
			}
			m.Extents = append(m.Extents, Extent{i, p.offset, p.length})
		}
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("map of what was cut: %w", err)
	}
	return m, nil
}
