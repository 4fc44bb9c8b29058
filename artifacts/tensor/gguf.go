package tensor

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
)

// ErrGGUF: the file does not begin with a sound header.
var ErrGGUF = errors.New("not a sound GGUF file")

const (
	ggufMagic        = "GGUF"
	ggufAlignment    = 32 // unless the metadata say otherwise
	ggufDimensions   = 4  // ggml has no more
	ggufAlignmentKey = "general.alignment"
	// ggufTypes is beyond the numbers of types that forks of ggml use. Of one that is not in the table nobody here knows the
	// size: its tensors reach to the next one.
	ggufTypes   = 1024
	unknownSize = -1
	// The least that an entry of the metadata takes: length of the key, a byte of it, type, a byte of value.
	ggufLeastEntry = 8 + 1 + 4 + 1
	// The least that a tensor takes: length of the name, a byte of it, number of dimensions, type, offset.
	ggufLeastTensor = 8 + 1 + 4 + 4 + 8
)

// ReadGGUF reads the header of a file of version 2 or 3, of size bytes; one whose version reads as 2^24 times that has
// big-endian numbers throughout, as s390x wants them. The tensors it gives lie one behind
// the other to the end of the file, with nothing but padding between them. Of the metadata it keeps nothing; they are
// read to see where they end.
func ReadGGUF(r io.ReaderAt, size int64) (*Header, error) {
	g := &gguf{in: newGGUFReader(r, size), alignment: ggufAlignment}
	h, err := g.read(size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGGUF, err)
	}
	return h, nil
}

type gguf struct {
	in        *ggufReader
	alignment int64
	tensors   []Tensor // Offset counts from the beginning of the data
}

func (g *gguf) read(size int64) (*Header, error) {
	if err := g.header(); err != nil {
		return nil, fmt.Errorf("byte %d: %w", g.in.at, err)
	}
	end := g.in.at
	data, ok := g.pad(end)
	if !ok {
		return nil, fmt.Errorf("the data would begin beyond any file: the alignment is %d", g.alignment)
	}
	h := &Header{Tensors: g.tensors, Data: data, BigEndian: g.in.ends == binary.BigEndian}
	return h, g.place(h, end, size)
}

func (g *gguf) header() error {
	magic, err := g.in.text(uint64(len(ggufMagic)), len(ggufMagic))
	if err != nil {
		return err
	}
	if magic != ggufMagic {
		return fmt.Errorf("it begins with %q, not %q", magic, ggufMagic)
	}
	version, err := g.in.uint32()
	if version&0xffff == 0 {
		g.in.ends, version = binary.BigEndian, bits.ReverseBytes32(version)
	}
	switch {
	case err != nil:
		return err
	case version != 2 && version != 3:
		return fmt.Errorf("version %d is not known; 2 and 3 are", version)
	}
	tensors, err := g.in.count("tensors", ggufLeastTensor)
	if err != nil {
		return err
	}
	entries, err := g.in.count("entries of metadata", ggufLeastEntry)
	if err != nil {
		return err
	}
	keys := make(map[string]bool)
	for range entries {
		if err := g.entry(keys); err != nil {
			return err
		}
	}
	names := make(map[string]bool)
	for range tensors {
		if err := g.tensor(names); err != nil {
			return err
		}
	}
	return nil
}

// entry reads a key and its value.
func (g *gguf) entry(seen map[string]bool) error {
	key, err := g.in.name(seen)
	if err != nil {
		return fmt.Errorf("a key of the metadata: %w", err)
	}
	kind, err := g.in.uint32()
	if err != nil {
		return fmt.Errorf("metadata %q: %w", key, err)
	}
	if key != ggufAlignmentKey {
		if err := g.in.skip(kind, 0); err != nil {
			return fmt.Errorf("metadata %q: %w", key, err)
		}
		return nil
	}
	if kind != ggufUint32 {
		return fmt.Errorf("metadata %q is of type %d, not of %d", key, kind, ggufUint32)
	}
	n, err := g.in.uint32()
	if err != nil {
		return fmt.Errorf("metadata %q: %w", key, err)
	}
	if bits.OnesCount32(n) != 1 {
		return fmt.Errorf("metadata %q: %d is no power of two", key, n)
	}
	g.alignment = int64(n)
	return nil
}

func (g *gguf) tensor(seen map[string]bool) error {
	name, err := g.in.name(seen)
	if err != nil {
		return fmt.Errorf("the name of tensor %d: %w", len(g.tensors)+1, err)
	}
	t := Tensor{Name: name}
	if err := g.layout(&t); err != nil {
		return fmt.Errorf("tensor %q: %w", name, err)
	}
	g.tensors = append(g.tensors, t)
	return nil
}

