package pieces_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts/pieces"
	"github.com/Ruihan11/tiny-infra/artifacts/tensor"
)

type tensorBytes struct {
	dtype string
	bytes []byte
}

func tensorOf(dtype string, b []byte) tensorBytes { return tensorBytes{dtype, b} }

func safetensors(all ...tensorBytes) []byte {
	head := make(map[string]any)
	var data []byte
	widths := map[string]int{"BF16": 2, "F16": 2, "F32": 4, "F64": 8, "U8": 1}
	for i, t := range all {
		head[fmt.Sprintf("layer.%03d", i)] = map[string]any{
			"dtype": t.dtype, "shape": []int{len(t.bytes) / widths[t.dtype]}, "data_offsets": []int{len(data), len(data) + len(t.bytes)},
		}
		data = append(data, t.bytes...)
	}
	text, err := json.Marshal(head)
	if err != nil {
		panic(err)
	}
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	return slices.Concat(out, text, data)
}

// gguf has tensors of type F16 (1) or Q8_0 (8), aligned to 32 bytes.
func gguf(all ...tensorBytes) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32([]byte("GGUF"), 3)
	b = le.AppendUint64(le.AppendUint64(b, uint64(len(all))), 0)
	var data []byte
	for i, t := range all {
		name := fmt.Sprintf("blk.%d", i)
		b = append(le.AppendUint64(b, uint64(len(name))), name...)
		b = le.AppendUint32(b, 1)
		kind, n := uint32(1), len(t.bytes)/2
		if t.dtype == "Q8_0" {
			kind, n = 8, len(t.bytes)/34*32
		}
		b = le.AppendUint32(le.AppendUint64(b, uint64(n)), kind)
		b = le.AppendUint64(b, uint64(len(data)))
		data = append(data, t.bytes...)
		data = append(data, make([]byte, -len(data)&31)...)
	}
	return slices.Concat(b, make([]byte, -len(b)&31), data)
}

// onnxOf is a model whose tensors lie in a file, at these offsets; and that file.
func onnxOf(data string, all ...tensorBytes) (model, beside []byte) {
	field := func(number uint64, b ...[]byte) []byte {
		whole := slices.Concat(b...)
		return slices.Concat(binary.AppendUvarint(nil, number<<3|2), binary.AppendUvarint(nil, uint64(len(whole))), whole)
	}
	pair := func(k, v string) []byte { return field(13, field(1, []byte(k)), field(2, []byte(v))) }
	types := map[string]byte{"F32": 1, "U8": 2, "F16": 10, "BF16": 16}
	var graph []byte
	for _, t := range all {
		graph = append(graph, field(5, []byte{2 << 3, types[t.dtype], 14 << 3, 1}, pair("location", data),
			pair("offset", fmt.Sprint(len(beside))), pair("length", fmt.Sprint(len(t.bytes))))...)
		beside = append(beside, t.bytes...)
		beside = append(beside, make([]byte, -len(beside)&4095)...)
	}
	return field(7, graph), beside
}

func spans(t testing.TB, b []byte, name string) []pieces.Span {
	t.Helper()
	return spansSaid(t, b, name, nil)
}

func spansSaid(t testing.TB, b []byte, name string, said []tensor.Tensor) []pieces.Span {
	t.Helper()
	var all []pieces.Span
	var at int64
	for s, err := range pieces.Cut(bytes.NewReader(b), int64(len(b)), name, said) {
		if err != nil {
			t.Fatal(err)
		}
		if s.Off != at || s.Len < 1 || s.Len > pieces.MaxPiece || !slices.Contains([]int{1, 2, 4, 8}, s.Width) {
			t.Fatalf("%s: span %+v follows byte %d", name, s, at)
		}
		at += s.Len
		all = append(all, s)
	}
	if at != int64(len(b)) {
		t.Fatalf("%s: the spans end at %d of %d", name, at, len(b))
	}
	return all
}

