// Package pieces turns the files of a tree into pieces, packs of pieces and a map of where each lies, and back. It knows bytes: where
// files are best cut, how pieces are coded, how packs and maps are spelled. It must not know networks, buckets, manifests, keys or what
// a model is for. Maps and packs come from a place that others write to: every number in them is checked before it is believed.
package pieces

import (
	"errors"
	"fmt"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Sizes in bytes. The first two are part of the format; PackTarget is what a packer fills a pack up to.
const (
	MaxPiece   = 16 << 20
	MaxPack    = 64 << 20
	PackTarget = 16 << 20
)

// ErrNewer: bytes are sound, but say something that this program does not know.
var ErrNewer = errors.New("made by a newer tinfra: use a newer one")

// Codec is how the bytes of a piece are stored. The numbers are part of the format.
type Codec uint8

const (
	Raw      Codec = iota // as they are
	Zstd                  // one zstd frame
	Grouped2              // grouped by significance of elements of 2 bytes, then one zstd frame
	Grouped4
	Grouped8
	codecs // how many are known
)

// width is how many bytes an element has that the codec groups: 1 where it does not.
func (c Codec) width() int {
	switch c {
	case Grouped2:
		return 2
	case Grouped4:
		return 4
	case Grouped8:
		return 8
	default:
		return 1
	}
}

// codecOf is the codec for compressed bytes of elements of so many bytes.
func codecOf(width int) Codec {
	switch width {
	case 2:
		return Grouped2
	case 4:
		return Grouped4
	case 8:
		return Grouped8
	default:
		return Zstd
	}
}

// Loc is where a piece lies and how it is stored there. All sizes are bytes.
type Loc struct {
	Pack     artifacts.Digest
	PackSize uint32
	Offset   uint32
	Stored   uint32 // bytes in the pack
	Raw      uint32 // bytes of the piece
	Codec    Codec
}

// Check says whether such a piece can be.
func (l Loc) Check() error {
	switch {
	case l.PackSize < 1 || l.PackSize > MaxPack:
		return fmt.Errorf("a pack of %d bytes", l.PackSize)
	case l.Codec >= codecs:
		return fmt.Errorf("codec %d is not known: %w", l.Codec, ErrNewer)
	case l.Raw < 1 || l.Raw > MaxPiece:
		return fmt.Errorf("a piece of %d bytes", l.Raw)
	case l.Codec == Raw && l.Stored != l.Raw, l.Codec != Raw && (l.Stored < 1 || l.Stored >= l.Raw):
		return fmt.Errorf("a piece of %d bytes with codec %d is stored in %d", l.Raw, l.Codec, l.Stored)
	case uint64(l.Offset)+uint64(l.Stored) > uint64(l.PackSize):
		return fmt.Errorf("%d bytes at %d in a pack of %d", l.Stored, l.Offset, l.PackSize)
	}
	return nil
}
