package pieces_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/pieces"
)

// stored is how many bytes the depot has.
func (d *depot) stored() int {
	n := 0
	for _, b := range d.packs {
		n += len(b)
	}
	return n
}

func (d *depot) knowing(digest artifacts.Digest) (pieces.Loc, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l, ok := d.where[digest]
	return l, ok
}

// TestASecondModelCostsWhatDiffers: of two models that share all tensors but one, and one that was inserted, the second is stored as those
// two and its header.
func TestASecondModelCostsWhatDiffers(t *testing.T) {
	var tensors []tensorBytes
	raw := 0
	for i := range 12 {
		tensors = append(tensors, tensorOf("BF16", bf16(uint64(i), 150_000+10_000*i)), tensorOf("BF16", bf16(uint64(100+i), 576)))
		raw += len(tensors[2*i].bytes) + len(tensors[2*i+1].bytes)
	}
	d := newDepot()
	d.cut(t, pieces.Packer{}, source("model.safetensors", safetensors(tensors...)))
	first := d.stored()
	if first > raw*68/100 {
		t.Errorf("weights of %d bytes take %d", raw, first)
	}
	tensors[10] = tensorOf("BF16", bf16(50, 200_000))
	tensors = slices.Insert(tensors, 5, tensorOf("BF16", bf16(51, 200_000)))
	d.cut(t, pieces.Packer{Known: d.knowing}, source("model.safetensors", safetensors(tensors...)))
	if more, most := d.stored()-first, 2*400_000*68/100+4*2*576+4096; more > most {
		t.Errorf("the second model takes %d bytes more; want at most %d", more, most)
	}
}

// TestVariantsShareWhatTheyKeep: ten models that quantize other layers each are stored as each layer twice.
func TestVariantsShareWhatTheyKeep(t *testing.T) {
	const layers = 10
	d := newDepot()
	one := 0
	for variant := range 10 {
		var tensors []tensorBytes
		for i := range layers {
			x := tensorOf("F16", bf16(uint64(i), 136_000)) // its bytes serve for any type of two
			if (i+variant)%3 == 0 {
				x = tensorOf("Q8_0", noise(uint64(i), 34*8000))
			}
			tensors = append(tensors, x)
		}
		d.cut(t, pieces.Packer{Known: d.knowing}, source(fmt.Sprintf("m%d.gguf", variant), gguf(tensors...)))
		if variant == 0 {
			one = d.stored()
		}
	}
	if all := d.stored(); all > one*25/10 {
		t.Errorf("ten variants take %d bytes, one %d", all, one)
	}
}
