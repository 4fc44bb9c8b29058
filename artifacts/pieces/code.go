package pieces

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/huff0"
	"github.com/klauspost/compress/zstd"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

const (
	sampleSize = 64 << 10 // bytes from a piece's middle that are tried first
	worthwhile = 97       // percent of the raw size that stored bytes may have at most
	// zstd that looks for repetitions must make less of this many percent of what literals alone make: it takes three times as long.
	searching = 98

	encoderWindow = 1 << 20 // bytes: larger ones find little more in models, and each encoder keeps a history of that size
	decoderMemory = 64 << 20
)

// coder makes what is stored of pieces. It serves one goroutine at a time.
type coder struct {
	zstd *zstd.Encoder
	huff *huff0.Scratch
	try  [2][]byte
}

var coders = sync.Pool{New: func() any {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(encoderWindow),
		zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))
	if err != nil {
		panic(fmt.Sprintf("zstd refuses constant options: %v", err))
	}
	return &coder{zstd: e, huff: &huff0.Scratch{Reuse: huff0.ReusePolicyNone}}
}}

// method is how a piece is worth coding.
type method uint8

const (
	asIs method = iota
	searched
	literalsOnly
)

// encode gives what is stored of raw bytes whose elements have so many bytes: with codec Raw they themselves, else a buffer of its own that
// may be given back.
func (c *coder) encode(raw []byte, width int) ([]byte, Codec, error) {
	how, err := c.choose(sample(raw), width)
	if err != nil || how == asIs {
		return raw, Raw, err
	}
	flat := raw
	if width > 1 {
		flat = take(len(raw))
		defer give(flat)
		group(flat, raw, width)
	}
	out, err := c.frame(take(len(raw))[:0], flat, width, how)
	if err != nil || !pays(len(out), len(raw)) {
		give(out)
		return raw, Raw, err
	}
	return out, codecOf(width), nil
}

func pays(stored, raw int) bool { return stored*100 < raw*worthwhile }

// choose tries a sample.
func (c *coder) choose(raw []byte, width int) (method, error) {
	flat := raw
	if width > 1 {
		flat = take(len(raw))
		defer give(flat)
		group(flat, raw, width)
	}
	var size [literalsOnly + 1]int
	for i, how := range []method{searched, literalsOnly} {
		out, err := c.frame(c.try[i][:0], flat, width, how)
		if err != nil {
			return asIs, err
		}
		c.try[i], size[how] = out, len(out)
	}
	switch {
	case !pays(min(size[searched], size[literalsOnly]), len(raw)):
		return asIs, nil
	case size[searched]*100 < size[literalsOnly]*searching:
		return searched, nil
	default:
		return literalsOnly, nil
	}
}

// frame appends one zstd frame of grouped bytes to dst.
func (c *coder) frame(dst, flat []byte, width int, how method) ([]byte, error) {
	if how == searched {
		return c.zstd.EncodeAll(flat, dst), nil
	}
	planes := make([]int, width)
	for i := range planes {
		planes[i] = len(flat) / width
	}
	planes[width-1] += len(flat) % width
	return literals(dst, flat, c.huff, planes...)
}

// sample is what stands for all of raw: its middle. It may begin within an element, which only turns the order of the groups.
func sample(raw []byte) []byte {
	if len(raw) <= sampleSize {
		return raw
	}
	from := (len(raw) - sampleSize) / 2
	return raw[from : from+sampleSize]
}

var decoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(decoderMemory), zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderLowmem(true))
	if err != nil {
		panic(fmt.Sprintf("zstd refuses constant options: %v", err))
	}
	return d
})

// Decode gives the raw bytes of a piece, of which there are len(dst): in dst, or stored itself where they are stored as they are. What is
// no sound frame of that size is ErrDamaged; a codec that is not known is ErrNewer. That they are the piece is for its digest to say.
func Decode(dst []byte, c Codec, stored []byte) ([]byte, error) {
	width := c.width()
	switch {
	case c >= codecs:
		return nil, fmt.Errorf("piece: codec %d is not known: %w", c, ErrNewer)
	case len(dst) == 0, c == Raw && len(stored) != len(dst):
		return nil, fmt.Errorf("piece %w: %d bytes are stored of %d", artifacts.ErrDamaged, len(stored), len(dst))
	case c == Raw:
		return stored, nil
	case width == 1:
		return unframe(dst, stored)
	}
	flat := take(len(dst))
	defer give(flat)
	got, err := unframe(flat, stored)
	if err != nil {
		return nil, err
	}
	ungroup(dst, got, width)
	return dst, nil
}

// unframe fills dst from one zstd frame.
func unframe(dst, stored []byte) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(stored); err != nil {
		return nil, fmt.Errorf("piece %w: its frame: %w", artifacts.ErrDamaged, err)
	}
	if h.Skippable || !h.SingleSegment || h.HasCheckSum || h.DictionaryID != 0 || h.FrameContentSize != uint64(len(dst)) {
		return nil, fmt.Errorf("piece %w: its frame is not of one segment and %d bytes", artifacts.ErrDamaged, len(dst))
	}
	out, err := decoder().DecodeAll(stored, dst[:0:len(dst)])
	switch {
	case err != nil:
		return nil, fmt.Errorf("piece %w: %w", artifacts.ErrDamaged, err)
	case len(out) != len(dst):
		return nil, fmt.Errorf("piece %w: it has %d bytes, not %d", artifacts.ErrDamaged, len(out), len(dst))
	case &out[0] != &dst[0]:
		copy(dst, out) // the decoder took another buffer
	}
	return dst, nil
}
