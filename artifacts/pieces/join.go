package pieces

import (
	"fmt"
	"io"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Join writes a file of the map. read gives n bytes of a pack from off; they are used before it is called again. What is no sound piece is
// ErrDamaged and names its pack. Digests of pieces are verified, since it is they that say which pack is damaged; that of the whole file is
// the caller's to verify.
func (m *Map) Join(w io.Writer, f FileRef, read func(pack PackRef, off, n uint32) ([]byte, error)) error {
	var buf []byte
	defer func() { give(buf) }()
	for _, e := range m.Of(f) {
		p := &m.Pieces[e.Piece]
		pack := m.Packs[p.Pack]
		stored, err := read(pack, p.Offset, p.Stored)
		if err != nil {
			return fmt.Errorf("pack %s: %w", pack.Digest.Short(), err)
		}
		if cap(buf) < int(p.Raw) {
			give(buf)
			buf = take(int(p.Raw))
		}
		raw, err := m.Open(e.Piece, buf[:p.Raw], stored)
		if err != nil {
			return err
		}
		if _, err := w.Write(raw[e.Offset : e.Offset+e.Length]); err != nil {
			return fmt.Errorf("joining %s: %w", f.Digest.Short(), err)
		}
	}
	return nil
}

// Open gives the raw bytes of the i-th piece, verified: in dst, of as many bytes, or stored itself. ErrDamaged names the pack.
func (m *Map) Open(i uint32, dst, stored []byte) ([]byte, error) {
	p := &m.Pieces[i]
	raw, err := Decode(dst, p.Codec, stored)
	if err == nil && artifacts.Sum(raw) != p.Digest {
		err = fmt.Errorf("piece %s: %w", p.Digest.Short(), artifacts.ErrDamaged)
	}
	if err != nil {
		return nil, fmt.Errorf("pack %s, %d bytes at %d: %w", m.Packs[p.Pack].Digest.Short(), p.Stored, p.Offset, err)
	}
	return raw, nil
}
