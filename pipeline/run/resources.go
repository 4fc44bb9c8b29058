package run

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages"
)

// capacity is what a machine has to give.
type capacity struct {
	cpus      float64
	memoryGiB float64 // 0: not known, so not bounded
	gpus      []string
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
		id := facts[fmt.Sprintf("gpu.%d.id", i)]
		if id == "" {
			id = strconv.Itoa(i)
		}
		c.gpus = append(c.gpus, id)
	}
	return c
}

// refuse says why a stage can never run here. CPUs are not among the reasons: with fewer it runs longer.
func (c capacity) refuse(s *recipe.Stage) *hcl.Diagnostic {
	n := s.Needs
	switch {
	case n.GPUsMin > len(c.gpus):
		return plan.FewGPUs(s, n.GPUsMin, len(c.gpus), fmt.Sprintf("its needs say gpus = %d", n.GPUsMin))
	case c.memoryGiB > 0 && n.MemoryGiB > c.memoryGiB:
		return problem(s.Range, "This machine is too small",
			"%s needs %g GiB of memory, this machine has %g. Change its needs, or run it elsewhere.", s.Address, n.MemoryGiB, c.memoryGiB)
	}
	return nil
}

// grant is what a running stage holds.
type grant struct {
	cpus      float64
	memoryGiB float64
	gpus      []string
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

// pool gives out a machine's resources. It is work-conserving: a stage that fits now never waits for one that does
// not, so an exclusive stage runs when nothing else can. A build is finite, so nobody waits for ever.
type pool struct {
	mu      sync.Mutex // guards all below
	total   capacity
	free    capacity
	slots   int // of --jobs
	running int
	alone   bool // an exclusive stage runs
	queue   []*ticket
	scarce  bool          // somebody waits
	calm    chan struct{} // closed unless it is scarce
}

func newPool(c capacity, jobs int) *pool {
	if jobs <= 0 {
		jobs = math.MaxInt
	}
	p := &pool{total: c, free: capacity{c.cpus, c.memoryGiB, slices.Clone(c.gpus)}, slots: jobs, calm: make(chan struct{})}
	close(p.calm)
	return p
}

// served gives a channel that is closed once nobody waits for resources.
func (p *pool) served() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calm
}

// count is called where the queue has changed. The lock is held.
func (p *pool) count() {
	if waits := len(p.queue) > 0; waits == p.scarce {
		return
	}
	if p.scarce = !p.scarce; p.scarce {
		p.calm = make(chan struct{})
	} else {
		close(p.calm)
	}
}

// add queues a stage; its ready is closed once it has its grant, which may be now.
func (p *pool) add(order int, n stages.Needs, gpus []string) *ticket {
	t := &ticket{order: order, needs: n, gpus: gpus, ready: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.count()
	at, _ := slices.BinarySearchFunc(p.queue, t, func(a, b *ticket) int { return cmp.Compare(a.order, b.order) })
	p.queue = slices.Insert(p.queue, at, t)
	p.dispatch()
	return t
}

// release gives back a grant, or a place in the queue. Doing it twice is harmless.
func (p *pool) release(t *ticket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.count()
	if i := slices.Index(p.queue, t); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
		return
	}
	g := t.grant
	if g == nil {
		return
	}
	t.grant = nil
	p.running--
	p.give(g)
	if p.running == 0 { // fractions do not always add up to what they were taken from
		p.free.cpus, p.free.memoryGiB = p.total.cpus, p.total.memoryGiB
	}
	p.dispatch()
}

// lighten leaves a grant what storing takes: no device, and others may run beside it. An exclusive stage does not, since
// this one still runs.
func (p *pool) lighten(t *ticket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.count()
	g := t.grant
	if g == nil {
		return
	}
	p.give(g)
	t.grant = &grant{cpus: min(storingCPUs, g.cpus), memoryGiB: min(storingGiB, g.memoryGiB)}
	p.take(t.grant)
	p.dispatch()
}

// give and take change what is free. The lock is held.
func (p *pool) give(g *grant) {
	p.free.cpus += g.cpus
	p.free.memoryGiB += g.memoryGiB
	p.free.gpus = append(p.free.gpus, g.gpus...)
	slices.SortFunc(p.free.gpus, func(a, b string) int {
		return cmp.Compare(slices.Index(p.total.gpus, a), slices.Index(p.total.gpus, b))
	})
	if g.exclusive {
		p.alone = false
	}
}

func (p *pool) take(g *grant) {
	p.free.cpus -= g.cpus
	p.free.memoryGiB -= g.memoryGiB
	p.free.gpus = slices.DeleteFunc(p.free.gpus, func(id string) bool { return slices.Contains(g.gpus, id) })
	if g.exclusive {
		p.alone = true
	}
}

// exchange gives a granted ticket a free device in place of one, not among those to avoid; "" where there is none.
func (p *pool) exchange(t *ticket, id string, avoid map[string]bool) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.free.gpus {
		if avoid[other] || t.gpus != nil {
			continue
		}
		p.free.gpus[i] = id
		t.grant.gpus[slices.Index(t.grant.gpus, id)] = other
		return other
	}
	return ""
}

// has tells whether all these devices are the pool's.
func (p *pool) has(gpus []string) bool {
	for _, id := range gpus {
		if !slices.Contains(p.total.gpus, id) {
			return false
		}
	}
	return true
}

func (p *pool) dispatch() {
	for i := 0; i < len(p.queue); {
		t := p.queue[i]
		g := p.fit(t)
		if g == nil {
			i++
			continue
		}
		p.running++
		p.take(g)
		t.grant = g
		p.queue = slices.Delete(p.queue, i, i+1)
		close(t.ready)
	}
}

// fit is what the ticket would get now, or nil.
func (p *pool) fit(t *ticket) *grant {
	if p.alone || p.running >= p.slots || t.needs.Exclusive && p.running > 0 {
		return nil
	}
	g := &grant{cpus: cpusOf(t.needs, p.total), exclusive: t.needs.Exclusive}
	if p.total.memoryGiB > 0 {
		g.memoryGiB = t.needs.MemoryGiB
	}
	if g.cpus > p.free.cpus || g.memoryGiB > p.free.memoryGiB {
		return nil
	}
	if t.gpus != nil {
		for _, id := range t.gpus {
			if !slices.Contains(p.free.gpus, id) {
				return nil
			}
		}
		g.gpus = t.gpus
		return g
	}
	// "0-1" means: one, if the machine has one. So it waits for a busy GPU rather than do without.
	least := max(t.needs.GPUsMin, min(1, t.needs.GPUsMax, len(p.total.gpus)))
	if len(p.free.gpus) < least {
		return nil
	}
	g.gpus = slices.Clone(p.free.gpus[:min(len(p.free.gpus), max(least, t.needs.GPUsMax))])
	return g
}

func cpusOf(n stages.Needs, total capacity) float64 {
	if n.CPUs <= 0 {
		return min(1, total.cpus)
	}
	return min(n.CPUs, total.cpus)
}

// threads is how many a worker may start: whole CPUs, at least one.
func (g *grant) threads() int { return max(1, int(math.Round(g.cpus))) }
