package run

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// errBusyDevice ends the wait for a device that another build uses, where there is another device to try.
var errBusyDevice = errors.New("another build uses the device")

// deviceKey names the lease of a device, which all builds of a machine that share a cache respect.
func deviceKey(host, id string) artifacts.Key {
	return artifacts.Key(artifacts.Sum([]byte("device\n" + host + "\n" + id)))
}

// gpuName makes an id a device's name, for leases and for people.
const gpuName = "GPU "

// wholeMachine is the device of exclusive stages: those of two builds never run beside each other. Other builds' lesser
// stages are not kept away; whoever measures should see to that.
const wholeMachine = "the whole machine"

// occupy takes what a granted task needs of the machine against other builds: devices are the last thing that a stage
// waits for. An exclusive task's whole machine is its own until the end: it runs, if only to be stored, and whoever
// measures in another build does not begin beside it.
func (b *builder) occupy(ctx context.Context, t *task) (leave func(), err error) {
	whole := func() {}
	if t.ticket.grant.exclusive {
		r, err := b.leaseDevice(ctx, t, wholeMachine, true)
		if err != nil {
			return nil, err
		}
		whole = sync.OnceFunc(func() { leases{r}.release(t) })
	}
	devices, err := b.leaseDevices(ctx, t)
	if err != nil {
		whole()
		return nil, err
	}
	devices = sync.OnceFunc(devices)
	t.lighten = func() {
		devices() // before another stage of this build is given them
		b.pool.lighten(t.ticket)
	}
	leave = func() {
		devices()
		whole()
	}
	t.vacate = func() {
		leave()
		b.pool.release(t.ticket)
	}
	return leave, nil
}

// leaseDevices makes this build the only one that uses the task's devices. It first takes what it can get without
// waiting, a device with room in place of one that another build uses. Where that is not enough it lets go of all and waits
// for one after the other in the order of ids, as every build does, so no two wait for each other.
func (b *builder) leaseDevices(ctx context.Context, t *task) (release func(), err error) {
	busy := map[string]bool{}
	var held leases
	for i := 0; i < len(t.ticket.grant.gpus); {
		id := t.ticket.grant.gpus[i]
		r, err := b.shareDevice(ctx, t, id, false)
		switch {
		case err == nil:
			held = append(held, r)
			i++
		case !errors.Is(err, errBusyDevice):
			held.release(t)
			return nil, err
		default:
			busy[id] = true
			if b.pool.exchange(t.ticket, id, busy) == "" {
				held.release(t)
				return b.awaitDevices(ctx, t)
			}
		}
	}
	return func() { held.release(t) }, nil
}

func (b *builder) awaitDevices(ctx context.Context, t *task) (release func(), err error) {
	var held leases
	for _, id := range slices.Sorted(slices.Values(t.ticket.grant.gpus)) {
		r, err := b.shareDevice(ctx, t, id, true)
		if err != nil {
			held.release(t)
			return nil, err
		}
		held = append(held, r)
	}
	return func() { held.release(t) }, nil
}

// sharedLease is a build's lease of a device, which the first of its stages there takes and the last gives back.
type sharedLease struct {
	turn  chan struct{} // of one; whoever has put something in may change what follows, and waits for the lease if need be
	users int
	give  func() error
}

func newSharedLeases(gpus []gpu) map[string]*sharedLease {
	all := map[string]*sharedLease{}
	for _, g := range gpus {
		all[g.id] = &sharedLease{turn: make(chan struct{}, 1)}
	}
	return all
}

// shareDevice makes a stage one of the device's users. Without wait it does not wait for another stage of this build
// either: that one may wait for another build, and this one hold what that build waits for.
func (b *builder) shareDevice(ctx context.Context, t *task, id string, wait bool) (leave func() error, err error) {
	l := b.devices[id]
	select {
	case l.turn <- struct{}{}:
	default:
		if !wait {
			return nil, errBusyDevice
		}
		t.report.say(event.Event{Type: event.Queued, Message: "waits for " + gpuName + id + ", as another stage does"})
		select {
		case l.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	defer func() { <-l.turn }()
	if l.users == 0 {
		if l.give, err = b.leaseDevice(ctx, t, gpuName+id, wait); err != nil {
			return nil, err
		}
	}
	l.users++
	return l.leave, nil
}

// leave waits for no other build: as long as there are users, nobody waits for the lease.
func (l *sharedLease) leave() error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if l.users--; l.users > 0 {
		return nil
	}
	return l.give()
}

// leases are functions that give them back.
type leases []func() error

func (l leases) release(t *task) {
	for _, give := range l {
		if err := give(); err != nil {
			t.report.warn(err.Error())
		}
	}
}

func (b *builder) leaseDevice(ctx context.Context, t *task, id string, wait bool) (func() error, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	release, err := b.o.Leaser.Lease(ctx, deviceKey(b.build.Host, id), b.me, func([]byte) {
		if !wait {
			cancel(errBusyDevice)
			return
		}
		t.report.say(event.Event{Type: event.Queued, Message: "waits for " + id + ", which another build uses"})
	})
	if err != nil && !errors.Is(err, errBusyDevice) && ctx.Err() == nil {
		err = cacheTrouble{err}
	}
	return release, err
}
