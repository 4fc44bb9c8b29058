package run

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// Misfit is one cause for which a machine can never run some stages of a plan. The first of them asks for most, and is Problem's.
type Misfit struct {
	Stages  []*recipe.Stage
	Problem *hcl.Diagnostic

	asks float64
}

// Misfits are the causes for which Execute would refuse a plan on a machine of these facts.
func Misfits(p *plan.Plan, facts map[string]string) []*Misfit {
	var all []*Misfit
	byCause := map[string]*Misfit{}
	c := capacityOf(facts)
	for _, s := range p.Steps {
		if s.State == plan.Hit {
			continue
		}
		st := s.Node.Stage
		d, asks := c.misfit(st)
		if d == nil {
			continue
		}
		m := byCause[d.Summary]
		switch {
		case m == nil:
			m = &Misfit{Stages: []*recipe.Stage{st}, Problem: d, asks: asks}
			byCause[d.Summary] = m
			all = append(all, m)
		case asks > m.asks:
			m.Stages, m.Problem, m.asks = append([]*recipe.Stage{st}, m.Stages...), d, asks
		default:
			m.Stages = append(m.Stages, st)
		}
	}
	return all
}

// refuse says why a stage can never run here.
func (c capacity) refuse(s *recipe.Stage) *hcl.Diagnostic {
	d, _ := c.misfit(s)
	return d
}

// misfit is refuse, with how much the stage asks for of what is too little. CPUs are not among the reasons: with fewer it
// runs longer.
func (c capacity) misfit(s *recipe.Stage) (d *hcl.Diagnostic, asks float64) {
	n := s.Needs
	switch {
	case n.GPUsMin > len(c.gpus):
		return plan.FewGPUs(s, n.GPUsMin, len(c.gpus), fmt.Sprintf("its needs say gpus = %d", n.GPUsMin)), float64(n.GPUsMin)
	case c.memoryGiB > 0 && n.MemoryGiB > c.memoryGiB:
		return problem(s.Range, "This machine is too small",
			"%s needs %g GiB of memory, this machine has %g. Change its needs, or run it elsewhere.", s.Address, n.MemoryGiB, c.memoryGiB), n.MemoryGiB
	case n.GPUsMin > c.suiting(n):
		return c.smallGPUs(s), n.GPUMemoryGiB
	}
	return nil, 0
}

// smallGPUs: one that would do with none is not refused, it does without.
func (c capacity) smallGPUs(s *recipe.Stage) *hcl.Diagnostic {
	largest := 0.0
	for _, g := range c.gpus {
		largest = max(largest, g.memoryGiB)
	}
	asks := fmt.Sprintf("a GPU with %g GiB of memory", s.Needs.GPUMemoryGiB)
	if n := s.Needs.GPUsMin; n > 1 {
		asks = fmt.Sprintf("%d GPUs with %g GiB of memory each", n, s.Needs.GPUMemoryGiB)
	}
	return problem(s.Range, "GPUs of this machine are too small",
		"%s needs %s (its needs say gpu_memory_gib), the largest of this machine has %g. Change its needs, or run it elsewhere.", s.Address, asks, largest)
}
