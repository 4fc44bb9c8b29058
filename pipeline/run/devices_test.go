package run

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/stages"
)

// machineLeases are those of all devices of a machine.
type machineLeases struct {
	mu  sync.Mutex // guards all
	all map[artifacts.Key]*machineLease
}

func (m *machineLeases) Lease(ctx context.Context, key artifacts.Key, who []byte, waiting func([]byte)) (func() error, error) {
	m.mu.Lock()
	l := m.all[key]
	if l == nil {
		l = newMachineLease()
		l.waiting = make(chan struct{}, 1<<10) // nobody looks
		m.all[key] = l
	}
	m.mu.Unlock()
	return l.Lease(ctx, key, who, waiting)
}

// occupants are the stages on the devices of a machine, whatever their builds.
type occupants struct {
	mu        sync.Mutex // guards the others
	on        map[string]map[*task]*builder
	exclusive int
}

// come gives what is wrong with that a task comes.
func (o *occupants) come(b *builder, t *task, g grant) (wrong []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if g.exclusive {
		o.exclusive++
	}
	if o.exclusive > 1 {
		wrong = append(wrong, "two exclusive stages")
	}
	for _, id := range g.gpus {
		if o.on[id] == nil {
			o.on[id] = map[*task]*builder{}
		}
		o.on[id][t] = b
		taken := 0.0
		for other, of := range o.on[id] {
			share := shareOf(other.ticket.needs)
			if taken += share; of != b || share == 0 && len(o.on[id]) > 1 {
				wrong = append(wrong, "device "+id+" has another user")
			}
		}
		if len(o.on[id]) > 1 && taken > b.pool.device(id).memoryGiB+inexact {
			wrong = append(wrong, fmt.Sprintf("%g GiB of device %s", taken, id))
		}
	}
	return wrong
}

func (o *occupants) end(t *task, g grant) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if g.exclusive {
		o.exclusive--
	}
	for _, id := range g.gpus {
		delete(o.on[id], t)
	}
}

// Three builds of one machine, of stages of all sorts, some of which are interrupted: no device has users of two of them, no lease
// is held in the end, and no two wait for each other.
func TestDevicesOfThreeBuilds(t *testing.T) {
	gpus := []gpu{{"0", 80}, {"1", 80}, {"2", 40}, {"10", 0}}
	for seed := range uint64(10) {
		leases, there := &machineLeases{all: map[artifacts.Key]*machineLease{}}, &occupants{on: map[string]map[*task]*builder{}}
		var all sync.WaitGroup
		for build := range 3 {
			b, _, _ := sharing()
			b.o.Leaser, b.devices, b.pool = leases, newSharedLeases(gpus), newPool(capacity{cpus: 16, gpus: gpus}, 0)
			for i := range 40 {
				r := rand.New(rand.NewPCG(seed, uint64(build*100+i)))
				all.Go(func() {
					for _, wrong := range there.stay(t.Context(), b, r, i) {
						t.Error(wrong)
					}
				})
			}
		}
		all.Wait()
		for _, l := range leases.all {
			if l.held() {
				t.Error("a lease is never given back")
			}
		}
	}
}

// stay is that of a random task, from its place in the queue to its end.
func (o *occupants) stay(ctx context.Context, b *builder, r *rand.Rand, order int) (wrong []string) {
	n := stages.Needs{CPUs: 1, GPUsMin: r.IntN(3), GPUMemoryGiB: float64(r.IntN(4)) * 12.3, Exclusive: r.IntN(12) == 0}
	n.GPUsMax = n.GPUsMin + r.IntN(2)
	var there []string
	if r.IntN(10) == 0 {
		there = []string{"2"}
	}
	_, t, _ := sharing()
	t.ticket = b.pool.add(order, n, there)
	defer b.pool.release(t.ticket)
	<-t.ticket.ready
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var person sync.WaitGroup
	defer person.Wait()
	if r.IntN(8) == 0 {
		person.Go(func() { cancel(ErrInterrupted) })
	}
	leave, err := b.occupy(ctx, t)
	if err != nil {
		return nil
	}
	defer leave()
	g := *t.ticket.grant
	wrong = o.come(b, t, g)
	for range r.IntN(50) {
		runtime.Gosched()
	}
	o.end(t, g)
	if r.IntN(3) > 0 {
		t.lighten()
	}
	if r.IntN(2) > 0 {
		t.vacate()
	}
	return wrong
}
