package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/stages"
)

// of are the needs of a stage that takes so much of one device.
func of(gib float64) stages.Needs {
	return stages.Needs{CPUs: 1, GPUsMin: 1, GPUsMax: 1, GPUMemoryGiB: gib}
}

func on(t *ticket) string {
	if !granted(t) {
		return "waits"
	}
	return fmt.Sprint(t.grant.gpus)
}

func TestStagesShareADeviceThatHoldsThemAll(t *testing.T) {
	p := newPool(capacity{cpus: 16, gpus: []gpu{{"0", 79.6}}}, 0)
	a, b, c, d := p.add(1, of(24), nil), p.add(2, of(48), nil), p.add(3, of(8), nil), p.add(4, of(7), nil)
	if got := strings.Join([]string{on(a), on(b), on(c), on(d)}, " "); got != "[0] [0] waits [0]" {
		t.Errorf("24, 48, 8 and 7 GiB of 79.6: %s", got)
	}
	p.lighten(a)
	if on(c) != "[0]" {
		t.Error("one whose outputs are stored takes none of it")
	}
}

func TestOneThatDoesNotSayHowMuchHasItsDeviceAlone(t *testing.T) {
	for what, alone := range map[string]stages.Needs{
		"says nothing": of(0),
		"exclusive":    {CPUs: 1, GPUsMin: 1, GPUsMax: 1, GPUMemoryGiB: 10, Exclusive: true},
	} {
		p := newPool(capacity{cpus: 16, gpus: []gpu{{"0", 80}}}, 0)
		first, second := p.add(1, alone, nil), p.add(2, of(10), nil)
		if !granted(first) || granted(second) {
			t.Errorf("%s: it shares its device", what)
		}
		p.release(first)
		third := p.add(3, alone, nil)
		if !granted(second) || granted(third) {
			t.Errorf("%s: it shares another's device", what)
		}
		p.release(second)
		if !granted(third) {
			t.Errorf("%s: it waits for ever", what)
		}
	}
}

func TestWhatIsNotKnownIsNotShared(t *testing.T) {
	p := newPool(capacity{cpus: 16, gpus: []gpu{{id: "0"}}}, 0)
	if first, second := p.add(1, of(1), nil), p.add(2, of(1), nil); !granted(first) || granted(second) {
		t.Error("nobody knows how much memory it has")
	}
}

func TestTheEmptiestDeviceIsTaken(t *testing.T) {
	p := newPool(capacity{cpus: 16, gpus: []gpu{{"0", 40}, {"1", 80}, {"2", 24}}}, 0)
	var got []string
	for i, gib := range []float64{30, 30, 20, 20, 30, 10} {
		got = append(got, on(p.add(i, of(gib), nil)))
	}
	if want := []string{"[1]", "[1]", "[0]", "[2]", "waits", "[0]"}; !slices.Equal(got, want) {
		t.Errorf("placed %v, want %v", got, want)
	}
	p = newPool(capacity{cpus: 16, gpus: []gpu{{"0", 16}, {"1", 80}}}, 0)
	if got := on(p.add(1, of(20), nil)); got != "[1]" {
		t.Errorf("20 GiB are placed on %s", got)
	}
	both := p.add(2, stages.Needs{GPUsMin: 2, GPUsMax: 2, GPUMemoryGiB: 16}, nil)
	if got := on(both); got != "[1 0]" {
		t.Errorf("16 GiB of each are placed on %s", got)
	}
}

func TestExchangeIsForADeviceWithRoom(t *testing.T) {
	p := newPool(capacity{cpus: 16, gpus: []gpu{{"0", 80}, {"1", 40}, {"2", 40}}}, 0)
	full := p.add(1, of(0), []string{"1"})
	pair := p.add(2, stages.Needs{GPUsMin: 2, GPUsMax: 2, GPUMemoryGiB: 30}, nil)
	if on(full) != "[1]" || on(pair) != "[0 2]" {
		t.Fatal(on(full), on(pair))
	}
	busy := map[string]bool{"0": true}
	if got := p.exchange(pair, "0", busy); got != "" {
		t.Errorf("device %s is given twice", got)
	}
	p.release(full)
	if got := p.exchange(pair, "0", busy); got != "1" || on(pair) != "[1 2]" {
		t.Errorf("it has %q now: %s", got, on(pair))
	}
	if left := p.roomy(of(50)); fmt.Sprint(left) != "[0]" {
		t.Errorf("room on %v", left)
	}
	p.release(pair)
	if left := p.roomy(of(40)); len(left) != 3 {
		t.Errorf("room on %v", left)
	}
}

// A stage that moves away from another build's device makes room for one that waits, and would go elsewhere or wait for that build.
func TestExchangeLetsOthersHaveWhatItLeaves(t *testing.T) {
	p := newPool(capacity{cpus: 16, gpus: []gpu{{"0", 80}, {"1", 80}}}, 0)
	first, second, alone := p.add(1, of(24), nil), p.add(2, of(24), nil), p.add(3, of(0), nil)
	if on(first) != "[0]" || on(second) != "[1]" || granted(alone) {
		t.Fatal(on(first), on(second), on(alone))
	}
	if got := p.exchange(first, "0", map[string]bool{"0": true}); got != "1" {
		t.Fatalf("it has %q now", got)
	}
	if on(alone) != "[0]" {
		t.Errorf("nobody is on device 0, and who needs one %s", on(alone))
	}
}

