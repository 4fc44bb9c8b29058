package run

import (
	"cmp"
	"fmt"
	"math"
	"strconv"

	"github.com/Ruihan11/tiny-infra/stages"
)

// capacity is what a machine has to give.
type capacity struct {
	cpus      float64
	memoryGiB float64 // 0: not known, so not bounded
	gpus      []gpu
}

// gpu is one of a machine's devices.
type gpu struct {
	id        string
	memoryGiB float64 // 0: not known, so it is not shared
}

// suits tells whether it is large enough.
func (g gpu) suits(n stages.Needs) bool { return g.memoryGiB == 0 || n.GPUMemoryGiB <= g.memoryGiB }

// suiting is how many of the devices are large enough for a stage.
func (c capacity) suiting(n stages.Needs) int {
	large := 0
	for _, g := range c.gpus {
		if g.suits(n) {
			large++
		}
	}
	return large
}

// capacityOf reads an executor's facts.
func capacityOf(facts map[string]string) capacity {
	c := capacity{cpus: 1}
	if n, err := strconv.ParseFloat(facts["cpu.count"], 64); err == nil && n >= 1 {
		c.cpus = n
	}
	c.memoryGiB, _ = strconv.ParseFloat(facts["memory_gib"], 64)
	n, _ := strconv.Atoi(facts["gpu.count"])
	for i := range n {
		at := fmt.Sprintf("gpu.%d.", i)
		g := gpu{id: cmp.Or(facts[at+"id"], strconv.Itoa(i))}
		g.memoryGiB, _ = strconv.ParseFloat(facts[at+"memory_gib"], 64)
		c.gpus = append(c.gpus, g)
	}
	return c
}

// inexact is by how much a sum of fractions may miss what they are fractions of, in CPUs or GiB.
const inexact = 1e-6

// grant is what a running stage holds.
type grant struct {
	cpus      float64
	memoryGiB float64
	gpus      []string
	gpuGiB    float64 // of each device; 0: it has them alone
	exclusive bool
}

// What checking, hashing and publishing take of the machine.
const (
	storingCPUs = 1
	storingGiB  = 1
)

// ticket is a stage's place in the queue for resources, then its grant.
type ticket struct {
	order int // place in the graph: ties are decided by it
	needs stages.Needs
	gpus  []string // these very ids, which its worker already uses; nil for any
	ready chan struct{}
	grant *grant // set before ready is closed
}

func cpusOf(n stages.Needs, total capacity) float64 {
	if n.CPUs <= 0 {
		return min(1, total.cpus)
	}
	return min(n.CPUs, total.cpus)
}

// threads is how many a worker may start: whole CPUs, at least one.
func (g *grant) threads() int { return max(1, int(math.Round(g.cpus))) }
