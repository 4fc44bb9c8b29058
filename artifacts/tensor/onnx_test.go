package tensor_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts/tensor"
)

// testFile is one that testdata/make_onnx.py has made.
func testFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readONNX(b []byte) (map[string][]tensor.Tensor, error) {
	return tensor.ReadONNX(bytes.NewReader(b), int64(len(b)))
}

// TestReadONNX: tensors of graphs, of the graphs in attributes, beside a model and within it.
func TestReadONNX(t *testing.T) {
	data := testFile(t, "external.onnx.data")
	outside, err := readONNX(testFile(t, "external.onnx"))
	if err != nil || len(outside) != 1 {
		t.Fatalf("%v: %v", outside, err)
	}
	want := []tensor.Tensor{
		{Name: "w", DType: "F32", Shape: []int64{8, 16}, Offset: 0, Size: 512},
		{Name: "h", DType: "F16", Shape: []int64{16, 16}, Offset: 512, Size: 512},
		{Name: "q", DType: "U8", Shape: []int64{64}, Offset: 1024, Size: 64},
		{Name: "shape", DType: "I64", Shape: []int64{2}, Offset: 1088, Size: 16},
		{Name: "other", DType: "F32", Shape: []int64{32}, Offset: 1104, Size: 128},
		{Name: "inner", DType: "F32", Shape: []int64{32}, Offset: 1232, Size: 128},
	}
	got := outside["external.onnx.data"]
	for i, x := range got {
		if w := want[i]; x.Name != w.Name || x.DType != w.DType || !slices.Equal(x.Shape, w.Shape) || x.Offset != w.Offset || x.Size != w.Size {
			t.Errorf("%+v, want %+v", x, w)
		}
	}
	model := testFile(t, "inline.onnx")
	inside, err := readONNX(model)
	if err != nil || len(inside) != 1 || len(inside[""]) != len(want) {
		t.Fatalf("%v: %v", inside, err)
	}
	for _, x := range inside[""] {
		i := slices.IndexFunc(want, func(w tensor.Tensor) bool { return w.Name == x.Name })
		if w := want[i]; !bytes.Equal(model[x.Offset:x.Offset+x.Size], data[w.Offset:w.Offset+w.Size]) || x.DType != w.DType {
			t.Errorf("%+v does not lie there", x)
		}
	}
}

// field is one of protobuf's that holds bytes.
func field(number uint64, b ...[]byte) []byte {
	all := bytes.Join(b, nil)
	return slices.Concat(binary.AppendUvarint(nil, number<<3|2), binary.AppendUvarint(nil, uint64(len(all))), all)
}

func external(pairs ...string) []byte {
	b := []byte{14 << 3, 1}
	for i := 0; i < len(pairs); i += 2 {
		b = append(b, field(13, field(1, []byte(pairs[i])), field(2, []byte(pairs[i+1])))...)
	}
	return field(7, field(5, b))
}

// TestReadONNXOfOthers: what a model says of other files is believed as far as it can be.
func TestReadONNXOfOthers(t *testing.T) {
	for name, c := range map[string]struct {
		model []byte
		want  []int64 // offsets in "d"
	}{
		"nothing":           {nil, nil},
		"no offset":         {external("location", "d"), []int64{0}},
		"the same twice":    {slices.Concat(external("location", "d", "offset", "64", "length", "8"), external("location", "d", "offset", "64")), []int64{64}},
		"one in another":    {slices.Concat(external("location", "d", "offset", "0", "length", "8"), external("location", "d", "offset", "4", "length", "64")), []int64{0}},
		"not in order":      {slices.Concat(external("location", "d", "offset", "64"), external("location", "d", "offset", "8")), []int64{8, 64}},
		"a key of tomorrow": {external("location", "d", "colour", "red"), []int64{0}},
	} {
		lies, err := readONNX(c.model)
		var got []int64
		for _, x := range lies["d"] {
			got = append(got, x.Offset)
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v: %v", name, got, err)
		}
	}
}

