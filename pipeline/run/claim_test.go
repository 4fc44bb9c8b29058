package run_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// otherMachine is one that may hold keys, and takes down what it is told.
type otherMachine struct {
	claim func(ctx context.Context, waiting func([]byte)) error // nil: it holds none

	mu       sync.Mutex // guards what follows
	keys     []artifacts.Key
	said     []string
	released []artifacts.Digest
}

func (o *otherMachine) Claim(ctx context.Context, key artifacts.Key, _ []byte, waiting func([]byte)) (run.Claim, error) {
	o.mu.Lock()
	o.keys = append(o.keys, key)
	o.mu.Unlock()
	if o.claim != nil {
		if err := o.claim(ctx, waiting); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (o *otherMachine) Say(holder []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.said = append(o.said, string(holder))
}

func (o *otherMachine) Release(record artifacts.Digest) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.released = append(o.released, record)
}

const theirs = `{"build":"20260101T000000Z-abcdef","host":"far","pid":7,"progress":{"done":3,"total":9,"unit":"steps","what":"training"}}`

func TestAStageIsClaimedUntilItsResultIsOnItsWay(t *testing.T) {
	b := newBench(t, kinds{"good": {"", `printf '%s\n' '{"type":"progress","time":1,"done":1,"total":2,"unit":"steps","what":"half"}' >> events.jsonl` + "\n" + hello}}, `stage "good" "a" {}`)
	o, s := &otherMachine{}, &sharer{cache: b.cache}
	b.options.Claims, b.options.Share = o, s
	s.took = func(artifacts.Digest) {
		for range 100_000 { // time for one who does not wait for us
			runtime.Gosched()
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.released) > 0 {
			t.Error("released before its result was on its way")
		}
	}
	made := b.ok()["good.a"]
	s.took = nil
	if !slices.Equal(o.keys, []artifacts.Key{made.Key}) || !slices.Equal(o.released, []artifacts.Digest{made.Record}) {
		t.Errorf("claimed %v, released %v; want %s and %s", o.keys, o.released, made.Key, made.Record)
	}
	if len(o.said) == 0 || !strings.Contains(o.said[len(o.said)-1], `"progress":{"done":1,"total":2,"unit":"steps","what":"half"}`) {
		t.Errorf("told the others %q", o.said)
	}
	b.states(map[string]artifacts.State{"good.a": "hit"}, b.ok())
	if len(o.keys) != 1 {
		t.Error("a hit was claimed")
	}
}

// While another machine makes a stage this one uses its room for what it can; then the other one's result is its own.
func TestAnotherMachineMakesIt(t *testing.T) {
	ks := kinds{"good": {"", hello}, "other": {"", hello}}
	far := newBench(t, ks, `stage "good" "a" {}`)
	b := newBench(t, ks, `
stage "good" "a" {}
stage "other" "b" {}
`)
	b.options.Jobs = 1
	o := &otherMachine{}
	first := true
	o.claim = func(ctx context.Context, waiting func([]byte)) error {
		if !first {
			return nil
		}
		first = false
		waiting([]byte(theirs))
		waiting([]byte(theirs))
		waiting([]byte(strings.Replace(theirs, `"done":3`, `"done":4`, 1)))
		return b.seen.await(ctx, func(e event.Event) bool { return e.Type == event.Finished && e.Stage == "other.b" })
	}
	b.options.Claims = o
	far.ok()
	b.options.Cache = b.cache.Beside(finder{far.cache, b.cache})
	b.states(map[string]artifacts.State{"good.a": "hit", "other.b": "ran"}, b.ok())
	var queued, progress []string
	all, _ := b.seen.all()
	for _, e := range all {
		switch {
		case e.Stage != "good.a":
		case e.Type == event.Queued && strings.Contains(e.Message, "which makes it"):
			queued = append(queued, e.Message)
		case e.Type == event.Progress:
			progress = append(progress, fmt.Sprintf("%g of %g %s %s", e.Done, e.Total, e.Unit, e.What))
		}
	}
	if want := []string{"waits for build 20260101T000000Z-abcdef (process 7 on far), which makes it"}; !slices.Equal(queued, want) {
		t.Errorf("said %q, want %q", queued, want)
	}
	if len(progress) == 0 || progress[0] != "3 of 9 steps training" {
		t.Errorf("the other one's progress was %q", progress)
	}
}

// finder knows what another machine has made.
type finder struct{ far, here *artifacts.Cache }

func (f finder) Find(ctx context.Context, k artifacts.Key) (*artifacts.Record, artifacts.Digest, error) {
	rec, d, err := f.far.Lookup(ctx, k)
	if err != nil {
		return nil, d, err
	}
	for _, blob := range append([]artifacts.Digest{d, k.Digest(), rec.Log}, slices.Collect(maps.Values(rec.Outputs))...) {
		text, err := f.far.GetBytes(ctx, blob)
		if err == nil {
			_, err = f.here.PutBytes(ctx, "text/plain", text)
		}
		if err != nil {
			return nil, d, err
		}
	}
	return rec, d, nil
}

func TestWithoutLeasesAmongMachinesItIsWarned(t *testing.T) {
	for _, cause := range []error{artifacts.ErrUnreachable, artifacts.ErrRefused} {
		b := newBench(t, kinds{"good": {"", hello}}, `stage "good" "a" {}`)
		b.options.Claims = &otherMachine{claim: func(_ context.Context, waiting func([]byte)) error {
			waiting([]byte("{}"))
			return fmt.Errorf("lease: %w", cause)
		}}
		b.states(map[string]artifacts.State{"good.a": "ran"}, b.ok())
		all, _ := b.seen.all()
		if !slices.ContainsFunc(all, func(e event.Event) bool {
			return e.Type == event.Problem && e.Level == "warning" && e.Message == "another machine may do the same work: lease: "+cause.Error()
		}) {
			t.Errorf("no warning: %s", b.seen.text())
		}
	}
}

func TestInterruptedWhileAnotherMachineMakesIt(t *testing.T) {
	b := newBench(t, kinds{"good": {"", hello}}, `stage "good" "a" {}`)
	ctx, cancel := context.WithCancelCause(t.Context())
	b.options.Claims = &otherMachine{claim: func(ctx context.Context, waiting func([]byte)) error {
		waiting([]byte(theirs))
		cancel(run.ErrInterrupted)
		<-ctx.Done()
		return context.Cause(ctx)
	}}
	made, err := b.build(ctx)
	if made.Exit != run.ExitInterrupted || !errors.Is(err, run.ErrInterrupted) {
		t.Errorf("ended with %v, exit %d", err, made.Exit)
	}
	b.states(map[string]artifacts.State{"good.a": "blocked"}, steps(made))
}

// A lost lease does no harm: where another machine's result came first, ours is one more run of the same.
func TestBothMachinesMakeIt(t *testing.T) {
	ks, text := kinds{"good": {"", hello}}, `stage "good" "a" {}`
	far, b := newBench(t, ks, text), newBench(t, ks, text)
	o, late := &otherMachine{}, &lateFinder{finder: finder{far.cache, b.cache}}
	b.options.Claims, b.options.Cache = o, b.cache.Beside(late)
	theirs := far.ok()["good.a"]
	ours := b.ok()["good.a"]
	b.states(map[string]artifacts.State{"good.a": "ran"}, map[string]artifacts.Step{"good.a": ours})
	if late.asked < 2 || !maps.Equal(b.record(ours).Outputs, far.record(theirs).Outputs) {
		t.Errorf("asked %d times; made %v, the other one %v", late.asked, b.record(ours).Outputs, far.record(theirs).Outputs)
	}
}

// lateFinder has not heard of it when it is asked first.
type lateFinder struct {
	finder
	asked int
}

func (f *lateFinder) Find(ctx context.Context, k artifacts.Key) (*artifacts.Record, artifacts.Digest, error) {
	if f.asked++; f.asked == 1 {
		return nil, artifacts.Digest{}, artifacts.ErrMissing
	}
	return f.finder.Find(ctx, k)
}
