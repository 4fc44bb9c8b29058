package tensor

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
)

// ErrSafetensors: the file does not begin with a sound header.
var ErrSafetensors = errors.New("not a sound safetensors file")

const (
	// lengthSize is how many bytes hold the header's length, little-endian.
	lengthSize = 8
	metadata   = "__metadata__"
)

// dtypeBits is the width of an element. Types narrower than a byte are packed.
var dtypeBits = map[string]uint64{
	"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
	"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
	"I16": 16, "U16": 16, "F16": 16, "BF16": 16,
	"I32": 32, "U32": 32, "F32": 32,
	"I64": 64, "U64": 64, "F64": 64, "C64": 64,
}

// ReadSafetensors reads the header of a file of size bytes. The tensors it gives fill the rest of the file without a
// gap and without an overlap.
func ReadSafetensors(r io.ReaderAt, size int64) (*Header, error) {
	h, err := readSafetensors(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSafetensors, err)
	}
	return h, nil
}

func readSafetensors(r io.ReaderAt, size int64) (*Header, error) {
	if size < lengthSize {
		return nil, fmt.Errorf("%d bytes are too few to hold a header", size)
	}
	var length [lengthSize]byte
	if _, err := r.ReadAt(length[:], 0); err != nil {
		return nil, fmt.Errorf("reading the header's length: %w", err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	switch {
	case n > maxHeader:
		return nil, fmt.Errorf("the header's length is %d bytes; the limit is %d", n, maxHeader)
	case int64(n) > size-lengthSize:
		return nil, fmt.Errorf("the header's length is %d bytes in a file of %d: it is cut short", n, size)
	}
	text := make([]byte, n)
	if _, err := r.ReadAt(text, lengthSize); err != nil {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	h := &Header{Data: lengthSize + int64(n)}
	if err := h.decode(text); err != nil {
		return nil, err
	}
	return h, h.check(size)
}

// decode reads the object by hand, since encoding/json lets the last of two equal names win.
func (h *Header) decode(text []byte) error {
	if len(text) == 0 || text[0] != '{' {
		return errors.New("the header does not begin with {")
	}
	if err := strictJSON(text); err != nil {
		return fmt.Errorf("the header %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	err := members(d, func(name string) error {
		if name == metadata {
			return h.describe(d)
		}
		if err := h.add(d, name); err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if rest := bytes.TrimLeft(text[d.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return fmt.Errorf("%d bytes follow the header's JSON", len(rest))
	}
	return nil
}

func (h *Header) describe(d *json.Decoder) error {
	var in map[string]*string
	if err := d.Decode(&in); err != nil {
		return fmt.Errorf("%s: %w", metadata, err)
	}
	for name, text := range in {
		if text == nil {
			return fmt.Errorf("%s: %q is null", metadata, name)
		}
		if h.Metadata == nil {
			h.Metadata = make(map[string]string, len(in))
		}
		h.Metadata[name] = *text
	}
	return nil
}

// add reads what the header says of one tensor. Fields are looked up by hand, since encoding/json also takes "DTYPE" for
// dtype, and null for 0.
func (h *Header) add(d *json.Decoder, name string) error {
	fields := make(map[string]json.RawMessage)
	err := members(d, func(field string) error {
		var raw json.RawMessage
		err := d.Decode(&raw)
		fields[field] = raw
		return err
	})
	if err != nil {
		return err
	}
	t := Tensor{Name: name}
	if fields["dtype"] == nil || fields["shape"] == nil || fields["data_offsets"] == nil {
		return errors.New("want dtype, shape and two data_offsets")
	}
	if raw := fields["dtype"]; raw[0] != '"' || json.Unmarshal(raw, &t.DType) != nil {
		return fmt.Errorf("dtype is %.40s", raw)
	}
	if t.Shape, err = wholes(fields["shape"]); err != nil {
		return fmt.Errorf("shape: %w", err)
	}
	offsets, err := wholes(fields["data_offsets"])
	if err != nil {
		return fmt.Errorf("data_offsets: %w", err)
	}
	if len(offsets) != 2 || offsets[1] < offsets[0] || offsets[1] > math.MaxInt64-h.Data {
		return fmt.Errorf("%d: want two data_offsets, the first not after the second", offsets)
	}
	t.Offset, t.Size = h.Data+offsets[0], offsets[1]-offsets[0]
	want, err := t.bytes()
	if err != nil {
		return err
	}
	if want != uint64(t.Size) {
		return fmt.Errorf("%s of shape %v takes %d bytes; data_offsets give it %d", t.DType, t.Shape, want, t.Size)
	}
	h.Tensors = append(h.Tensors, t)
	return nil
}

// bytes is what dtype and shape say.
func (t *Tensor) bytes() (uint64, error) {
	n, ok := dtypeBits[t.DType]
	if !ok {
		return 0, fmt.Errorf("unknown dtype %q", t.DType)
	}
	for _, dim := range t.Shape {
		high, low := bits.Mul64(n, uint64(dim))
		if high != 0 {
			return 0, fmt.Errorf("shape %v is larger than any file", t.Shape)
		}
		n = low
	}
	if n%8 != 0 {
		return 0, fmt.Errorf("%s of shape %v does not end on a byte", t.DType, t.Shape)
	}
	return n / 8, nil
}

// check: sorted by offset, each tensor begins where the one before it ends, and the last one ends the file.
func (h *Header) check(size int64) error {
	slices.SortFunc(h.Tensors, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Size, b.Size), cmp.Compare(a.Name, b.Name))
	})
	at, before := h.Data, "the header"
	for _, t := range h.Tensors {
		switch {
		case t.Offset < at:
			return fmt.Errorf("tensors %q and %q overlap", before, t.Name)
		case t.Offset > at:
			return fmt.Errorf("%d bytes between %q and %q belong to no tensor", t.Offset-at, before, t.Name)
		}
		at, before = at+t.Size, t.Name
	}
	switch {
	case at > size:
		return fmt.Errorf("tensor %q ends at byte %d of %d: the file is cut short", before, at, size)
	case at < size:
		return fmt.Errorf("%d bytes after %q belong to no tensor", size-at, before)
	}
	return nil
}