func TestReadONNXRefuses(t *testing.T) {
	deep := field(5)
	for range 200 {
		deep = field(6, field(1, field(5, deep)))
	}
	for name, b := range map[string][]byte{
		"text":               []byte("once upon a time"),
		"a group":            {7<<3 | 3},
		"field zero":         {0, 0},
		"a number cut short": {0x80},
		"a message too long": {7<<3 | 2, 100, 0},
		"a message of 2^63":  slices.Concat([]byte{7<<3 | 2}, binary.AppendUvarint(nil, 1<<63)),
		"a graph of one":     {7 << 3, 1},
		"nested":             field(7, field(1, field(5, deep))),
		"nowhere":            external("offset", "0"),
		"a negative offset":  external("location", "d", "offset", "-1"),
		"a huge length":      external("location", "d", "length", "9223372036854775807"),
		"a word for one":     external("location", "d", "offset", "three"),
		"a long location":    external("location", strings.Repeat("d", 1<<20)),
		"a negative shape":   field(7, field(5, slices.Concat([]byte{1 << 3}, binary.AppendUvarint(nil, 1<<63)))),
		"many dimensions":    field(7, field(5, field(1, make([]byte, 2000)))),
	} {
		if lies, err := readONNX(b); !errors.Is(err, tensor.ErrONNX) {
			t.Errorf("%s: %v: %v", name, lies, err)
		}
	}
	model := testFile(t, "external.onnx")
	whole, _ := readONNX(model)
	for n := range model {
		lies, err := readONNX(model[:n]) // what stands before the graph and behind it is a model too
		if got := len(lies["external.onnx.data"]); err == nil && got != 0 && got != len(whole["external.onnx.data"]) {
			t.Errorf("cut short at %d it has %d tensors", n, got)
		}
	}
}

// TestWeightsWithinAModelAreNotRead: however large they are, what is read is what lies between them.
func TestWeightsWithinAModelAreNotRead(t *testing.T) {
	const size = 1 << 40
	raw := slices.Concat([]byte{2 << 3, 16}, binary.AppendUvarint([]byte{9<<3 | 2}, size))
	one := slices.Concat(binary.AppendUvarint([]byte{5<<3 | 2}, uint64(size+len(raw))), raw)
	head := slices.Concat(binary.AppendUvarint([]byte{7<<3 | 2}, uint64(size+len(one))), one)
	took := allocated(func() {
		lies, err := tensor.ReadONNX(zeros{head}, int64(size+len(head)))
		if err != nil || len(lies[""]) != 1 || lies[""][0].Size != size || lies[""][0].DType != "BF16" {
			t.Errorf("%v: %v", lies, err)
		}
	})
	if took > 1<<20 {
		t.Errorf("%d bytes were allocated", took)
	}
}

func TestMerge(t *testing.T) {
	at := func(offsets ...int64) (all []tensor.Tensor) {
		for _, o := range offsets {
			all = append(all, tensor.Tensor{Offset: o, Size: 8})
		}
		return all
	}
	var got []int64
	for _, x := range tensor.Merge(at(0, 64), at(8, 64, 66)) {
		got = append(got, x.Offset)
	}
	if !slices.Equal(got, []int64{0, 8, 64}) {
		t.Error(got)
	}
}

func FuzzReadONNX(f *testing.F) {
	f.Add(testFile(f, "external.onnx"))
	f.Add(testFile(f, "inline.onnx"))
	f.Add(external("location", "d", "offset", "64", "length", "8"))
	f.Fuzz(func(t *testing.T, b []byte) {
		lies, err := readONNX(b)
		if err != nil {
			if !errors.Is(err, tensor.ErrONNX) || lies != nil {
				t.Fatal(lies, err)
			}
			return
		}
		for _, name := range slices.Collect(maps.Keys(lies)) {
			at := int64(-1)
			for _, x := range lies[name] {
				if x.Offset <= at || x.Size < 0 || name == "" && x.Offset+x.Size > int64(len(b)) {
					t.Fatalf("%q: %+v comes after %d", name, x, at)
				}
				at = max(x.Offset, x.Offset+x.Size-1)
			}
		}
	})
}