// Needs are in no key, so a worker that an earlier build left may hold a device on which its stage would not be placed now.
func TestAWorkerThatIsThereAlreadyKeepsASmallDevice(t *testing.T) {
	p := newPool(capacity{cpus: 16, gpus: []gpu{{"0", 16}, {"1", 80}}}, 0)
	other := p.add(1, of(10), []string{"0"})
	held := p.add(2, of(50), []string{"0"})
	if !granted(other) || granted(held) {
		t.Fatal("it shares a device that does not hold both")
	}
	p.release(other)
	if on(held) != "[0]" {
		t.Fatalf("it is on device 0 already, and its stage %s", on(held))
	}
	if next, last := p.add(3, of(75), nil), p.add(4, of(6), nil); on(next) != "[1]" || granted(last) {
		t.Errorf("beside it: %s, %s", on(next), on(last))
	}
}

func TestEqualSharesOfADeviceFitIt(t *testing.T) {
	for whole, third := range map[float64]float64{23.7: 7.9, 47.4: 15.8} { // three times the float of one are more than that of the other
		p := newPool(capacity{cpus: 3, memoryGiB: whole, gpus: []gpu{{"0", whole}}}, 0)
		n := of(third)
		n.MemoryGiB = third
		for i := range 3 {
			if got := on(p.add(i, n, nil)); got != "[0]" {
				t.Errorf("number %d of three thirds of %g GiB: %s", i+1, whole, got)
			}
		}
	}
}

func TestWithoutALargeGPUAnOptionalOneIsDoneWithout(t *testing.T) {
	p := newPool(capacity{cpus: 1, gpus: []gpu{{"0", 16}}}, 0)
	if tk := p.add(1, stages.Needs{GPUsMax: 1, GPUMemoryGiB: 20}, nil); on(tk) != "[]" {
		t.Errorf("it is on %s", on(tk))
	}
}

// machineLease is that of one device, which another build may hold.
type machineLease struct {
	free    chan struct{} // of one, in it while nobody holds the lease
	waiting chan struct{}
}

func newMachineLease() *machineLease {
	m := &machineLease{make(chan struct{}, 1), make(chan struct{}, 1)}
	m.free <- struct{}{}
	return m
}

func (m *machineLease) held() bool { return len(m.free) == 0 }

func (m *machineLease) Lease(ctx context.Context, _ artifacts.Key, _ []byte, waiting func([]byte)) (func() error, error) {
	leave := func() error { m.free <- struct{}{}; return nil }
	select {
	case <-m.free:
		return leave, nil
	default:
	}
	waiting(nil)
	m.waiting <- struct{}{}
	select {
	case <-m.free:
		return leave, nil
	case <-ctx.Done():
		<-m.waiting
		return nil, context.Cause(ctx)
	}
}

func sharing() (*builder, *task, *machineLease) {
	machine := newMachineLease()
	b := &builder{o: Options{Leaser: machine}, build: &artifacts.Build{Host: "h"}, devices: newSharedLeases([]gpu{{"0", 80}})}
	return b, &task{report: &reporter{bus: event.NewBus(), clock: RealClock{}, redact: newRedactor(), log: newStoredLog(halfLog)}}, machine
}

func TestTheLeaseOfADeviceIsHeldUntilItsLastUserEnds(t *testing.T) {
	b, tk, machine := sharing()
	var leave []func() error
	for range 2 {
		l, err := b.shareDevice(t.Context(), tk, "0", false)
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, l)
	}
	for i, l := range leave {
		if !machine.held() {
			t.Errorf("after %d of 2 users it is not held", i)
		}
		if err := l(); err != nil {
			t.Error(err)
		}
	}
	if machine.held() {
		t.Error("nobody uses it, and it is held")
	}
}

// Of stages of one build that wait for a device of another's, one asks; whoever cannot wait is told so at once.
func TestStagesWaitForAnotherBuildsDeviceTogether(t *testing.T) {
	b, tk, machine := sharing()
	_, other, _ := sharing()
	<-machine.free // the other build's
	if _, err := b.shareDevice(t.Context(), tk, "0", false); !errors.Is(err, errBusyDevice) {
		t.Errorf("another build has it: %v", err)
	}
	var users sync.WaitGroup
	wait := func(tk *task) {
		l, err := b.shareDevice(t.Context(), tk, "0", true)
		if err == nil {
			err = l()
		}
		if err != nil {
			t.Error(err)
		}
	}
	users.Go(func() { wait(tk) })
	<-machine.waiting
	if _, err := b.shareDevice(t.Context(), tk, "0", false); !errors.Is(err, errBusyDevice) {
		t.Errorf("a stage of this build waits for it: %v", err)
	}
	ended, end := context.WithCancelCause(t.Context())
	end(ErrInterrupted)
	if _, err := b.shareDevice(ended, other, "0", true); !errors.Is(err, ErrInterrupted) {
		t.Errorf("interrupted: %v", err)
	}
	if said := string(other.report.log.encode()); !strings.Contains(said, "waits for GPU 0, as another stage does") {
		t.Errorf("it waits and says %q", said)
	}
	users.Go(func() { wait(other) })
	machine.free <- struct{}{}
	users.Wait()
	if machine.held() || b.devices["0"].users != 0 || len(b.devices["0"].turn) != 0 {
		t.Error("nobody uses it any more")
	}
}
