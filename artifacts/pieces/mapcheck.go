package pieces

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

var emptyDigest = artifacts.Sum(nil)

// check: the numbers mean what they must, and the map is spelled in the one way that there is. It takes memory in proportion to the map.
func (m *Map) check() error {
	if err := m.checkPacks(); err != nil {
		return err
	}
	if err := m.checkPieces(); err != nil {
		return err
	}
	if err := m.checkExtents(); err != nil {
		return err
	}
	return m.checkFiles()
}

func (m *Map) checkPacks() error {
	for i, p := range m.Packs {
		if p.Size < 1 || p.Size > MaxPack {
			return fmt.Errorf("pack %d has %d bytes", i, p.Size)
		}
	}
	if twice(len(m.Packs), func(i uint32) []byte { return m.Packs[i].Digest[:] }) {
		return errors.New("a pack is there twice")
	}
	return nil
}

// checkPieces lets pieces overlap: two files that were cut in different ways can have made the same pack.
func (m *Map) checkPieces() error {
	used := uint32(0)
	for i, p := range m.Pieces {
		switch {
		case int64(p.Pack) >= int64(len(m.Packs)):
			return fmt.Errorf("piece %d lies in pack %d of %d", i, p.Pack, len(m.Packs))
		case p.Pack > used:
			return fmt.Errorf("piece %d lies in pack %d before any lies in pack %d", i, p.Pack, used)
		case p.Pack == used:
			used++
		}
		if err := m.Loc(uint32(i)).Check(); err != nil {
			return fmt.Errorf("piece %d: %w", i, err)
		}
	}
	if int(used) != len(m.Packs) {
		return fmt.Errorf("no piece lies in pack %d", used)
	}
	if twice(len(m.Pieces), func(i uint32) []byte { return m.Pieces[i].Digest[:] }) {
		return errors.New("a piece is there twice")
	}
	return nil
}

func (m *Map) checkExtents() error {
	used := uint32(0)
	for i, e := range m.Extents {
		switch {
		case int64(e.Piece) >= int64(len(m.Pieces)):
			return fmt.Errorf("extent %d is of piece %d of %d", i, e.Piece, len(m.Pieces))
		case e.Piece > used:
			return fmt.Errorf("extent %d is of piece %d before any is of piece %d", i, e.Piece, used)
		case e.Length < 1 || uint64(e.Offset)+uint64(e.Length) > uint64(m.Pieces[e.Piece].Raw):
			return fmt.Errorf("extent %d has %d bytes at %d of a piece of %d", i, e.Length, e.Offset, m.Pieces[e.Piece].Raw)
		case e.Piece == used:
			used++
		}
	}
	if int(used) != len(m.Pieces) {
		return fmt.Errorf("no extent is of piece %d", used)
	}
	return nil
}

func (m *Map) checkFiles() error {
	next := uint64(0)
	for i, f := range m.Files {
		if i > 0 && bytes.Compare(m.Files[i-1].Digest[:], f.Digest[:]) >= 0 {
			return fmt.Errorf("file %d is not behind the one before it", i)
		}
		if uint64(f.First) != next || next+uint64(f.Count) > uint64(len(m.Extents)) {
			return fmt.Errorf("file %d has %d extents from %d; want those from %d of %d", i, f.Count, f.First, next, len(m.Extents))
		}
		next += uint64(f.Count)
		var size int64
		for k, e := range m.Of(f) {
			if k > 0 {
				if b := m.Extents[f.First+uint32(k)-1]; b.Piece == e.Piece && b.Offset+b.Length == e.Offset {
					return fmt.Errorf("extent %d of file %d goes on where the one before it ends", k, i)
				}
			}
			size += int64(e.Length)
		}
		if size != f.Size || (f.Size == 0) != (f.Digest == emptyDigest) {
			return fmt.Errorf("file %d of %d bytes has extents of %d", i, f.Size, size)
		}
	}
	if next != uint64(len(m.Extents)) {
		return fmt.Errorf("%d extents belong to no file", uint64(len(m.Extents))-next)
	}
	return nil
}

// twice tells whether two of n digests are equal.
func twice(n int, digest func(uint32) []byte) bool {
	order := numbers(n)
	slices.SortFunc(order, func(a, b uint32) int { return bytes.Compare(digest(a), digest(b)) })
	for i := 1; i < n; i++ {
		if bytes.Equal(digest(order[i-1]), digest(order[i])) {
			return true
		}
	}
	return false
}

func numbers(n int) []uint32 {
	all := make([]uint32, n)
	for i := range all {
		all[i] = uint32(i)
	}
	return all
}
