package run

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/stages"
)

func granted(t *ticket) bool {
	select {
	case <-t.ready:
		return true
	default:
		return false
	}
}

// Stages of all sorts come and go at random; at no time is more given out than there is, or a device twice.
func TestThePoolNeverGivesMoreThanThereIs(t *testing.T) {
	total := capacity{cpus: 4, memoryGiB: 8, gpus: []gpu{{"a", 8}, {"b", 8}, {"c", 4}, {"d", 0}}}
	p := newPool(total, 6)
	var mu sync.Mutex // guards what is in use
	used, taken := grant{}, map[string]float64{}
	running, exclusive := 0, false
	account := func(g grant, sign float64) {
		mu.Lock()
		defer mu.Unlock()
		running += int(sign)
		used.cpus += sign * g.cpus
		used.memoryGiB += sign * g.memoryGiB
		for _, id := range g.gpus {
			if g.gpuGiB > 0 {
				taken[id] += sign * g.gpuGiB
				if d := p.device(id); taken[id] > d.memoryGiB && (d.memoryGiB > 0 || taken[id] > g.gpuGiB) || slices.Contains(used.gpus, id) {
					t.Errorf("of device %s %g GiB are given", id, taken[id])
				}
			} else if sign < 0 {
				used.gpus = slices.DeleteFunc(used.gpus, func(s string) bool { return s == id })
			} else if slices.Contains(used.gpus, id) || taken[id] > 0 {
				t.Errorf("device %s is given twice", id)
			} else {
				used.gpus = append(used.gpus, id)
			}
		}
		if g.exclusive {
			exclusive = sign > 0
		}
		if used.cpus > 4 || used.memoryGiB > 8 || running > 6 || exclusive && running > 1 {
			t.Errorf("in use: %+v by %d, exclusive %v", used, running, exclusive)
		}
	}
	var all sync.WaitGroup
	for i := range 300 {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		n := stages.Needs{CPUs: float64(r.IntN(6)), MemoryGiB: float64(r.IntN(9)), Exclusive: r.IntN(10) == 0}
		n.GPUsMin = r.IntN(3)
		n.GPUsMax = n.GPUsMin + r.IntN(3)
		n.GPUMemoryGiB = float64(r.IntN(2) * r.IntN(5))
		all.Go(func() {
			tk := p.add(i, n, nil)
			<-tk.ready
			g := *tk.grant
			if len(g.gpus) < n.GPUsMin || len(g.gpus) > n.GPUsMax {
				t.Errorf("%d devices for %d-%d", len(g.gpus), n.GPUsMin, n.GPUsMax)
			}
			account(g, 1)
			if r.IntN(2) == 0 {
				left := g
				left.cpus, left.memoryGiB, left.gpus, left.exclusive = min(1, g.cpus), min(1, g.memoryGiB), nil, false
				account(g, -1)
				account(left, 1)
				p.lighten(tk)
				p.lighten(tk)
				g = left
			}
			account(g, -1)
			p.release(tk)
			p.lighten(tk)
			p.release(tk)
		})
	}
	all.Wait()
	if p.running != 0 || p.free.cpus != 4 || p.free.memoryGiB != 8 || len(p.roomy(stages.Needs{})) != 4 || p.alone {
		t.Errorf("left: %+v, %d running", p.free, p.running)
	}
}

func TestTheQueueIsInTheGraphsOrder(t *testing.T) {
	p := newPool(capacity{cpus: 1}, 0)
	first := p.add(9, stages.Needs{}, nil)
	third, second := p.add(7, stages.Needs{}, nil), p.add(3, stages.Needs{}, nil)
	if !granted(first) || granted(second) || granted(third) {
		t.Fatal("one CPU has one user")
	}
	p.release(first)
	if !granted(second) || granted(third) {
		t.Error("the earlier one waits")
	}
	p.release(third) // gives up its place
	p.release(second)
	if granted(third) {
		t.Error("it had gone")
	}
}

func TestWhatFitsNeedNotWaitForWhatDoesNot(t *testing.T) {
	p := newPool(capacity{cpus: 4, gpus: []gpu{{id: "0"}}}, 0)
	holder := p.add(1, stages.Needs{GPUsMin: 1, GPUsMax: 1}, nil)
	gpu := p.add(2, stages.Needs{GPUsMin: 1, GPUsMax: 1}, nil)
	either := p.add(3, stages.Needs{GPUsMax: 1}, nil)
	cpu := p.add(4, stages.Needs{}, nil)
	if !granted(holder) || granted(gpu) || granted(either) || !granted(cpu) {
		t.Error("wrong ones wait")
	}
	alone := p.add(5, stages.Needs{Exclusive: true}, nil)
	for _, tk := range []*ticket{holder, cpu, gpu, either} {
		if granted(alone) {
			t.Error("it is not alone")
		}
		<-tk.ready
		p.release(tk)
	}
	if !granted(alone) || granted(p.add(6, stages.Needs{}, nil)) {
		t.Error("an exclusive stage has company")
	}
}

