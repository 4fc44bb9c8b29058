package main

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"path/filepath"
	"slices"
)

// SmolLM2's shape.
const (
	hidden       = 576
	intermediate = 1536
	keyValue     = 192
	vocabulary   = 49152
)

// layerParts are the tensors of a layer, by their names in safetensors and in GGUF.
var layerParts = []struct {
	name, gguf string
	shape      []int64
}{
	{"input_layernorm", "attn_norm", []int64{hidden}},
	{"mlp.down_proj", "ffn_down", []int64{hidden, intermediate}},
	{"mlp.gate_proj", "ffn_gate", []int64{intermediate, hidden}},
	{"mlp.up_proj", "ffn_up", []int64{intermediate, hidden}},
	{"post_attention_layernorm", "ffn_norm", []int64{hidden}},
	{"self_attn.k_proj", "attn_k", []int64{keyValue, hidden}},
	{"self_attn.o_proj", "attn_output", []int64{hidden, hidden}},
	{"self_attn.q_proj", "attn_q", []int64{hidden, hidden}},
	{"self_attn.v_proj", "attn_v", []int64{keyValue, hidden}},
}

// layerBytes is the size of a layer in bf16.
const layerBytes = 2 * (3*hidden*intermediate + 2*hidden*hidden + 2*keyValue*hidden + 2*hidden)

// origin gives the numbers of one tensor of a model.
type origin func(gguf string, n int64, seed uint64) ([]float32, error)

// gaussian are numbers of no model, spread as weights are.
func gaussian(_ string, n int64, seed uint64) ([]float32, error) {
	random, out := rand.New(rand.NewPCG(seed, 0)), make([]float32, n)
	for i := range out {
		out[i] = float32(random.NormFloat64() * 0.02)
	}
	return out, nil
}

// weight is a tensor of a model before anything is done to it.
type weight struct {
	name, gguf string
	shape      []int64
	layer      int // -1: of none
	seed       uint64
}

// newWeight has a seed of its own: a layer of the real model that comes again is another one each time.
func newWeight(name, gguf string, shape []int64, layer int) weight {
	h := fnv.New64a()
	h.Write([]byte(name))
	return weight{name, gguf, shape, layer, h.Sum64()}
}

// weightsOf are those of a model of so many bytes: embeddings, at most a quarter of all, and then layers, the real ones over and over.
func weightsOf(size int64) []weight {
	rows := min(vocabulary, size/4/(2*hidden))
	all := []weight{newWeight("model.embed_tokens.weight", "token_embd.weight", []int64{rows, hidden}, -1)}
	for layer := range max(2, int((size-rows*2*hidden)/layerBytes)) {
		for _, p := range layerParts {
			all = append(all, newWeight(fmt.Sprintf("model.layers.%d.%s.weight", layer, p.name), fmt.Sprintf("blk.%d.%s.weight", layer%smolLM2Layers, p.gguf), p.shape, layer))
		}
	}
	return append(all, newWeight("model.norm.weight", "output_norm.weight", []int64{hidden}, -1))
}

// retrained is the same model with every twentieth tensor changed, and one more in the middle.
func retrained(weights []weight) []weight {
	all := slices.Clone(weights)
	for i := 10; i < len(all); i += 20 {
		all[i].seed++
	}
	middle := all[len(all)/2].layer
	adapter := newWeight(fmt.Sprintf("model.layers.%d.adapter.weight", middle), "blk.0.attn_q.weight", []int64{hidden, hidden}, middle)
	return slices.Insert(all, len(all)/2, adapter)
}

func (w weight) count() int64 { return madeTensor{shape: w.shape}.count() }

// writeModel stores each weight in the way that is named for it.
func writeModel(path string, weights []weight, from origin, as func(weight) scheme) error {
	var all []madeTensor
	for _, w := range weights {
		all = append(all, as(w)(w, func() ([]float32, error) { return from(w.gguf, w.count(), w.seed) })...)
	}
	return writeSafetensors(path, all)
}

// writePair makes two models, of which the second is the first one retrained.
func writePair(dir string, size int64, from origin) error {
	first := weightsOf(size)
	for i, weights := range [][]weight{first, retrained(first)} {
		if err := writeModel(modelPath(dir, i), weights, from, func(weight) scheme { return plain16 }); err != nil {
			return err
		}
	}
	return nil
}

// writeVariants makes so many models of the same weights: the first one in 16 bits, of the others some layers each in 8 and some in 4.
func writeVariants(dir string, n int, size int64, from origin) error {
	weights := weightsOf(size)
	for i := range n {
		random := rand.New(rand.NewPCG(uint64(i), 0))
		layers := map[int]scheme{}
		for _, w := range weights {
			if layers[w.layer] == nil {
				layers[w.layer] = []scheme{plain16, int8Rows, int4Groups}[random.IntN(3)]
			}
		}
		err := writeModel(modelPath(dir, i), weights, from, func(w weight) scheme {
			if i == 0 || w.layer < 0 || len(w.shape) < 2 {
				return plain16
			}
			return layers[w.layer]
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// modelFolder has the n-th model and nothing else.
func modelFolder(n int) string { return fmt.Sprintf("m%d", n) }

func modelPath(dir string, n int) string {
	return filepath.Join(dir, modelFolder(n), "model.safetensors")
}
