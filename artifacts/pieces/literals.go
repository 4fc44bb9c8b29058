package pieces

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/huff0"
)

// The parts of a zstd frame (RFC 8878) that are written here: blocks of nothing but Huffman-coded literals. A search for repetitions costs
// most of an encoder's time, and in the numbers of a model there are none but by chance, which it then spends bits on.
const (
	frameMagic  = 0xFD2FB528
	frameSingle = 0xA0 // one segment, a content size of four bytes, no checksum, no dictionary

	blockSize       = 128 << 10
	blockRaw        = 0
	blockRLE        = 1
	blockCompressed = 2

	fourStreams    = 2 | 3<<2 // literals compressed with a table of their own in four streams, sizes of 18 bits
	literalsHeader = 5
	leastBlock     = 1024 // bytes below which four streams do not pay

	// mostUntried is how many blocks are taken as they are, at most, because those before them got no smaller: the low bytes of numbers are
	// noise, mostly, and to find that out anew takes half of what coding the others does.
	mostUntried = 7
)

// literals appends a frame of src to dst. planes are the lengths of regions of different kinds of bytes; no block has bytes of two.
func literals(dst, src []byte, s *huff0.Scratch, planes ...int) ([]byte, error) {
	dst = binary.LittleEndian.AppendUint32(dst, frameMagic)
	dst = append(dst, frameSingle)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(src)))
	untried, left := 0, 0 // blocks after one that got no smaller, and how many are to come
	for len(src) > 0 {
		for len(planes) > 1 && planes[0] == 0 {
			planes = planes[1:]
			untried, left = 0, 0
		}
		n := min(blockSize, len(src))
		if len(planes) > 0 && planes[0] > 0 {
			n = min(n, planes[0])
			planes[0] -= n
		}
		last := n == len(src)
		if left > 0 {
			left--
			dst = rawBlock(dst, src[:n], last)
		} else {
			before := len(dst)
			var err error
			if dst, err = literalBlock(dst, src[:n], s, last); err != nil {
				return nil, err
			}
			untried = min(2*untried+1, mostUntried)
			if len(dst)-before < n {
				untried = 0
			}
			left = untried
		}
		src = src[n:]
	}
	return dst, nil
}

func blockHeader(dst []byte, kind, size int, last bool) []byte {
	n := uint32(size)<<3 | uint32(kind)<<1
	if last {
		n |= 1
	}
	return append(dst, byte(n), byte(n>>8), byte(n>>16))
}

func rawBlock(dst, src []byte, last bool) []byte {
	return append(blockHeader(dst, blockRaw, len(src), last), src...)
}

func literalBlock(dst, src []byte, s *huff0.Scratch, last bool) ([]byte, error) {
	if len(src) < leastBlock {
		return rawBlock(dst, src, last), nil
	}
	out, _, err := huff0.Compress4X(src, s)
	switch {
	case errors.Is(err, huff0.ErrIncompressible):
		return rawBlock(dst, src, last), nil
	case errors.Is(err, huff0.ErrUseRLE):
		return append(blockHeader(dst, blockRLE, len(src), last), src[0]), nil
	case err != nil:
		return nil, fmt.Errorf("coding literals: %w", err)
	}
	size := literalsHeader + len(out) + 1
	if size >= len(src) {
		return rawBlock(dst, src, last), nil
	}
	dst = blockHeader(dst, blockCompressed, size, last)
	sizes := uint64(fourStreams) | uint64(len(src))<<4 | uint64(len(out))<<22
	dst = append(dst, byte(sizes), byte(sizes>>8), byte(sizes>>16), byte(sizes>>24), byte(sizes>>32))
	dst = append(dst, out...)
	return append(dst, 0), nil // no sequences
}
