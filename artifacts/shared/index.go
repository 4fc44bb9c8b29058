package shared

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// An index is one object with all small blobs of one build, for whoever looks for its results from an empty machine: indexMagic, then one
// zstd frame of a count of 4 bytes, and as many blobs, each behind its length of 4 bytes (little-endian). The build comes first, then records,
// then the rest. There are no names in it: whoever reads it hashes each blob. It can be deleted at any time.
const (
	indexMagic = "tinfidx1"
	maxIndex   = 64 << 20 // bytes in the frame; what does not fit is left out
	// Bytes from which on a log, or a file of a worker's sources, is left out.
	maxIndexLog    = 64 << 10
	maxIndexSource = 1 << 20
)

func indexName(build artifacts.Digest) string { return "indexes/" + build.Hex() }

// bundle is what goes into an index.
type bundle struct {
	blobs   [][]byte
	seen    map[artifacts.Digest]bool
	sources map[artifacts.Digest]bool // workers whose files were looked at
	size    int
}

func newBundle() *bundle {
	return &bundle{seen: make(map[artifacts.Digest]bool), sources: make(map[artifacts.Digest]bool), size: 4}
}

// add takes a blob, once; false where it does not fit.
func (b *bundle) add(d artifacts.Digest, blob []byte) bool {
	if b.seen[d] {
		return true
	}
	if len(blob)+4 > maxIndex-b.size {
		return false
	}
	b.seen[d] = true
	b.blobs = append(b.blobs, blob)
	b.size += len(blob) + 4
	return true
}

var indexEncoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))
	if err != nil {
		panic(fmt.Sprintf("zstd refuses constant options: %v", err))
	}
	return e
})

func (b *bundle) encode() []byte {
	raw := binary.LittleEndian.AppendUint32(make([]byte, 0, b.size), uint32(len(b.blobs)))
	for _, blob := range b.blobs {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(len(blob)))
		raw = append(raw, blob...)
	}
	return indexEncoder().EncodeAll(raw, []byte(indexMagic))
}

var indexDecoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxIndex), zstd.WithDecoderMaxWindow(maxIndex))
	if err != nil {
		panic(fmt.Sprintf("zstd refuses constant options: %v", err))
	}
	return d
})

// decodeIndex gives the blobs of an index. The bytes may be anybody's.
func decodeIndex(b []byte) ([][]byte, error) {
	frame, ok := bytes.CutPrefix(b, []byte(indexMagic))
	if !ok {
		return nil, fmt.Errorf("index: %w: it does not begin with %q", artifacts.ErrDamaged, indexMagic)
	}
	raw, err := indexDecoder().DecodeAll(frame, nil)
	if err != nil {
		return nil, fmt.Errorf("index: %w: %w", artifacts.ErrDamaged, err)
	}
	if len(raw) < 4 {
		return nil, fmt.Errorf("index: %w: it has no count", artifacts.ErrDamaged)
	}
	count, rest := binary.LittleEndian.Uint32(raw), raw[4:]
	if uint64(count)*4 > uint64(len(rest)) {
		return nil, fmt.Errorf("index: %w: %d blobs are not in %d bytes", artifacts.ErrDamaged, count, len(rest))
	}
	blobs := make([][]byte, 0, count)
	for range count {
		var blob []byte
		if blob, rest, err = cutBlob(rest); err != nil {
			return nil, fmt.Errorf("index: %w: %w", artifacts.ErrDamaged, err)
		}
		blobs = append(blobs, blob)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("index: %w: %d bytes are left over", artifacts.ErrDamaged, len(rest))
	}
	return blobs, nil
}

var errEndsEarly = errors.New("it ends early")

func cutBlob(b []byte) (blob, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errEndsEarly
	}
	n := binary.LittleEndian.Uint32(b)
	if b = b[4:]; n > math.MaxInt32 || int(n) > len(b) {
		return nil, nil, errEndsEarly
	}
	return b[:n:n], b[n:], nil
}