// layout reads what follows a tensor's name.
func (g *gguf) layout(t *Tensor) error {
	count, err := g.in.uint32()
	if err != nil {
		return err
	}
	if count > ggufDimensions {
		return fmt.Errorf("it has %d dimensions; %d is the most", count, ggufDimensions)
	}
	t.Shape = make([]int64, count)
	for i := range t.Shape {
		dim, err := g.in.uint64()
		if err != nil {
			return err
		}
		if dim > math.MaxInt64 {
			return fmt.Errorf("a dimension is %d", dim)
		}
		t.Shape[len(t.Shape)-1-i] = int64(dim) // the file has them the other way round
	}
	number, err := g.in.uint32()
	if err != nil {
		return err
	}
	kind, known := ggmlTypes[number]
	switch {
	case known:
		t.DType = kind.name
	case number < ggufTypes:
		t.DType = fmt.Sprintf("type %d", number)
	default:
		return fmt.Errorf("type %d is not known", number)
	}
	offset, err := g.in.uint64()
	if err != nil {
		return err
	}
	if offset > math.MaxInt64 {
		return fmt.Errorf("its offset is %d", offset)
	}
	t.Offset = int64(offset)
	if !known {
		t.Size = unknownSize
		return nil
	}
	t.Size, err = kind.size(t.Shape)
	return err
}

// size is how many bytes a tensor takes.
func (k ggmlType) size(shape []int64) (int64, error) {
	row := uint64(1)
	if len(shape) > 0 {
		row = uint64(shape[len(shape)-1])
	}
	if row%k.block != 0 {
		return 0, fmt.Errorf("%s comes in blocks of %d; a row of shape %v is no multiple", k.name, k.block, shape)
	}
	n := row / k.block * k.bytes // a row of 2^63 numbers takes at most 2^66 bytes, hence the check
	if high, _ := bits.Mul64(row/k.block, k.bytes); high != 0 || n > math.MaxInt64 {
		return 0, fmt.Errorf("shape %v is larger than any file", shape)
	}
	for _, dim := range shape[:max(len(shape)-1, 0)] {
		high, low := bits.Mul64(n, uint64(dim))
		if high != 0 || low > math.MaxInt64 {
			return 0, fmt.Errorf("shape %v is larger than any file", shape)
		}
		n = low
	}
	return int64(n), nil
}

// pad is the next multiple of the alignment; false when that is beyond any file.
func (g *gguf) pad(n int64) (int64, bool) {
	if n > math.MaxInt64-(g.alignment-1) {
		return 0, false
	}
	return (n + g.alignment - 1) &^ (g.alignment - 1), true
}

// place sorts the tensors by where they lie and makes offsets count from the beginning of the file. end is where the
// header ends. Each tensor begins at the first multiple of the alignment behind the one before it; the padding of the
// last one may lack.
func (g *gguf) place(h *Header, end, size int64) error {
	slices.SortFunc(h.Tensors, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Size, b.Size), cmp.Compare(a.Name, b.Name))
	})
	for i := range h.Tensors {
		next := size - h.Data
		if i+1 < len(h.Tensors) {
			next = h.Tensors[i+1].Offset
		}
		if t := &h.Tensors[i]; t.Size == unknownSize {
			t.Size = max(0, next-t.Offset)
		}
	}
	at, padded, before := end, h.Data, "the header"
	for i := range h.Tensors {
		t := &h.Tensors[i]
		if t.Offset > math.MaxInt64-h.Data {
			return fmt.Errorf("tensor %q: its offset is %d", t.Name, t.Offset)
		}
		t.Offset += h.Data
		switch {
		case t.Offset < padded:
			return fmt.Errorf("tensors %q and %q overlap", before, t.Name)
		case t.Offset > padded:
			return fmt.Errorf("%d bytes between %q and %q belong to no tensor", t.Offset-padded, before, t.Name)
		case t.Size > size-t.Offset:
			return fmt.Errorf("tensor %q is %d bytes at %d in a file of %d: it is cut short", t.Name, t.Size, t.Offset, size)
		}
		if t.Size > 0 {
			at, before = t.Offset+t.Size, t.Name
		}
		padded, _ = g.pad(at)
		padded = max(padded, h.Data)
	}
	if size > padded {
		return fmt.Errorf("%d bytes after %q belong to no tensor", size-padded, before)
	}
	return nil
}
