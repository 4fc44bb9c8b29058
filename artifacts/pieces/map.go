package pieces

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

const (
	mapMagic   = "tinfmap1"
	headSize   = len(mapMagic) + 5*4
	packSize   = sha256.Size + 4
	pieceSize  = sha256.Size + 4*4 + 4
	extentSize = 3 * 4
	fileSize   = sha256.Size + 8 + 2*4
	// MaxMap is the most bytes that an encoded map has.
	MaxMap = 256 << 20
)

// Map says how files lie in packs. It has one spelling: files are sorted by digest, extents lie in the order of the files, pieces and packs
// are numbered in the order of their first use, and none is unused.
type Map struct {
	Packs   []PackRef
	Pieces  []Piece
	Extents []Extent
	Files   []FileRef
}

// PackRef is a pack: the sha256 of its bytes names it.
type PackRef struct {
	Digest artifacts.Digest
	Size   uint32 // bytes
}

// Piece is where one piece lies. Digest is that of its raw bytes.
type Piece struct {
	Digest artifacts.Digest
	Pack   uint32 // in Map.Packs
	Offset uint32 // bytes from the pack's beginning
	Stored uint32 // bytes in the pack
	Raw    uint32 // bytes of the piece
	Codec  Codec
}

// Extent is a part of a piece's raw bytes.
type Extent struct {
	Piece  uint32 // in Map.Pieces
	Offset uint32 // bytes within the piece
	Length uint32 // bytes, at least one
}

// FileRef is a file: its extents, one behind the other, are its bytes.
type FileRef struct {
	Digest artifacts.Digest // of the whole file
	Size   int64            // bytes
	First  uint32           // in Map.Extents
	Count  uint32
}

// File finds a file by its digest.
func (m *Map) File(d artifacts.Digest) (FileRef, bool) {
	i, ok := slices.BinarySearchFunc(m.Files, d, func(f FileRef, d artifacts.Digest) int { return bytes.Compare(f.Digest[:], d[:]) })
	if !ok {
		return FileRef{}, false
	}
	return m.Files[i], true
}

// Of gives the extents of a file of the map.
func (m *Map) Of(f FileRef) []Extent { return m.Extents[f.First : f.First+f.Count] }

// Loc is where the i-th piece lies.
func (m *Map) Loc(i uint32) Loc {
	p := &m.Pieces[i]
	pack := &m.Packs[p.Pack]
	return Loc{pack.Digest, pack.Size, p.Offset, p.Stored, p.Raw, p.Codec}
}

// Encode gives the bytes of maps/<hex>, little-endian, and a sha256 of all before at their end. A map that DecodeMap would refuse is an
// error.
func (m *Map) Encode() ([]byte, error) {
	size := headSize + len(m.Packs)*packSize + len(m.Pieces)*pieceSize + len(m.Extents)*extentSize + len(m.Files)*fileSize + sha256.Size
	if size > MaxMap {
		return nil, fmt.Errorf("map of %d files and %d pieces: %d bytes are more than %d", len(m.Files), len(m.Pieces), size, MaxMap)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	b := append(make([]byte, 0, size), mapMagic...)
	u32 := func(all ...uint32) {
		for _, n := range all {
			b = binary.LittleEndian.AppendUint32(b, n)
		}
	}
	u32(uint32(len(m.Packs)), uint32(len(m.Pieces)), uint32(len(m.Extents)), uint32(len(m.Files)), 0)
	for _, p := range m.Packs {
		b = append(b, p.Digest[:]...)
		u32(p.Size)
	}
	for _, p := range m.Pieces {
		b = append(b, p.Digest[:]...)
		u32(p.Pack, p.Offset, p.Stored, p.Raw, uint32(p.Codec))
	}
	for _, e := range m.Extents {
		u32(e.Piece, e.Offset, e.Length)
	}
	for _, f := range m.Files {
		b = append(b, f.Digest[:]...)
		b = binary.LittleEndian.AppendUint64(b, uint64(f.Size))
		u32(f.First, f.Count)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}
