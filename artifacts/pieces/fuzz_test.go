package pieces_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts/pieces"
)

// FuzzCutAndJoin: any bytes, followed by so many zeros, come back as they were, whatever a file calls itself and says of its tensors.
func FuzzCutAndJoin(f *testing.F) {
	head := func(b []byte, data int) ([]byte, uint32) { return b[:len(b)-data], uint32(data) }
	b, n := head(safetensors(tensorOf("BF16", make([]byte, 600_000)), tensorOf("F32", make([]byte, 4000)), tensorOf("F64", make([]byte, 300_000))), 904_000)
	f.Add(b, n, uint8(0))
	b, n = head(gguf(tensorOf("F16", make([]byte, 600_000)), tensorOf("Q8_0", make([]byte, 34*20_000))), 1_280_000)
	f.Add(b, n, uint8(1))
	f.Add(text(5000), uint32(300_000), uint8(2))
	model, _ := onnxOf("large.onnx", tensorOf("BF16", make([]byte, 600_000)), tensorOf("F32", make([]byte, 300_000)))
	f.Add(model, uint32(1<<20), uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, zeros uint32, kind uint8) {
		ext := []string{".safetensors", ".gguf", ".bin", ".onnx"}[kind%4]
		whole := slices.Concat(b, make([]byte, zeros%(3<<20)))
		spans(t, b, "small"+ext)
		spans(t, whole, "large"+ext)
		newDepot().cut(t, pieces.Packer{Workers: 1 + int(kind)%3}, source("large"+ext, whole), source("small"+ext, b), source("zeros", whole[len(b):]))
	})
}

func BenchmarkCut(b *testing.B) {
	weights := bf16(1, 16<<20)
	for name, file := range map[string][]byte{"content.bin": weights, "dense.bin": noise(1, 32<<20), "tensors.safetensors": safetensors(tensorOf("BF16", weights))} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(file)))
			for b.Loop() {
				for _, err := range pieces.Cut(bytes.NewReader(file), int64(len(file)), name, nil) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkTree is all that is done to a file before its packs are sent: cut, hashed as a whole and by piece, coded, packed.
func BenchmarkTree(b *testing.B) {
	var small []pieces.Source
	for i := range 5000 {
		small = append(small, source(fmt.Sprintf("%04d", i), noise(uint64(i), 4096)))
	}
	for name, files := range map[string][]pieces.Source{
		"bf16":  {source("m.safetensors", safetensors(tensorOf("BF16", bf16(1, 16<<20)), tensorOf("BF16", bf16(2, 16<<20))))},
		"dense": {source("m.bin", noise(1, 64<<20))},
		"small": small,
	} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprint(name, workers), func(b *testing.B) {
				total, stored, packs := int64(0), 0, 0
				for _, f := range files {
					total += f.Blob.Size
				}
				b.SetBytes(total)
				for b.Loop() {
					stored, packs = 0, 0
					p := pieces.Packer{Workers: workers, Emit: func(p pieces.Pack) error {
						stored += p.Size
						packs++
						p.Release()
						return nil
					}}
					if _, err := p.Tree(b.Context(), files); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(stored)/float64(total), "ratio")
				b.ReportMetric(float64(packs), "packs")
			})
		}
	}
}

func BenchmarkJoin(b *testing.B) {
	s := source("m.safetensors", safetensors(tensorOf("BF16", bf16(1, 16<<20))))
	d := newDepot()
	m := d.cut(b, pieces.Packer{}, s)
	f, _ := m.File(s.Blob.Digest)
	b.SetBytes(f.Size)
	var out bytes.Buffer
	out.Grow(int(f.Size))
	for b.Loop() {
		out.Reset()
		if err := m.Join(&out, f, d.read); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMap is of the map of 100,000 files in as many pieces.
func BenchmarkMap(b *testing.B) {
	var files []pieces.Source
	for i := range 100_000 {
		files = append(files, source("", []byte(fmt.Sprint(i))))
	}
	d := newDepot()
	p := pieces.Packer{Emit: d.emit}
	m, err := p.Tree(b.Context(), files)
	if err != nil {
		b.Fatal(err)
	}
	text, err := m.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			_, _ = m.Encode()
		}
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			_, _ = pieces.DecodeMap(text)
		}
	})
}
