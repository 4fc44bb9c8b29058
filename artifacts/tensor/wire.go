package tensor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
)

// The wire types of protobuf, by its encoding specification. Groups are in no file of ours.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

const (
	wireBuffer  = 4 << 10 // what lies between two tensors is mostly less
	longestTag  = binary.MaxVarintLen64
	wireLargest = 1<<29 - 1 // number of a field
)

// wireField is one field of a message: a number, or the bytes from at to end of the file.
type wireField struct {
	number  uint64
	kind    byte
	value   uint64
	at, end int64
}

// wire reads protobuf where it lies. What a field holds is passed over unless it is asked for, so a message may be of any size: the weights
// of a model are part of it.
type wire struct {
	src  io.ReaderAt
	size int64

	buf  []byte // bytes from off
	off  int64
	left int64 // bytes that may still be read
}

func newWire(src io.ReaderAt, size int64) *wire {
	return &wire{src: src, size: size, left: maxHeader}
}

// peek gives up to n bytes from at, fewer where end comes first. They are good until the next call.
func (w *wire) peek(at, end int64, n int) ([]byte, error) {
	n = int(min(int64(n), end-at))
	if from := at - w.off; from >= 0 && from+int64(n) <= int64(len(w.buf)) {
		return w.buf[from : from+int64(n)], nil
	}
	much := int(min(max(int64(n), wireBuffer), w.size-at))
	if w.left -= int64(much); w.left < 0 {
		return nil, fmt.Errorf("what describes its tensors is longer than %d bytes", maxHeader)
	}
	if cap(w.buf) < much {
		w.buf = make([]byte, much)
	}
	w.buf, w.off = w.buf[:much], at
	if got, err := w.src.ReadAt(w.buf, at); err != nil && (got < much || !errors.Is(err, io.EOF)) {
		w.buf = w.buf[:0]
		return nil, fmt.Errorf("reading: %w", err)
	}
	return w.buf[:n], nil
}

func (w *wire) varint(at, end int64) (v uint64, next int64, err error) {
	b, err := w.peek(at, end, longestTag)
	if err != nil {
		return 0, 0, err
	}
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, 0, fmt.Errorf("byte %d: no number is there", at)
	}
	return v, at + int64(n), nil
}

// text gives the bytes of a field, of which there may be most.
func (w *wire) text(f wireField, most int) (string, error) {
	if f.kind != wireBytes || f.end-f.at > int64(most) {
		return "", fmt.Errorf("byte %d: no text of at most %d bytes", f.at, most)
	}
	b, err := w.peek(f.at, f.end, most)
	return string(b), err
}

// fields gives those of a message, the last with the error where there is one.
func (w *wire) fields(at, end int64) iter.Seq2[wireField, error] {
	return func(yield func(wireField, error) bool) {
		for at < end {
			f, next, err := w.field(at, end)
			if !yield(f, err) || err != nil {
				return
			}
			at = next
		}
	}
}

func (w *wire) field(at, end int64) (f wireField, next int64, err error) {
	tag, next, err := w.varint(at, end)
	if err != nil {
		return f, 0, err
	}
	f = wireField{number: tag >> 3, kind: byte(tag & 7)}
	if f.number == 0 || f.number > wireLargest {
		return f, 0, fmt.Errorf("byte %d: field %d cannot be", at, f.number)
	}
	size := uint64(0)
	switch f.kind {
	case wireVarint:
		f.value, next, err = w.varint(next, end)
	case wireFixed64:
		size = 8
	case wireFixed32:
		size = 4
	case wireBytes:
		size, next, err = w.varint(next, end)
	default:
		return f, 0, fmt.Errorf("byte %d: type %d of a field is not known", at, f.kind)
	}
	if err != nil {
		return f, 0, err
	}
	if size > math.MaxInt64 || int64(size) > end-next {
		return f, 0, fmt.Errorf("byte %d: %d bytes are announced, %d are left", at, size, end-next)
	}
	f.at, f.end = next, next+int64(size)
	return f, f.end, nil
}
