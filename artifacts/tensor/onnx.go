package tensor

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

// ErrONNX: the file is no model of ONNX, or not a sound one.
var ErrONNX = errors.New("not a sound ONNX model")

const (
	onnxNesting     = 64       // messages in messages; a graph in a node's attribute is three
	onnxLongestName = 64 << 10 // bytes of a tensor's name, or of what is said of its place
	onnxMostShape   = 1 << 10
)

// onnxMessage is one of the messages of onnx.proto that lead to tensors.
type onnxMessage int

const (
	onnxModel onnxMessage = iota + 1
	onnxGraph
	onnxFunction
	onnxNode
	onnxAttribute
	onnxSparse
	onnxTensor
)

// onnxParts are the fields of a message that are messages again, by the numbers in onnx.proto.
var onnxParts = map[onnxMessage]map[uint64]onnxMessage{
	onnxModel:     {7: onnxGraph, 25: onnxFunction},
	onnxGraph:     {1: onnxNode, 5: onnxTensor, 15: onnxSparse},
	onnxFunction:  {7: onnxNode},
	onnxNode:      {5: onnxAttribute},
	onnxAttribute: {5: onnxTensor, 6: onnxGraph, 10: onnxTensor, 11: onnxGraph, 22: onnxSparse, 23: onnxSparse},
	onnxSparse:    {1: onnxTensor, 2: onnxTensor},
}

// onnxTypes are the names of TensorProto.DataType, spelled as in safetensors.
var onnxTypes = map[uint64]string{
	1: "F32", 2: "U8", 3: "I8", 4: "U16", 5: "I16", 6: "I32", 7: "I64", 9: "BOOL", 10: "F16", 11: "F64", 12: "U32", 13: "U64", 14: "C64",
	16: "BF16", 17: "F8_E4M3", 19: "F8_E5M2", 21: "U4", 22: "I4", 23: "F4",
}

// ReadONNX reads where the tensors of a model lie, by the file that holds them: "" stands for the model itself, anything else is the path
// that it names, which counts from the model's folder and may lead anywhere. Tensors are in the order of their offsets; of several that
// begin at one byte, or in the midst of another, the first is there alone. Size is 0 where the model does not tell. Nothing is said of
// whether the other files have those bytes.
func ReadONNX(r io.ReaderAt, size int64) (map[string][]Tensor, error) {
	o := &onnx{in: newWire(r, size), files: map[string][]Tensor{}}
	if err := o.message(onnxModel, 0, size, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrONNX, err)
	}
	for name, all := range o.files {
		o.files[name] = apart(all)
	}
	return o.files, nil
}

// Merge puts together what several models say of one file.
func Merge(a, b []Tensor) []Tensor { return apart(slices.Concat(a, b)) }

func apart(all []Tensor) []Tensor {
	slices.SortStableFunc(all, func(a, b Tensor) int { return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(b.Size, a.Size)) })
	kept := all[:0]
	for _, t := range all {
		if n := len(kept); n > 0 && (t.Offset == kept[n-1].Offset || t.Offset < kept[n-1].Offset+kept[n-1].Size) {
			continue
		}
		kept = append(kept, t)
	}
	return kept
}

type onnx struct {
	in    *wire
	files map[string][]Tensor
}

func (o *onnx) message(kind onnxMessage, at, end int64, nested int) error {
	if kind == onnxTensor {
		return o.tensor(at, end)
	}
	if nested == onnxNesting {
		return fmt.Errorf("byte %d: messages are nested deeper than %d levels", at, onnxNesting)
	}
	for f, err := range o.in.fields(at, end) {
		if err != nil {
			return err
		}
		part, ok := onnxParts[kind][f.number]
		if !ok {
			continue
		}
		if f.kind != wireBytes {
			return fmt.Errorf("byte %d: a message is wanted", f.at)
		}
		if err := o.message(part, f.at, f.end, nested+1); err != nil {
			return err
		}
	}
	return nil
}

// The fields of a TensorProto.
const (
	onnxDims         = 1
	onnxType         = 2
	onnxName         = 8
	onnxRaw          = 9
	onnxExternal     = 13
	onnxDataLocation = 14
)

// tensor notes one. Numbers that are written as protobuf's own, not raw, are part of what describes the model.
func (o *onnx) tensor(at, end int64) error {
	var t Tensor
	var where place
	raw, external := false, false
	for f, err := range o.in.fields(at, end) {
		if err == nil {
			switch f.number {
			case onnxDims:
				err = o.dims(&t, f)
			case onnxType:
				t.DType = onnxTypes[f.value]
			case onnxName:
				t.Name, err = o.in.text(f, onnxLongestName)
			case onnxRaw:
				raw = f.kind == wireBytes && f.end > f.at
				t.Offset, t.Size = f.at, f.end-f.at
			case onnxExternal:
				err = o.external(&where, f)
			case onnxDataLocation:
				external = f.value == 1
			}
		}
		if err != nil {
			return err
		}
	}
	switch {
	case external && where.file != "":
		t.Offset, t.Size = where.offset, where.size
		o.files[where.file] = append(o.files[where.file], t)
	case external:
		return fmt.Errorf("byte %d: a tensor lies elsewhere, and nothing says where", at)
	case raw:
		o.files[""] = append(o.files[""], t)
	}
	return nil
}

// dims takes one number, or several that are packed.
func (o *onnx) dims(t *Tensor, f wireField) error {
	if f.kind == wireVarint {
		return t.dim(f.value)
	}
	for at := f.at; at < f.end; {
		v, next, err := o.in.varint(at, f.end)
		if err != nil {
			return err
		}
		if err := t.dim(v); err != nil {
			return fmt.Errorf("byte %d: %w", at, err)
		}
		at = next
	}
	return nil
}

func (t *Tensor) dim(n uint64) error {
	if n > math.MaxInt64 || len(t.Shape) == onnxMostShape {
		return fmt.Errorf("dimension %d is %d", len(t.Shape), int64(n))
	}
	t.Shape = append(t.Shape, int64(n))
	return nil
}

// place is where the bytes of a tensor lie, by its external_data.
type place struct {
	file         string
	offset, size int64
}

// external takes one of the pairs of texts.
func (o *onnx) external(p *place, entry wireField) error {
	if entry.kind != wireBytes {
		return fmt.Errorf("byte %d: a message is wanted", entry.at)
	}
	var key, value string
	for f, err := range o.in.fields(entry.at, entry.end) {
		if err != nil {
			return err
		}
		switch f.number {
		case 1:
			key, err = o.in.text(f, onnxLongestName)
		case 2:
			value, err = o.in.text(f, onnxLongestName)
		}
		if err != nil {
			return err
		}
	}
	var err error
	switch key {
	case "location":
		p.file = value
	case "offset":
		p.offset, err = bytesOf(value)
	case "length":
		p.size, err = bytesOf(value)
	}
	if err != nil {
		return fmt.Errorf("byte %d: %s: %w", entry.at, key, err)
	}
	return nil
}

// bytesOf is no more than half of what a file can have, so that two added up are still a number.
func bytesOf(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, err
	}
	if n < 0 || n > math.MaxInt64/2 {
		return 0, fmt.Errorf("%d is no number of bytes", n)
	}
	return n, nil
}
