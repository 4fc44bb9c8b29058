package tensor_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts/tensor"
)

// file is a safetensors file with this header and so many bytes of data.
func file(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func readHeader(b []byte) (*tensor.Header, error) {
	return tensor.ReadSafetensors(bytes.NewReader(b), int64(len(b)))
}

func TestReadSafetensors(t *testing.T) {
	const header = `{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,3],"data_offsets":[4,28]},` +
		`"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"empty":{"dtype":"I64","shape":[0,7],"data_offsets":[4,4]},` +
		`"scalar":{"dtype":"U8","shape":[],"data_offsets":[28,29]},"half":{"dtype":"F4","shape":[2,1],"data_offsets":[29,30]}}   `
	h, err := readHeader(file(header, 30))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range h.Tensors {
		names = append(names, x.Name)
	}
	if want := []string{"a", "empty", "b", "scalar", "half"}; !slices.Equal(names, want) {
		t.Errorf("order %q, want %q", names, want)
	}
	if h.Metadata["format"] != "pt" || h.Data != int64(8+len(header)) {
		t.Errorf("metadata %v, data at %d", h.Metadata, h.Data)
	}
	if b := h.Tensors[2]; b.Offset != h.Data+4 || b.Size != 24 || b.DType != "F32" || !slices.Equal(b.Shape, []int64{2, 3}) {
		t.Errorf("b = %+v", b)
	}
}

func TestReadSafetensorsRefuses(t *testing.T) {
	one := func(body string) []byte { return file(`{"a":`+body+`}`, 4) }
	huge := file("{}", 0)
	binary.LittleEndian.PutUint64(huge, 1<<63)
	for name, c := range map[string]struct {
		file []byte
		says string
	}{
		"empty file":        {nil, "too few"},
		"seven bytes":       {make([]byte, 7), "too few"},
		"length of 2^63":    {huge, "9223372036854775808"},
		"length over limit": {binary.LittleEndian.AppendUint64(nil, 100_000_001), "limit"},
		"truncated header":  {file(`{"a":1}`, 0)[:10], "cut short"},
		"truncated data":    {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 3), "cut short"},
		"no JSON":           {file("hello", 0), "begin with {"},
		"an array":          {file("[]", 0), "begin with {"},
		"an open object":    {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`, 4), "header"},
		"more than JSON":    {file(`{}{}`, 0), "follow"},
		"not UTF-8":         {file("{\"\xff\":1}", 0), "UTF-8"},
		"overlap": {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}`, 6),
			"overlap"},
		"the same place twice": {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
			"overlap"},
		"a gap before":      {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), "belong to no tensor"},
		"a gap after":       {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 5), "belong to no tensor"},
		"no tensors, data":  {file(`{}`, 1), "belong to no tensor"},
		"bad dtype":         {one(`{"dtype":"F31","shape":[1],"data_offsets":[0,4]}`), "F31"},
		"size mismatch":     {one(`{"dtype":"F16","shape":[1],"data_offsets":[0,4]}`), "takes 2 bytes"},
		"negative offset":   {one(`{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}`), "data_offsets"},
		"offsets reversed":  {one(`{"dtype":"F32","shape":[1],"data_offsets":[4,0]}`), "data_offsets"},
		"offset near 2^63":  {one(`{"dtype":"F32","shape":[1],"data_offsets":[9223372036854775803,9223372036854775807]}`), "data_offsets"},
		"offset over 2^63":  {one(`{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}`), "a"},
		"negative shape":    {one(`{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}`), "-1 is no whole number"},
		"shape overflows":   {one(`{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}`), "larger than any file"},
		"half a byte":       {one(`{"dtype":"F4","shape":[1],"data_offsets":[0,4]}`), "end on a byte"},
		"three offsets":     {one(`{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}`), "two data_offsets"},
		"no shape":          {one(`{"dtype":"F32","data_offsets":[0,4]}`), "want dtype"},
		"not an object":     {one(`7`), "tensor"},
		"metadata of lists": {file(`{"__metadata__":{"a":[]}}`, 0), "__metadata__"},
		"a name twice": {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2),
			"twice"},
	} {
		if h, err := readHeader(c.file); !errors.Is(err, tensor.ErrSafetensors) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v; want an error that says %q", name, h, err, c.says)
		}
	}
}

func FuzzReadSafetensors(f *testing.F) {
	f.Add(file(`{}`, 0))
	f.Add(file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[2,2],"data_offsets":[4,8]}}`, 8))
	f.Add(file(`{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[0],"data_offsets":[0,0]}}`, 0))
	f.Add(binary.LittleEndian.AppendUint64(nil, math.MaxUint64))
	for _, b := range hostileSafetensors() {
		if len(b) < 1000 {
			f.Add(b)
		}
	}
	for _, b := range soundSafetensors() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var h *tensor.Header
		var err error
		if took := allocated(func() { h, err = readHeader(b) }); took > 1<<20+64*uint64(len(b)) {
			t.Fatalf("%d bytes were allocated for a file of %d", took, len(b))
		}
		if err != nil {
			if !errors.Is(err, tensor.ErrSafetensors) {
				t.Fatal(err)
			}
			return
		}
		tile(t, h, int64(len(b)), 1)
		if _, err := readHeader(append(b[:len(b):len(b)], 0)); err == nil {
			t.Fatal("with a byte more it is sound too")
		}
	})
}
