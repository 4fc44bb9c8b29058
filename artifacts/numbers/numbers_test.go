package numbers_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts/numbers"
	"github.com/Ruihan11/tiny-infra/artifacts/tensor"
)

// weights is a tensor of a test's file.
type weights struct {
	name, dtype string
	shape       []int64
	bytes       []byte
}

// safetensors is a file of these tensors.
func safetensors(all ...weights) []byte {
	var header, data []byte
	for i, w := range all {
		if i > 0 {
			header = append(header, ',')
		}
		shape, _ := json.Marshal(w.shape)
		header = fmt.Appendf(header, `%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, w.name, w.dtype, shape, len(data), len(data)+len(w.bytes))
		data = append(data, w.bytes...)
	}
	header = append(append([]byte("{"), header...), '}')
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header, data)
}

// gguf is a file of one tensor of one dimension; ends is how its numbers lie.
func gguf(ends binary.AppendByteOrder, kind uint32, dim uint64, data []byte) []byte {
	b := ends.AppendUint32([]byte("GGUF"), 3)
	b = ends.AppendUint64(ends.AppendUint64(b, 1), 0)
	b = append(ends.AppendUint64(b, 1), 'w')
	b = ends.AppendUint64(ends.AppendUint32(b, 1), dim)
	b = ends.AppendUint64(ends.AppendUint32(b, kind), 0)
	b = append(b, make([]byte, -len(b)&31)...)
	return append(b, data...)
}

func little[T any](values ...T) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		panic(err)
	}
	return b
}

func modelOf(t *testing.T, files ...[]byte) *numbers.Model {
	t.Helper()
	var all []numbers.File
	for i, b := range files {
		all = append(all, numbers.File{Name: fmt.Sprintf("file %d", i), Size: int64(len(b)), Bytes: bytes.NewReader(b)})
	}
	m, err := numbers.Read(all)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func compare(t *testing.T, a, b *numbers.Model) *numbers.Difference {
	t.Helper()
	d, err := numbers.Compare(t.Context(), a, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// one compares two tensors of the same type.
func one(t *testing.T, dtype string, count int64, a, b []byte) numbers.Change {
	t.Helper()
	d := compare(t, modelOf(t, safetensors(weights{"w", dtype, []int64{count}, a})), modelOf(t, safetensors(weights{"w", dtype, []int64{count}, b})))
	if len(d.Changed) != 1 || d.Equal != 0 || len(d.OnlyA)+len(d.OnlyB)+len(d.Other) > 0 {
		t.Fatalf("%s: %+v, want one change", dtype, d)
	}
	return d.Changed[0]
}

// The answers were worked out by hand: A is 3, 4 and B is 3, 1 wherever nothing else is said, so the difference is 3, of a norm of 5.
func TestKnownAnswers(t *testing.T) {
	for _, c := range []struct {
		dtype                   string
		a, b                    []byte
		of, differ              int64
		largest, mean, relative float64
	}{
		{"F64", little(3.0, 4), little(3.0, 1), 2, 1, 3, 1.5, 0.6},
		{"F32", little[float32](3, 4), little[float32](3, 1), 2, 1, 3, 1.5, 0.6},
		{"F16", little[uint16](0x4200, 0x4400), little[uint16](0x4200, 0x3c00), 2, 1, 3, 1.5, 0.6},
		{"BF16", little[uint16](0x4040, 0x4080), little[uint16](0x4040, 0x3f80), 2, 1, 3, 1.5, 0.6},
		{"F8_E4M3", []byte{0x44, 0x48}, []byte{0x44, 0x38}, 2, 1, 3, 1.5, 0.6},
		{"F8_E5M2", []byte{0x42, 0x44}, []byte{0x42, 0x3c}, 2, 1, 3, 1.5, 0.6},
		{"I8", []byte{0xfd, 4}, []byte{0xfd, 1}, 2, 1, 3, 1.5, 0.6}, // -3
		{"U8", []byte{3, 4}, []byte{3, 1}, 2, 1, 3, 1.5, 0.6},
		{"I16", little[int16](-3, 4), little[int16](-3, 1), 2, 1, 3, 1.5, 0.6},
		{"U16", little[uint16](3, 4), little[uint16](3, 1), 2, 1, 3, 1.5, 0.6},
		{"I32", little[int32](3, -4), little[int32](3, -1), 2, 1, 3, 1.5, 0.6},
		{"U32", little[uint32](3, 4), little[uint32](3, 1), 2, 1, 3, 1.5, 0.6},
		{"I64", little[int64](-3, 4), little[int64](-3, 1), 2, 1, 3, 1.5, 0.6},
		{"U64", little[uint64](3, 4), little[uint64](3, 1), 2, 1, 3, 1.5, 0.6},
		{"BOOL", []byte{1, 1, 0, 1}, []byte{1, 0, 0, 1}, 4, 1, 1, 0.25, 1 / math.Sqrt(3)},
		// A float64 cannot tell these apart; their difference is exact.
		{"I64", little[int64](1<<53, 0), little[int64](1<<53+1, 0), 2, 1, 1, 0.5, 0x1p-53},
		{"U64", little[uint64](math.MaxUint64), little[uint64](0), 1, 1, 0x1p64, 0x1p64, 1},
		{"I64", little[int64](math.MinInt64), little[int64](math.MaxInt64), 1, 1, 0x1p64, 0x1p64, 2},
		// The smallest numbers, below the normal ones.
		{"F16", little[uint16](1), little[uint16](0x8001), 1, 1, 0x1p-23, 0x1p-23, 2},
		{"F8_E4M3", []byte{0x01, 0x7e}, []byte{0x81, 0x7e}, 2, 1, 0x1p-8, 0x1p-9, 0x1p-8 / math.Sqrt(448*448+0x1p-18)},
		{"F64", little(math.SmallestNonzeroFloat64), little(0.0), 1, 1, math.SmallestNonzeroFloat64, math.SmallestNonzeroFloat64, 1},
		// Squares that would overflow, and a difference that does.
		{"F64", little(3e300, 4e300), little(3e300, 1e300), 2, 1, 3e300, 1.5e300, 0.6},
		{"F64", little(math.MaxFloat64), little(-math.MaxFloat64), 1, 1, math.MaxFloat64, math.MaxFloat64, 1},
		// Minus zero has other bits and is the same number.
		{"F32", little[float32](1, 0), little(float32(1), float32(math.Copysign(0, -1))), 2, 1, 0, 0, 0},
	} {
		got := one(t, c.dtype, c.of, c.a, c.b)
		if got.Bytewise || got.Of != c.of || got.Differ != c.differ {
			t.Errorf("%s: %d of %d differ, want %d of %d", c.dtype, got.Differ, got.Of, c.differ, c.of)
		}
		if got.Largest != c.largest || got.Mean != c.mean || got.Relative == nil || math.Abs(*got.Relative-c.relative) > 1e-15*c.relative {
			t.Errorf("%s: largest %v, mean %v, relative %v; want %v, %v, %v", c.dtype, got.Largest, got.Mean, *got.Relative, c.largest, c.mean, c.relative)
		}
	}
}

func TestWhatIsNoNumberIsCounted(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	c := one(t, "F32", 5, little(3, 4, nan, 7, inf), little(3, 1, 5, inf, inf))
	if c.Differ != 3 || c.A != (numbers.NotFinite{NaN: 1, Inf: 1}) || c.B != (numbers.NotFinite{Inf: 2}) {
		t.Errorf("%+v, %+v", c, c.Figures)
	}
	if c.Largest != 3 || c.Mean != 1.5 || *c.Relative != 0.6 {
		t.Errorf("largest %v, mean %v, relative %v", c.Largest, c.Mean, *c.Relative)
	}
	for dtype, none := range map[string][]byte{
		"F16": little[uint16](0x7c00, 0xfc00, 0x7e00, 0x7c01), "BF16": little[uint16](0x7f80, 0xff80, 0x7fc0, 0xff81),
		"F8_E5M2": {0x7c, 0xfc, 0x7d, 0xff},
	} {
		if c := one(t, dtype, 4, none, make([]byte, len(none))); c.A != (numbers.NotFinite{NaN: 2, Inf: 2}) || c.B != (numbers.NotFinite{}) || c.Relative != nil {
			t.Errorf("%s: %+v", dtype, c.Figures)
		}
	}
	if c := one(t, "F8_E4M3", 2, []byte{0x7f, 0xff}, []byte{0, 0}); c.A != (numbers.NotFinite{NaN: 2}) {
		t.Errorf("F8_E4M3: %+v", c.Figures)
	}
	if _, err := json.Marshal(c); err != nil {
		t.Error(err)
	}
}

func TestSortedByHowMuchTheyDiffer(t *testing.T) {
	f32 := func(name string, v ...float32) weights {
		return weights{name, "F32", []int64{int64(len(v))}, little(v...)}
	}
	q := func(b byte) weights { return weights{"a quantized", "F4", []int64{4}, []byte{7, b}} }
	a := modelOf(t, safetensors(q(0), f32("little", 100), f32("much", 1), f32("none", 1), f32("zeros", 0), f32("sign", 0)))
	b := modelOf(t, safetensors(q(1), f32("little", 101), f32("much", 2), f32("none", float32(math.NaN())), f32("zeros", 1), f32("sign", float32(math.Copysign(0, -1)))))
	d := compare(t, a, b)
	var names []string
	for _, c := range d.Changed {
		names = append(names, c.Name)
	}
	if want := []string{"none", "zeros", "much", "little", "sign", "a quantized"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	if c := d.Changed[5]; !c.Bytewise || c.Figures != nil || c.Of != 2 || c.Differ != 1 {
		t.Errorf("%+v", c)
	}
}

// Shards hold the tensors in another order and number; what only one model has, or has otherwise, is told.
func TestShardsAndOtherShapes(t *testing.T) {
	f32 := func(name string, shape []int64, v ...float32) weights {
		return weights{name, "F32", shape, little(v...)}
	}
	same, moved := f32("same", []int64{2}, 1, 2), f32("moved", []int64{1}, 3)
	a := modelOf(t, safetensors(same, f32("shape", []int64{2, 1}, 1, 2), f32("gone", []int64{1}, 5)), safetensors(moved, f32("type", []int64{1}, 5)))
	b := modelOf(t, safetensors(f32("shape", []int64{1, 2}, 1, 2), moved, weights{"type", "I32", []int64{1}, little[int32](5)}, weights{"new", "U8", []int64{}, []byte{1}}),
		safetensors(), safetensors(same))
	d := compare(t, a, b)
	if d.Equal != 2 || len(d.Changed) != 0 || len(d.Other) != 2 || d.Other[0].Name != "shape" || d.Other[1].Name != "type" {
		t.Errorf("%+v", d)
	}
	if len(d.OnlyA) != 1 || d.OnlyA[0].Name != "gone" || len(d.OnlyB) != 1 || d.OnlyB[0].Name != "new" {
		t.Errorf("only in A %+v, only in B %+v", d.OnlyA, d.OnlyB)
	}
	if d := compare(t, a, a); d.Equal != 5 || len(d.Changed) != 0 {
		t.Errorf("a model and itself: %+v", d)
	}
}

func TestGGUF(t *testing.T) {
	const f32, q8 = 0, 8
	big, err := binary.Append(nil, binary.BigEndian, []float32{3, 4})
	if err != nil {
		t.Fatal(err)
	}
	bigEndian := modelOf(t, gguf(binary.BigEndian, f32, 2, big))
	if d := compare(t, bigEndian, modelOf(t, gguf(binary.LittleEndian, f32, 2, little[float32](3, 4)))); d.Equal != 1 {
		t.Errorf("the same numbers in another order of their bytes: %+v", d)
	}
	d := compare(t, bigEndian, modelOf(t, safetensors(weights{"w", "F32", []int64{2}, little[float32](3, 1)})))
	if len(d.Changed) != 1 || *d.Changed[0].Relative != 0.6 || d.Changed[0].Largest != 3 {
		t.Errorf("%+v", d)
	}
	block := make([]byte, 34)
	other := slices.Clone(block)
	other[0], other[33] = 1, 1
	d = compare(t, modelOf(t, gguf(binary.LittleEndian, q8, 32, block)), modelOf(t, gguf(binary.LittleEndian, q8, 32, other)))
	if c := d.Changed[0]; c.DType != "Q8_0" || !c.Bytewise || c.Differ != 2 || c.Of != 34 || c.Figures != nil {
		t.Errorf("%+v", c)
	}
}

func TestReadRefuses(t *testing.T) {
	sound := safetensors(weights{"w", "F32", []int64{1}, little[float32](1)})
	for name, c := range map[string]struct {
		files [][]byte
		is    error
	}{
		"nothing":                  {[][]byte{{}}, tensor.ErrSafetensors},
		"cut short":                {[][]byte{sound[:len(sound)-1]}, tensor.ErrSafetensors},
		"GGUF, cut short":          {[][]byte{[]byte("GGUF\x03")}, tensor.ErrGGUF},
		"a header of 2^63 bytes":   {[][]byte{slices.Concat(little[uint64](1<<63), sound)}, tensor.ErrSafetensors},
		"a tensor larger than all": {[][]byte{gguf(binary.LittleEndian, 0, 1<<60, nil)}, tensor.ErrGGUF},
		"a name in two files":      {[][]byte{sound, sound}, numbers.ErrTwice},
	} {
		var files []numbers.File
		for _, b := range c.files {
			files = append(files, numbers.File{Name: "model", Size: int64(len(b)), Bytes: bytes.NewReader(b)})
		}
		if _, err := numbers.Read(files); !errors.Is(err, c.is) || !strings.Contains(err.Error(), "model") {
			t.Errorf("%s: %v, want %v", name, err, c.is)
		}
	}
}

// shorter is a file that ends before it was said to.
type shorter struct {
	io.ReaderAt
	end int64
}

func (s shorter) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > s.end {
		return 0, io.EOF
	}
	return s.ReaderAt.ReadAt(p, off)
}

func TestAFileThatBecomesShorter(t *testing.T) {
	b := safetensors(weights{"w", "F32", []int64{1}, little[float32](1)})
	m, err := numbers.Read([]numbers.File{{Name: "shrunk", Size: int64(len(b)), Bytes: shorter{bytes.NewReader(b), int64(len(b)) - 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := numbers.Compare(t.Context(), m, modelOf(t, b), nil); err == nil || !strings.Contains(err.Error(), `tensor "w" of shrunk: the file became shorter`) {
		t.Error(err)
	}
}

// zeros is a file of zeros behind a header, as large as it says, that fails for reads longer than a piece may be.
type zeros struct {
	header []byte
	last   byte // of each piece
}

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	if len(p) > 16<<20 {
		return 0, errors.New("a read of more than 16 MiB")
	}
	clear(p)
	if off < int64(len(z.header)) {
		copy(p, z.header[off:])
		return len(p), nil
	}
	p[len(p)-1] = z.last
	return len(p), nil
}

// A tensor of many pieces is summed in their order, so the figures are the same each time, and told as it goes.
func TestManyPieces(t *testing.T) {
	const count = 9 << 20 // three pieces
	header := fmt.Sprintf(`{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}`, count, count)
	head := slices.Concat(little(uint64(len(header))), []byte(header))
	side := func(last byte) *numbers.Model {
		m, err := numbers.Read([]numbers.File{{Name: "zeros", Size: int64(len(head)) + count, Bytes: zeros{head, last}}})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	var done, total int64
	d, err := numbers.Compare(t.Context(), side(4), side(1), func(d, of int64) {
		if d > of {
			t.Errorf("%d of %d", d, of)
		}
		done, total = d, of
	})
	if err != nil {
		t.Fatal(err)
	}
	if c := d.Changed[0]; c.Differ != 3 || c.Of != count || c.Largest != 3 || c.Mean != 9./count || *c.Relative != 0.75 {
		t.Errorf("%+v, %+v", c, c.Figures)
	}
	if done != count || total != count {
		t.Errorf("at the end: %d of %d", done, total)
	}
	if d := compare(t, side(4), side(4)); d.Equal != 1 {
		t.Errorf("%+v", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := numbers.Compare(ctx, side(4), side(1), nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// broken has a header and nothing that can be read behind it.
type broken struct{ *bytes.Reader }

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off > 8 {
		return 0, errors.New("it was read")
	}
	return b.Reader.ReadAt(p, off)
}

func TestFilesKnownToBeTheSameAreNotRead(t *testing.T) {
	b := safetensors(weights{"w", "F32", []int64{1}, little[float32](1)})
	side := func(same string) *numbers.Model {
		m, err := numbers.Read([]numbers.File{{Name: "model", Same: same, Size: int64(len(b)), Bytes: broken{bytes.NewReader(b)}}})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if d := compare(t, side("x"), side("x")); d.Equal != 1 {
		t.Errorf("%+v", d)
	}
	for _, pair := range [][2]string{{"x", "y"}, {"", ""}} {
		if _, err := numbers.Compare(t.Context(), side(pair[0]), side(pair[1]), nil); err == nil || !strings.Contains(err.Error(), "it was read") {
			t.Errorf("%q: %v", pair, err)
		}
	}
}