func TestWhatIsOnlyStoredYetHasNoDeviceAndIsNotAlone(t *testing.T) {
	p := newPool(capacity{cpus: 4, memoryGiB: 8, gpus: []gpu{{id: "0"}}}, 2)
	measures := stages.Needs{CPUs: 4, MemoryGiB: 8, GPUsMin: 1, GPUsMax: 1, Exclusive: true}
	first := p.add(1, measures, nil)
	second := p.add(2, measures, nil)
	next := p.add(3, stages.Needs{CPUs: 3, MemoryGiB: 7, GPUsMin: 1, GPUsMax: 1}, nil)
	third := p.add(4, stages.Needs{CPUs: 0.1}, nil)
	if !granted(first) || granted(next) {
		t.Fatal("an exclusive stage has company")
	}
	p.lighten(first)
	if granted(second) || !granted(next) || granted(third) {
		t.Error("beside one that is stored another runs, which measures nothing, of as many as --jobs allows")
	}
	if g := first.grant; g.cpus != 1 || g.memoryGiB != 1 || len(g.gpus) > 0 || g.exclusive {
		t.Errorf("it holds %+v", g)
	}
	p.release(next)
	if granted(second) || !granted(third) {
		t.Error("one that measures begins beside others")
	}
	p.release(third)
	p.release(first)
	if !granted(second) {
		t.Error("it waits for ever")
	}
}

func TestWithoutGPUsAnOptionalOneIsDoneWithout(t *testing.T) {
	p := newPool(capacity{cpus: 1}, 0)
	if tk := p.add(1, stages.Needs{GPUsMax: 1}, nil); !granted(tk) || len(tk.grant.gpus) != 0 {
		t.Error("it waits for a GPU that is not there")
	}
}

func TestAWorkerOfAnEarlierBuildKeepsItsDevices(t *testing.T) {
	p := newPool(capacity{cpus: 9, gpus: []gpu{{id: "0"}, {id: "1"}, {id: "2"}}}, 0)
	if p.has([]string{"1", "7"}) || !p.has([]string{"2", "1"}) || !p.has(nil) {
		t.Error("has is wrong")
	}
	old := p.add(5, stages.Needs{GPUsMin: 1, GPUsMax: 1}, []string{"1"})
	next := p.add(1, stages.Needs{GPUsMin: 2, GPUsMax: 2}, nil)
	if !granted(old) || !granted(next) || fmt.Sprint(old.grant.gpus, next.grant.gpus) != "[1] [0 2]" {
		t.Errorf("granted %+v and %+v", old.grant, next.grant)
	}
	again := p.add(6, stages.Needs{GPUsMin: 1, GPUsMax: 1}, []string{"1"})
	if granted(again) {
		t.Error("a device has two holders")
	}
	p.release(old)
	if !granted(again) {
		t.Error("it waits for ever")
	}
}

func TestCapacityFromFacts(t *testing.T) {
	c := capacityOf(map[string]string{"cpu.count": "6", "memory_gib": "15.5", "gpu.count": "2", "gpu.1.id": "GPU-x", "gpu.1.memory_gib": "79.6"})
	if fmt.Sprint(c) != "{6 15.5 [{0 0} {GPU-x 79.6}]}" {
		t.Errorf("%v", c)
	}
	if c := capacityOf(nil); fmt.Sprint(c) != "{1 0 []}" {
		t.Errorf("%v", c)
	}
}

func TestPoolTellsWhenNobodyWaits(t *testing.T) {
	closed := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	p := newPool(capacity{cpus: 1}, 0)
	first := p.add(1, stages.Needs{}, nil)
	if !closed(p.served()) {
		t.Error("nobody waits")
	}
	second, third := p.add(2, stages.Needs{}, nil), p.add(3, stages.Needs{}, nil)
	scarce := p.served()
	p.release(first)
	if closed(scarce) {
		t.Error("the third one waits")
	}
	p.release(third) // gives up its place
	if !closed(scarce) || !closed(p.served()) {
		t.Error("nobody waits any more")
	}
	p.release(second)
}
