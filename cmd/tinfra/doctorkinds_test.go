package main

import (
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/stages"
)

func TestWhatAKindNeedsAndTheMachineLacks(t *testing.T) {
	one := map[string]string{"gpu.count": "1", "gpu.0.memory_gib": "79.6", "memory_gib": "8"}
	unknown := map[string]string{"gpu.count": "2", "gpu.0.memory_gib": "16", "gpu.1.memory_gib": "0.0"}
	for _, c := range []struct {
		facts map[string]string
		needs stages.Needs
		want  string
	}{
		{one, stages.Needs{GPUsMin: 1, GPUMemoryGiB: 79, MemoryGiB: 8}, ""},
		{one, stages.Needs{GPUsMin: 1, GPUMemoryGiB: 80}, "80 GiB of a GPU's memory (the largest here has 79.6)"},
		{one, stages.Needs{GPUsMax: 1, GPUMemoryGiB: 80}, ""},
		{one, stages.Needs{GPUsMin: 2, MemoryGiB: 9}, "2 GPUs (this machine has 1), 9 GiB of memory (this machine has 8)"},
		{unknown, stages.Needs{GPUsMin: 1, GPUMemoryGiB: 80}, ""},
		{nil, stages.Needs{GPUsMin: 1, GPUMemoryGiB: 80}, "1 GPU (this machine has 0)"},
	} {
		x := &examination{Facts: c.facts}
		if got := strings.Join(x.lackedBy(&stages.Kind{Needs: c.needs}, nil), ", "); got != c.want {
			t.Errorf("of %+v lacks %q, want %q", c.needs, got, c.want)
		}
	}
}
