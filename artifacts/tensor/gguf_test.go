package tensor_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts/tensor"
)

// typesFile has every type of value and of tensor; testdata/make_gguf.py says how it was made.
const typesFile = "testdata/types.gguf"

func readGGUF(b []byte) (*tensor.Header, error) {
	return tensor.ReadGGUF(bytes.NewReader(b), int64(len(b)))
}

func typesGGUF(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(typesFile)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// blocks are how many numbers of each type of typesFile are a block, as the gguf package says.
var blocks = map[string]int64{"F32": 1, "F16": 1, "Q4_0": 32, "Q4_1": 32, "Q5_0": 32, "Q5_1": 32, "Q8_0": 32, "Q8_1": 32, "Q2_K": 256,
	"Q3_K": 256, "Q4_K": 256, "Q5_K": 256, "Q6_K": 256, "Q8_K": 256, "IQ2_XXS": 256, "IQ2_XS": 256, "IQ3_XXS": 256, "IQ1_S": 256,
	"IQ4_NL": 32, "IQ3_S": 256, "IQ2_S": 256, "IQ4_XS": 256, "I8": 1, "I16": 1, "I32": 1, "I64": 1, "F64": 1, "IQ1_M": 256, "BF16": 1,
	"TQ1_0": 256, "TQ2_0": 256, "MXFP4": 32, "NVFP4": 64, "Q1_0": 128}

// A file of another writer, with every type. The bytes of a tensor say of which type it is, so a tensor read from the
// wrong place or with the wrong size is seen.
func TestReadGGUF(t *testing.T) {
	b := typesGGUF(t)
	h, err := readGGUF(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Tensors) != 2+len(blocks) || h.Data%64 != 0 || h.Tensors[0].Offset != h.Data {
		t.Fatalf("%d tensors, data at %d", len(h.Tensors), h.Data)
	}
	if e := h.Tensors[0]; e.Name != "token_embd.weight" || e.DType != "F32" || !slices.Equal(e.Shape, []int64{2, 3}) || e.Size != 24 ||
		math.Float32frombits(binary.LittleEndian.Uint32(b[e.Offset+20:])) != 5 {
		t.Errorf("%+v", e)
	}
	if n := h.Tensors[1]; n.Name != "norm" || !slices.Equal(n.Shape, []int64{5}) || n.Size != 10 {
		t.Errorf("%+v", n)
	}
	numbers := make(map[byte]bool)
	for _, x := range h.Tensors[2:] {
		data := b[x.Offset : x.Offset+x.Size]
		if x.Name != "t."+x.DType || !slices.Equal(x.Shape, []int64{2, blocks[x.DType]}) || len(bytes.Trim(data, string(data[:1]))) != 0 {
			t.Errorf("%+v, and its bytes are %d", x, data)
		}
		numbers[data[0]] = true
	}
	if len(numbers) != len(blocks) {
		t.Errorf("%d types of %d", len(numbers), len(blocks))
	}
	// The same is so if the last tensor is not padded.
	last := h.Tensors[len(h.Tensors)-1]
	if h, err := readGGUF(b[:last.Offset+last.Size]); err != nil || len(h.Tensors) != 2+len(blocks) {
		t.Errorf("without its last padding: %v", err)
	}
}

// Wherever the file ends too early, it is refused.
func TestReadGGUFRefusesEveryTruncation(t *testing.T) {
	b := typesGGUF(t)
	h, err := readGGUF(b)
	if err != nil {
		t.Fatal(err)
	}
	last := h.Tensors[len(h.Tensors)-1]
	for n := range last.Offset + last.Size {
		if _, err := readGGUF(b[:n]); !errors.Is(err, tensor.ErrGGUF) {
			t.Fatalf("%d bytes of %d: %v", n, len(b), err)
		}
	}
}

// ggufFile puts a file together, its counts and lengths as they are given and so perhaps wrong.
type ggufFile struct{ bytes.Buffer }

func (f *ggufFile) u32(all ...uint32) *ggufFile {
	for _, n := range all {
		f.Write(binary.LittleEndian.AppendUint32(nil, n))
	}
	return f
}

func (f *ggufFile) u64(all ...uint64) *ggufFile {
	for _, n := range all {
		f.Write(binary.LittleEndian.AppendUint64(nil, n))
	}
	return f
}

func (f *ggufFile) text(s string) *ggufFile {
	f.u64(uint64(len(s))).WriteString(s)
	return f
}

func (f *ggufFile) raw(s string) *ggufFile {
	f.WriteString(s)
	return f
}

// tensor is an entry of the list of tensors; dims are in the file's order.
func (f *ggufFile) tensor(name string, kind uint32, offset uint64, dims ...uint64) *ggufFile {
	return f.text(name).u32(uint32(len(dims))).u64(dims...).u32(kind).u64(offset)
}

// data pads to a multiple of 32 and puts n bytes behind.
func (f *ggufFile) data(n int) []byte {
	f.Write(make([]byte, (32-f.Len()%32)%32+n))
	return f.Bytes()
}

func gguf(version uint32, tensors, entries uint64) *ggufFile {
	f := &ggufFile{}
	f.WriteString("GGUF")
	return f.u32(version).u64(tensors, entries)
}

const (
	ggufF32  = 0
	ggufQ4_0 = 2
	u8       = 0
	u32      = 4
	boolean  = 7
	str      = 8
	array    = 9
)

func TestReadGGUFAccepts(t *testing.T) {
	deep := gguf(3, 0, 1).text("k").u32(array)
	for range 7 {
		deep.u32(array).u64(1)
	}
	for name, c := range map[string]struct {
		file  []byte
		names string
	}{
		"nothing":                {gguf(3, 0, 0).Bytes(), ""},
		"nothing, padded":        {gguf(2, 0, 0).data(0), ""},
		"version 2":              {gguf(2, 1, 0).tensor("a", ggufF32, 0, 1).data(4), "a"},
		"a number":               {gguf(3, 1, 0).tensor("a", ggufF32, 0).data(4), "a"},
		"another order":          {gguf(3, 2, 0).tensor("b", ggufF32, 32, 1).tensor("a", ggufF32, 0, 2).data(36), "a b"},
		"no numbers":             {gguf(3, 3, 0).tensor("b", ggufF32, 0, 3, 0).tensor("c", ggufF32, 0, 1).tensor("a", ggufQ4_0, 0, 0, 1<<62).data(4), "a b c"},
		"arrays in arrays":       {deep.u32(u8).u64(3).raw("xyz").Bytes(), ""},
		"an empty array":         {gguf(3, 0, 1).text("k").u32(array, str).u64(0).Bytes(), ""},
		"a string that is bytes": {gguf(3, 0, 1).text("k").u32(str).text("\xff").Bytes(), ""},
		"no alignment to speak of": {gguf(3, 1, 1).text("general.alignment").u32(u32, 1).tensor("a", ggufF32, 0, 1).raw("1234").Bytes(),
			"a"},
	} {
		h, err := readGGUF(c.file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var names []string
		for _, x := range h.Tensors {
			names = append(names, x.Name)
		}
		if got := strings.Join(names, " "); got != c.names {
			t.Errorf("%s: tensors %s, want %s", name, got, c.names)
		}
	}
}

// Types that the table lacks, of a fork or of old, are in files that people have; so are big-endian numbers.
func TestReadGGUFOfOthers(t *testing.T) {
	h, err := readGGUF(gguf(3, 2, 0).tensor("a", 139, 0, 256).tensor("b", ggufF32, 160, 1).data(164))
	if err != nil || h.Tensors[0].DType != "type 139" || h.Tensors[0].Size != 160 || h.Tensors[1].Size != 4 {
		t.Errorf("%+v, %v", h, err)
	}
	b := []byte("GGUF")
	b = binary.BigEndian.AppendUint32(b, 3)
	b = binary.BigEndian.AppendUint64(b, 1)
	b = binary.BigEndian.AppendUint64(b, 0)
	b = append(binary.BigEndian.AppendUint64(b, 1), 'a')
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint64(b, 2)
	b = binary.BigEndian.AppendUint32(b, ggufF32)
	b = binary.BigEndian.AppendUint64(b, 0)
	b = append(b, make([]byte, 64-len(b)+8)...)
	h, err = readGGUF(b)
	if err != nil || len(h.Tensors) != 1 || h.Tensors[0].Offset != 64 || h.Tensors[0].Size != 8 {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestReadGGUFRefuses(t *testing.T) {
	deep := gguf(3, 0, 1).text("k").u32(array)
	for range 100_000 {
		deep.u32(array).u64(1)
	}
	one := func(kind uint32, offset uint64, dims ...uint64) []byte {
		return gguf(3, 1, 0).tensor("a", kind, offset, dims...).data(4)
	}
	entry := func(key string) *ggufFile { return gguf(3, 0, 1).text(key) }
	for name, c := range map[string]struct {
		file []byte
		says string
	}{
		"empty":                      {nil, "byte 0: 4 bytes more are wanted, 0 are left"},
		"another file":               {[]byte("PK\x03\x04 and more"), `"PK\x03\x04"`},
		"only the magic":             {[]byte("GGUF"), "byte 4"},
		"version 1":                  {gguf(1, 0, 0).Bytes(), "version 1"},
		"version 0":                  {gguf(0, 0, 0).Bytes(), "version 0"},
		"version 4":                  {gguf(4, 0, 0).Bytes(), "version 4"},
		"half of big-endian":         {gguf(3<<24, 0, 0).Bytes()[:20], "cut short"},
		"big-endian of version 1":    {gguf(1<<24, 0, 0).Bytes(), "version 1"},
		"2^64-1 tensors":             {gguf(3, math.MaxUint64, 0).Bytes(), "18446744073709551615 tensors"},
		"2^64-1 entries":             {gguf(3, 0, math.MaxUint64).Bytes(), "18446744073709551615 entries"},
		"2^62 entries in 1 KiB":      {gguf(3, 0, 1<<62).data(1024), "entries of metadata are announced"},
		"a tensor too many":          {gguf(3, 2, 0).tensor("a", ggufF32, 0, 1).data(4), "tensor"},
		"a key of 2^63 bytes":        {gguf(3, 0, 1).u64(1 << 63).data(64), "9223372036854775808 bytes long"},
		"a key longer than the file": {gguf(3, 0, 1).u64(60000).data(64), "60000 bytes more are wanted"},
		"a key of no bytes":          {entry("").u32(u8).raw("xxxx").Bytes(), "empty"},
		"a key that is no text":      {entry("\xff").u32(u8).raw("x").Bytes(), "UTF-8"},
		"a key twice":                {gguf(3, 0, 2).text("k").u32(u8).raw("x").text("k").u32(u8).raw("x").Bytes(), "twice"},
		"a string of 2^64-1 bytes":   {entry("k").u32(str).u64(math.MaxUint64).Bytes(), "cut short"},
		"an unknown type":            {entry("k").u32(13).u64(0).Bytes(), "type 13"},
		"a bool of 2":                {entry("k").u32(boolean).raw("\x02").Bytes(), "a bool is 2"},
		"a bool of 2 in an array":    {entry("k").u32(array, boolean).u64(2).raw("\x01\x02").Bytes(), "a bool is 2"},
		"an array of 2^61 numbers":   {entry("k").u32(array, 10).u64(1 << 61).Bytes(), "2305843009213693952 elements"},
		"an array of 2^64-1 strings": {entry("k").u32(array, str).u64(math.MaxUint64).data(64), "elements"},
		"an array of unknown type":   {entry("k").u32(array, 99).u64(1).data(64), "type 99"},
		"arrays in arrays in arrays": {deep.u32(u8).u64(0).Bytes(), "nested deeper"},
		"alignment 0":                {entry("general.alignment").u32(u32, 0).Bytes(), "no power of two"},
		"alignment 48":               {entry("general.alignment").u32(u32, 48).Bytes(), "no power of two"},
		"alignment a string":         {entry("general.alignment").u32(str).text("x").Bytes(), "type 8"},
		"alignment 2^31":             {gguf(3, 1, 1).text("general.alignment").u32(u32, 1<<31).tensor("a", ggufF32, 0, 1).data(4), "cut short"},
		"five dimensions":            {one(ggufF32, 0, 1, 1, 1, 1, 1), "5 dimensions"},
		"2^32-1 dimensions":          {gguf(3, 1, 0).text("a").u32(math.MaxUint32).data(64), "dimensions"},
		"a dimension of 2^63":        {one(ggufF32, 0, 1<<63), "a dimension is"},
		"dims that overflow":         {one(ggufF32, 0, 1<<32, 1<<32), "larger than any file"},
		"dims that overflow to 0":    {one(ggufF32, 0, 1<<31, 1<<31, 4), "larger than any file"},
		"a row that overflows":       {one(ggufF32, 0, 1<<62), "larger than any file"},
		"half a block":               {one(ggufQ4_0, 0, 16, 2), "blocks of 32"},
		"a number of blocks":         {one(ggufQ4_0, 0), "blocks of 32"},
		"behind the end, of old":     {one(4, 64, 32), "belong to no tensor"},
		"a type of 2^32-1":           {one(math.MaxUint32, 0, 32), "not known"},
		"a tensor twice":             {gguf(3, 2, 0).tensor("a", ggufF32, 0, 1).tensor("a", ggufF32, 32, 1).data(36), "twice"},
		"a tensor without a name":    {gguf(3, 1, 0).tensor("", ggufF32, 0, 1).data(4), "empty"},
		"overlap":                    {gguf(3, 2, 0).tensor("a", ggufF32, 0, 9).tensor("b", ggufF32, 32, 1).data(36), `"a" and "b" overlap`},
		"the same place twice":       {gguf(3, 2, 0).tensor("a", ggufF32, 0, 1).tensor("b", ggufF32, 0, 1).data(4), "overlap"},
		"not at the alignment":       {gguf(3, 2, 0).tensor("a", ggufF32, 0, 1).tensor("b", ggufF32, 4, 1).data(8), "overlap"},
		"a gap before":               {one(ggufF32, 32, 1), "belong to no tensor"},
		"a gap between":              {gguf(3, 2, 0).tensor("a", ggufF32, 0, 1).tensor("b", ggufF32, 64, 1).data(68), "belong to no tensor"},
		"a gap after":                {gguf(3, 1, 0).tensor("a", ggufF32, 0, 1).data(33), "1 bytes after \"a\""},
		"offset 2^63":                {one(ggufF32, 1<<63, 1), "offset"},
		"offset near 2^63":           {one(ggufF32, math.MaxInt64-31, 1), "offset"},
		"cut short":                  {gguf(3, 1, 0).tensor("a", ggufF32, 0, 9).data(35), "cut short"},
	} {
		if h, err := readGGUF(c.file); !errors.Is(err, tensor.ErrGGUF) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v; want an error that says %q", name, h, err, c.says)
		}
	}
}

// zeros is a file of nothing but zeros behind its head.
type zeros struct{ head []byte }

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(z.head)) {
		copy(p, z.head[off:])
	}
	return len(p), nil
}

// A header has an end, however large the file; what it says in vain takes no memory.
func TestLongHeadersAreRefused(t *testing.T) {
	const size = 1 << 40
	endless := gguf(3, 1<<30, 1).text("k").u32(array, str).u64(1 << 20).Bytes()
	huge := gguf(3, 0, 1).text("k").u32(str).u64(1 << 39).Bytes()
	took := allocated(func() {
		for _, head := range [][]byte{endless, huge, gguf(3, 1<<30, 0).Bytes()} {
			if _, err := tensor.ReadGGUF(zeros{head}, size); !errors.Is(err, tensor.ErrGGUF) {
				t.Errorf("%q: %v", head, err)
			}
		}
	})
	if took > 2<<20 {
		t.Errorf("%d bytes were allocated", took)
	}
	if _, err := tensor.ReadGGUF(zeros{huge}, size); err == nil || !strings.Contains(err.Error(), "longer than 100000000") {
		t.Error(err)
	}
}

// allocated is how many bytes f takes of the heap, roughly: the runtime counts small ones late. It is the least of three,
// where others of the process take some too.
func allocated(f func()) uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	least := uint64(math.MaxUint64)
	for range 3 {
		metrics.Read(sample)
		before := sample[0].Value.Uint64()
		f()
		metrics.Read(sample)
		if least = min(least, sample[0].Value.Uint64()-before); least < 1<<20 {
			break
		}
	}
	return least
}

