package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/stages"
)

// kindLacksJSON is what a kind of stage needs, by itself, that this machine does not have; a recipe's needs may differ.
type kindLacksJSON struct {
	Kind  string   `json:"kind"`
	Lacks []string `json:"lacks"`
}

// examineKinds goes through all kinds. without has what is wrong with the environments that cannot be had.
func (x *examination) examineKinds(without map[string]string) {
	for _, name := range kindNames(x.catalog) {
		x.Kinds = append(x.Kinds, kindLacksJSON{name, x.lackedBy(x.catalog.Kinds[name], without)})
	}
}

func (x *examination) lackedBy(k *stages.Kind, without map[string]string) []string {
	lacking := []string{}
	if why, ok := without[k.Env]; ok {
		lacking = append(lacking, why)
	}
	for i := range k.Inputs {
		for _, typ := range slices.Sorted(maps.Keys(k.Inputs[i].Envs)) {
			if why, ok := without[k.Inputs[i].Envs[typ]]; ok {
				lacking = append(lacking, "for "+typ+": "+why)
			}
		}
	}
	if n, _ := strconv.Atoi(x.Facts["gpu.count"]); k.Needs.GPUsMin > n {
		lacking = append(lacking, fmt.Sprintf("%s (this machine has %d)", view.Count(k.Needs.GPUsMin, "GPU"), n))
	}
	if has := x.largestGPU(); k.Needs.GPUsMin > 0 && has > 0 && k.Needs.GPUMemoryGiB > has {
		lacking = append(lacking, fmt.Sprintf("%g GiB of a GPU's memory (the largest here has %g)", k.Needs.GPUMemoryGiB, has))
	}
	if has, _ := strconv.ParseFloat(x.Facts["memory_gib"], 64); has > 0 && k.Needs.MemoryGiB > has {
		lacking = append(lacking, fmt.Sprintf("%g GiB of memory (this machine has %g)", k.Needs.MemoryGiB, has))
	}
	for _, name := range k.Facts {
		if _, ok := x.Facts[name]; !ok {
			lacking = append(lacking, "the fact "+name)
		}
	}
	if x.offline && k.Network {
		lacking = append(lacking, "the network, but for what is cached or stands in a file")
	}
	return lacking
}

// largestGPU is the memory of the largest GPU, in GiB; 0 where there is none, or one of which it is not known.
func (x *examination) largestGPU() float64 {
	largest := 0.0
	n, _ := strconv.Atoi(x.Facts["gpu.count"])
	for i := range n {
		has, _ := strconv.ParseFloat(x.Facts[fmt.Sprintf("gpu.%d.memory_gib", i)], 64)
		if has == 0 {
			return 0
		}
		largest = max(largest, has)
	}
	return largest
}

func (x *examination) tellKinds() error {
	rows := make([][]string, 0, len(x.Kinds))
	for _, k := range x.Kinds {
		result := sound
		if len(k.Lacks) > 0 {
			result = lacks
		}
		rows = append(rows, []string{k.Kind, result, view.Printable(strings.Join(k.Lacks, ", "))})
	}
	fmt.Fprintln(x.app.stdout)
	return view.Table(x.app.stdout, []string{"KIND", "HERE", "WHAT IT LACKS"}, rows)
}