func TestTensorsAreCutFromTheirOwnBeginning(t *testing.T) {
	const mib = 1 << 20
	tiny := func(dtype string) tensorBytes { return tensorOf(dtype, make([]byte, 4096)) }
	b := safetensors(tiny("BF16"), tiny("BF16"), tensorOf("BF16", bf16(1, 5*mib)), tiny("F32"), tiny("BF16"), tensorOf("F32", make([]byte, 4*mib+4000)),
		tensorOf("F64", make([]byte, mib)), tensorOf("U8", noise(2, 20*mib)), tensorOf("U8", noise(3, 8*mib+8)))
	head := int64(8 + binary.LittleEndian.Uint64(b))
	want := []pieces.Span{{Len: head, Width: 1}, {Len: 8192, Width: 2}, {Len: 4 * mib, Width: 2}, {Len: 4 * mib, Width: 2}, {Len: 2 * mib, Width: 2},
		{Len: 8192, Width: 1}, {Len: 4*mib + 4000, Width: 4}, {Len: mib, Width: 8}, {Len: 8 * mib, Width: 1}, {Len: 8 * mib, Width: 1}, {Len: 4 * mib, Width: 1},
		{Len: 8*mib + 8, Width: 1}}
	got := spans(t, b, "model.safetensors")
	for i := range got {
		got[i].Off = 0
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestSmallTensorsAreJoined(t *testing.T) {
	var all []tensorBytes
	for i := range 30 {
		all = append(all, tensorOf("BF16", bf16(uint64(i), 50_000)))
	}
	got := spans(t, safetensors(all...), "m.safetensors")
	if len(got) != 4 {
		t.Fatalf("3 MB of small tensors are %d pieces: %v", len(got), got)
	}
	for _, s := range got[1:] {
		if s.Len%100_000 != 0 || s.Len > 1<<20 || s.Width != 2 {
			t.Errorf("%+v", s)
		}
	}
}

func TestGGUFIsCutAtItsTensors(t *testing.T) {
	q8 := func(seed uint64, blocks int) tensorBytes { return tensorOf("Q8_0", noise(seed, 34*blocks)) }
	a := gguf(tensorOf("F16", bf16(1, 200_000)), q8(2, 10_001), q8(3, 9001), tensorOf("F16", bf16(4, 10)))
	got := spans(t, a, "m.gguf")
	if len(got) != 5 || got[1].Width != 2 || got[1].Len != 400_000 || got[2].Width != 1 || got[2].Len != (10_001*34+31)/32*32 {
		t.Errorf("%v", got)
	}
	d := newDepot()
	d.cut(t, pieces.Packer{}, source("m.gguf", a))
	before := len(d.where)
	d.cut(t, pieces.Packer{Known: d.knowing}, source("m.gguf", gguf(q8(9, 20_000), tensorOf("F16", bf16(1, 200_000)), q8(2, 10_001), q8(3, 9001), tensorOf("F16", bf16(4, 10)))))
	if n := len(d.where) - before; n != 2 {
		t.Errorf("a tensor more has made %d pieces; want its own and the header", n)
	}
}

// TestWeightsOfAGraphAreCutAtItsTensors: the file beside an ONNX model has no header; the model says what is in it, in any folder. Two models
// may share it.
func TestWeightsOfAGraphAreCutAtItsTensors(t *testing.T) {
	weights := func(seed uint64, n int) tensorBytes { return tensorOf("F16", bf16(seed, n)) }
	all := []tensorBytes{weights(1, 200_000), weights(2, 10), weights(3, 300_000), tensorOf("U8", noise(4, 2<<20))}
	model, beside := onnxOf("model.data", all...)
	d := newDepot()
	before := d.cut(t, pieces.Packer{}, source("a/decode.onnx", model), source("a/model.data", beside), source("a/prefill.onnx", model))
	var lengths []uint32
	for _, p := range before.Pieces {
		if int(p.Raw) != len(model) {
			lengths = append(lengths, p.Raw)
		}
	}
	if want := []uint32{401_408, 4096, 602_112, 2 << 20}; !slices.Equal(lengths, want) {
		t.Errorf("pieces of %v bytes, want %v", lengths, want)
	}
	first := d.stored()
	model, beside = onnxOf("model.data", slices.Insert(all, 1, weights(5, 200_000))...)
	d.cut(t, pieces.Packer{Known: d.knowing}, source("model.data", beside), source("z.onnx", model))
	if more := d.stored() - first; more > 400_000*70/100+10_000 {
		t.Errorf("one tensor more takes %d bytes", more)
	}
}

// TestAGraphThatLies: of a file that is not there, of tensors that it cannot have, of its own folder's parent.
func TestAGraphThatLies(t *testing.T) {
	b := text(3 << 20)
	want := spans(t, b, "x.bin")
	for name, said := range map[string][]tensor.Tensor{
		"beyond the end": {{Offset: 3 << 20}, {Offset: 1 << 60, Size: 1 << 60}},
		"nothing":        {},
	} {
		if got := spansSaid(t, b, "x.bin", said); !slices.Equal(got, want) {
			t.Errorf("%s: %v, not %v", name, got, want)
		}
	}
	spansSaid(t, b, "x.bin", []tensor.Tensor{{Offset: 5}, {Offset: 2 << 20, Size: 1 << 60}, {Offset: 3<<20 - 1}})
	model, _ := onnxOf("../../x.bin", tensorOf("F16", b))
	newDepot().cut(t, pieces.Packer{}, source("a/m.onnx", model), source("a/n.onnx", text(300_000)), source("x.bin", b))
}

// TestAHeaderOfLiesIsCutByContent: and so is a file that only has the name of one.
func TestAHeaderOfLiesIsCutByContent(t *testing.T) {
	good := safetensors(tensorOf("BF16", bf16(1, 2<<20)))
	for name, b := range map[string][]byte{
		"cut short": good[:3<<20],
		"text":      text(3 << 20),
		"nothing":   nil,
		"a byte":    {1},
	} {
		for _, ext := range []string{".safetensors", ".gguf"} {
			if a, b := spans(t, b, name+ext), spans(t, b, name+".bin"); !slices.Equal(a, b) {
				t.Errorf("%s: %v, not %v", name+ext, a, b)
			}
		}
	}
}

func TestContentIsCutWhereItSays(t *testing.T) {
	for name, c := range map[string]struct {
		b          []byte
		least, new int
	}{
		"usual": {noise(1, 10<<20), 5, 3},
		"dense": {noise(2, 40<<20), 3, 2},
	} {
		d := newDepot()
		first := d.cut(t, pieces.Packer{}, source("x.bin", c.b))
		if len(first.Pieces) < c.least {
			t.Errorf("%s: %d pieces", name, len(first.Pieces))
		}
		before := len(d.where)
		changed := slices.Insert(slices.Clone(c.b), len(c.b)/2, noise(9, 1000)...)
		d.cut(t, pieces.Packer{Known: d.knowing}, source("x.bin", changed))
		if n := len(d.where) - before; n < 1 || n > c.new {
			t.Errorf("%s: 1000 bytes inserted in the middle have made %d new pieces of %d", name, n, len(first.Pieces))
		}
	}
}