// tile fails unless sound tensors lie one behind the other from Data on; between two, no more than pad-1 bytes.
func tile(t *testing.T, h *tensor.Header, size, pad int64) {
	t.Helper()
	at := h.Data
	names := make(map[string]bool)
	for _, x := range h.Tensors {
		if x.Size < 0 || x.Offset < at || x.Offset-at >= pad || names[x.Name] {
			t.Fatalf("%q lies at %d, %d bytes; the one before ends at %d", x.Name, x.Offset, x.Size, at)
		}
		names[x.Name] = true
		at = x.Offset + x.Size
		if slices.ContainsFunc(x.Shape, func(n int64) bool { return n < 0 }) || x.Size == 0 != slices.Contains(x.Shape, 0) {
			t.Fatalf("%q is %s of %d, %d bytes", x.Name, x.DType, x.Shape, x.Size)
		}
	}
	if at > max(size, h.Data) || size-at >= pad {
		t.Fatalf("tensors end at %d of %d", at, size)
	}
}

func FuzzReadGGUF(f *testing.F) {
	f.Add(typesGGUF(f))
	f.Add(gguf(3, 0, 0).Bytes())
	f.Add(gguf(2, 2, 0).tensor("b", ggufF32, 32, 1).tensor("a", ggufQ4_0, 0, 32).data(36))
	f.Add(gguf(3, 1, 2).text("general.alignment").u32(u32, 1).text("k").u32(array, array).u64(1).u32(str).u64(1).text("x").tensor("a", ggufF32, 0, 1).raw("1234").Bytes())
	f.Add(gguf(3, 1<<40, 1<<40).Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		var h *tensor.Header
		var err error
		if took := allocated(func() { h, err = readGGUF(b) }); took > 1<<20+64*uint64(len(b)) {
			t.Fatalf("%d bytes were allocated for a file of %d", took, len(b))
		}
		if err != nil {
			if !errors.Is(err, tensor.ErrGGUF) {
				t.Fatal(err)
			}
			return
		}
		tile(t, h, int64(len(b)), 1<<31)
		// A tensor of an unknown type is as long as there is room for it: a shorter file is as sound.
		if n := len(h.Tensors); n > 0 && h.Tensors[n-1].Size > 0 && !strings.HasPrefix(h.Tensors[n-1].DType, "type ") {
			end := h.Tensors[n-1].Offset + h.Tensors[n-1].Size
			if _, err := readGGUF(b[:end-1]); err == nil {
				t.Fatalf("without its last byte it is sound too: %+v", h)
			}
		}
	})
}
