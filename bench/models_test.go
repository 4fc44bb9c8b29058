package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts/tensor"
)

// tensorsOf reads a file that was made, by names.
func tensorsOf(t *testing.T, path string) (map[string]tensor.Tensor, map[string][]byte) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, err := tensor.ReadSafetensors(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	said, held := map[string]tensor.Tensor{}, map[string][]byte{}
	for _, x := range head.Tensors {
		said[x.Name], held[x.Name] = x, raw[x.Offset:x.Offset+x.Size]
	}
	return said, held
}

// counting is a source that costs little: no two seeds begin alike.
func counting(_ string, n int64, seed uint64) ([]float32, error) {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32((uint64(i)+seed)*0x9e3779b97f4a7c15>>40) - 1<<23
	}
	return out, nil
}

// TestPairDiffersInATwentieth: a second model has one tensor more, and every twentieth is another.
func TestPairDiffersInATwentieth(t *testing.T) {
	dir := t.TempDir()
	if err := writePair(dir, 8<<20, counting); err != nil {
		t.Fatal(err)
	}
	_, first := tensorsOf(t, modelPath(dir, 0))
	said, second := tensorsOf(t, modelPath(dir, 1))
	changed, added := 0, 0
	for name, b := range second {
		switch was, ok := first[name]; {
		case !ok:
			added++
		case !bytes.Equal(b, was):
			changed++
		}
		if said[name].DType != "BF16" {
			t.Errorf("%s is of type %s", name, said[name].DType)
		}
	}
	if len(second) != len(first)+1 || added != 1 || changed != len(first)/20 {
		t.Errorf("of %d tensors %d are changed, %d added", len(first), changed, added)
	}
	seen := map[string]string{}
	for name, b := range first {
		if other := seen[string(b[:64])]; other != "" {
			t.Errorf("%s and %s begin with the same numbers", name, other)
		}
		seen[string(b[:64])] = name
	}
	again := filepath.Join(dir, "again")
	if err := writePair(again, 8<<20, counting); err != nil {
		t.Fatal(err)
	}
	if _, b := tensorsOf(t, modelPath(again, 1)); !bytes.Equal(b["model.norm.weight"], second["model.norm.weight"]) {
		t.Error("the same seeds made another model")
	}
}

// TestVariantsHaveLayersInCommon: a layer that two variants store in the same way has the same bytes in both.
func TestVariantsHaveLayersInCommon(t *testing.T) {
	dir := t.TempDir()
	const n = 3
	if err := writeVariants(dir, n, 8<<20, counting); err != nil {
		t.Fatal(err)
	}
	type form struct{ name, dtype, shape string }
	seen, types := map[form][]byte{}, map[string]bool{}
	for i := range n {
		said, held := tensorsOf(t, modelPath(dir, i))
		for name, b := range held {
			f := form{name, said[name].DType, fmt.Sprint(said[name].Shape)}
			types[f.dtype] = true
			if i == 0 && f.dtype != "BF16" {
				t.Errorf("%s of the first variant is of type %s", name, f.dtype)
			}
			if was, ok := seen[f]; ok && !bytes.Equal(was, b) {
				t.Errorf("%v has other bytes in variant %d", f, i)
			}
			seen[f] = b
		}
	}
	if !types["I8"] || !types["I32"] {
		t.Errorf("the variants have the types %v", types)
	}
}

// TestSchemesAreNearTheNumbers: what is stored in fewer bits, times its scale, is the weight but for half a step and what the scale lost in bf16.
func TestSchemesAreNearTheNumbers(t *testing.T) {
	w := newWeight("w.weight", "w", []int64{3, 128}, 0)
	numbers, err := gaussian("", w.count(), 7)
	if err != nil {
		t.Fatal(err)
	}
	get := func() ([]float32, error) { return numbers, nil }
	for name, c := range map[string]struct {
		scheme scheme
		group  int
		whole  func(b []byte, i int) int
	}{
		"8 bits": {int8Rows, 128, func(b []byte, i int) int { return int(int8(b[i])) }},
		"4 bits": {int4Groups, 64, func(b []byte, i int) int { return int(b[i/2]>>(4*(i%2))&15) - 8 }},
	} {
		made := c.scheme(w, get)
		stored, err := made[0].bytes()
		if err != nil {
			t.Fatal(err)
		}
		scales, err := made[1].bytes()
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range numbers {
			scale := math.Float32frombits(uint32(binary.LittleEndian.Uint16(scales[2*(i/c.group):])) << 16)
			if got := float32(c.whole(stored, i)) * scale; math.Abs(float64(got-x)) > 0.51*float64(scale)+math.Abs(float64(x))/256 {
				t.Fatalf("%s: number %d is %g, not %g (scale %g)", name, i, got, x, scale)
			}
		}
	}
}

// TestNumbersOfTheRealModel: what its blocks say, within half a step.
func TestNumbersOfTheRealModel(t *testing.T) {
	half := func(val uint16) []byte { return binary.LittleEndian.AppendUint16(nil, val) }
	four := append(append(half(0x3800), half(0xbc00)...), bytes.Repeat([]byte{0xf2}, 16)...) // scale 0.5, least −1: 2 and 15
	eight := append(half(0x4000), bytes.Repeat([]byte{0xfd}, 32)...)                         // scale 2: −3
	one := binary.LittleEndian.AppendUint32(nil, math.Float32bits(4))
	m := &smolLM2{file: append(append(four, eight...), one...), tensors: map[string]tensor.Tensor{
		"four": {DType: "Q4_1", Size: 20}, "eight": {DType: "Q8_0", Offset: 20, Size: 34}, "one": {DType: "F32", Offset: 54, Size: 4}, "odd": {DType: "Q2_K", Size: 4},
	}}
	for name, want := range map[string]struct {
		first, last, most float64
		n                 int64
	}{"four": {0, 6.5, 0.25, 32}, "eight": {-6, -6, 1, 32}, "one": {4, 4, 0.04, 1}} {
		got, err := m.numbers(name, want.n, 1)
		if err != nil {
			t.Fatal(err)
		}
		if a, z := float64(got[0]), float64(got[want.n-1]); math.Abs(a-want.first) > want.most || math.Abs(z-want.last) > want.most {
			t.Errorf("%s is %g … %g, not %g … %g", name, a, z, want.first, want.last)
		}
		other, err := m.numbers(name, want.n, 2)
		if err != nil {
			t.Fatal(err)
		}
		if other[0] == got[0] {
			t.Errorf("%s: another seed gives the same number", name)
		}
	}
	for name, n := range map[string]int64{"four": 33, "odd": 1, "none": 1} {
		if _, err := m.numbers(name, n, 1); err == nil {
			t.Errorf("%s gave %d numbers", name, n)
		}
	}
}

func TestFloat16(t *testing.T) {
	for bits, want := range map[uint16]float32{0x3c00: 1, 0xc000: -2, 0x3555: 0.333251953125, 0x0001: 5.9604644775390625e-8, 0x7bff: 65504, 0: 0} {
		if got := float16(binary.LittleEndian.AppendUint16(nil, bits)); got != want {
			t.Errorf("%#04x is %g, not %g", bits, got, want)
		}
	}
}

func TestBfloat16RoundsToEven(t *testing.T) {
	for bits, want := range map[uint32]uint16{0x3f800000: 0x3f80, 0x3f808000: 0x3f80, 0x3f818000: 0x3f82, 0x3f808001: 0x3f81} {
		if got := binary.LittleEndian.Uint16(bfloat16([]float32{math.Float32frombits(bits)})); got != want {
			t.Errorf("%#x is %#x, not %#x", bits, got, want)
		}
	}
}
