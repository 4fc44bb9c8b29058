package run

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"github.com/Ruihan11/tiny-infra/stages"
)

// pool gives out a machine's resources. It is work-conserving: a stage that fits now never waits for one that does
// not, so an exclusive stage runs when nothing else can. A build is finite, so nobody waits for ever.
type pool struct {
	mu      sync.Mutex // guards all below
	total   capacity
	free    capacity // but for devices
	devices []*device
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
	p := &pool{total: c, free: capacity{cpus: c.cpus, memoryGiB: c.memoryGiB}, slots: jobs, calm: make(chan struct{})}
	for _, g := range c.gpus {
		p.devices = append(p.devices, &device{gpu: g})
	}
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
	for _, id := range g.gpus {
		p.device(id).leave(g)
	}
	if g.exclusive {
		p.alone = false
	}
}

func (p *pool) take(g *grant) {
	p.free.cpus -= g.cpus
	p.free.memoryGiB -= g.memoryGiB
	for _, id := range g.gpus {
		p.device(id).enter(g)
	}
	if g.exclusive {
		p.alone = true
	}
}

// exchange gives a granted ticket a device with room in place of one, not among those to avoid; "" where there is none.
func (p *pool) exchange(t *ticket, id string, avoid map[string]bool) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.gpus != nil {
		return ""
	}
	defer p.count()
	for _, other := range p.roomy(t.needs) {
		if avoid[other] || slices.Contains(t.grant.gpus, other) {
			continue
		}
		p.device(id).leave(t.grant)
		p.device(other).enter(t.grant)
		t.grant.gpus[slices.Index(t.grant.gpus, id)] = other
		p.dispatch() // it may have shared the one and not the other: another stage fits now
		return other
	}
	return ""
}

// has tells whether all these devices are the pool's.
func (p *pool) has(gpus []string) bool {
	for _, id := range gpus {
		if p.device(id) == nil {
			return false
		}
	}
	return true
}

func (p *pool) device(id string) *device {
	for _, d := range p.devices {
		if d.id == id {
			return d
		}
	}
	return nil
}

// roomy are the devices that a stage may have now, the emptiest first where it would share one.
func (p *pool) roomy(n stages.Needs) (ids []string) {
	var all []*device
	for _, d := range p.devices {
		if d.room(n) {
			all = append(all, d)
		}
	}
	if shareOf(n) > 0 {
		slices.SortStableFunc(all, func(a, b *device) int { return cmp.Compare(b.memoryGiB-b.takenGiB, a.memoryGiB-a.takenGiB) })
	}
	for _, d := range all {
		ids = append(ids, d.id)
	}
	return ids
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
	g := &grant{cpus: cpusOf(t.needs, p.total), gpuGiB: shareOf(t.needs), exclusive: t.needs.Exclusive}
	if p.total.memoryGiB > 0 {
		g.memoryGiB = t.needs.MemoryGiB
	}
	if g.cpus > p.free.cpus+inexact || g.memoryGiB > p.free.memoryGiB+inexact {
		return nil
	}
	if t.gpus != nil {
		for _, id := range t.gpus {
			if !p.device(id).vacant(t.needs) {
				return nil
			}
		}
		g.gpus = t.gpus
		return g
	}
	roomy := p.roomy(t.needs)
	// "0-1" means: one, if the machine has one that is large enough. So it waits for a busy GPU rather than do without.
	least := max(t.needs.GPUsMin, min(1, t.needs.GPUsMax, p.total.suiting(t.needs)))
	if len(roomy) < least {
		return nil
	}
	g.gpus = roomy[:min(len(roomy), max(least, t.needs.GPUsMax))]
	return g
}
