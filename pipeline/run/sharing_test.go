package run_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// sharer takes down in which order it is called, and does what the test says.
type sharer struct {
	cache   *artifacts.Cache
	took    func(artifacts.Digest)      // nil: nothing more happens
	wait    func(context.Context) error // nil: all is there at once
	failing error                       // of the build

	mu    sync.Mutex // guards what follows
	calls []string
	lacks []error // what of a record was not to be found when it was shared
}

func (s *sharer) call(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, what)
}

func (s *sharer) called() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

func (s *sharer) Share(d artifacts.Digest) {
	ctx := context.Background()
	rec, err := s.cache.Record(ctx, d)
	if err == nil {
		_, err = s.cache.GetBytes(ctx, rec.Log)
	}
	if err == nil {
		_, err = s.cache.Action(ctx, rec.Key)
	}
	s.mu.Lock()
	s.lacks = append(s.lacks, err)
	s.mu.Unlock()
	s.call("record " + d.Short())
	if s.took != nil {
		s.took(d)
	}
}

func (s *sharer) Wait(ctx context.Context) error {
	s.call("wait")
	if s.wait == nil {
		return nil
	}
	return s.wait(ctx)
}

func (s *sharer) ShareBuild(ctx context.Context, d artifacts.Digest) error {
	if _, err := s.cache.GetBytes(ctx, d); err != nil {
		return fmt.Errorf("the build is not stored: %w", err)
	}
	s.call("build")
	return s.failing
}

func (s *sharer) Progress() (done, total int64) { return 30, 100 }

func newSharing(t *testing.T, ks kinds, text string) (*bench, *sharer) {
	b := newBench(t, ks, text)
	s := &sharer{cache: b.cache}
	b.options.Share = s
	t.Cleanup(func() {
		if err := errors.Join(s.lacks...); err != nil {
			t.Errorf("a record was shared before all of it was stored: %v", err)
		}
	})
	return b, s
}

func TestResultsAreSharedWhileOthersRun(t *testing.T) {
	dir := t.TempDir()
	gate := dir + "/gate"
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	b := benchAt(t, dir, kinds{
		"good": {"", hello},
		"held": {`input "text" { 
  type = "files" 
  doc = "x" 
}
`, "read x < " + gate + "\n" + hello},
	}, `
stage "good" "a" {}
stage "held" "b" { text = good.a.files }
`)
	s := &sharer{cache: b.cache}
	open := sync.OnceFunc(func() { b.write("gate", "go\n") }) // blocks until the second stage runs
	var opened sync.WaitGroup
	s.took = func(artifacts.Digest) { opened.Go(open) }
	b.options.Share = s
	got := b.ok()
	opened.Wait()
	want := []string{"record " + got["good.a"].Record.Short(), "record " + got["held.b"].Record.Short(), "wait", "build"}
	if calls := s.called(); !slices.Equal(calls, want) {
		t.Errorf("called %q, want %q", calls, want)
	}
	if err := errors.Join(s.lacks...); err != nil {
		t.Error(err)
	}
}

func TestHitsAreSharedTooAndEqualStagesOnce(t *testing.T) {
	b, s := newSharing(t, kinds{"good": {"", hello}}, `
stage "good" "a" {}
stage "good" "b" {}
`)
	b.options.Share = nil // made before there was a place to share it at
	made := b.ok()
	b.options.Share = s
	b.states(map[string]artifacts.State{"good.a": "hit", "good.b": "hit"}, b.ok())
	want := []string{"record " + made["good.a"].Record.Short(), "wait", "build"}
	if calls := s.called(); !slices.Equal(calls, want) {
		t.Errorf("called %q, want %q", calls, want)
	}
}

func TestWhatWentWellIsSharedWhereOthersFailed(t *testing.T) {
	b, s := newSharing(t, kinds{"good": {"", hello}, "bad": {"", "exit 3"}}, `
stage "good" "a" {}
stage "bad" "b" {}
`)
	b.options.Jobs, b.options.KeepGoing = 1, true
	got := b.fails(run.ExitStage)
	want := []string{"record " + got["good.a"].Record.Short(), "wait", "build"}
	if calls := s.called(); !slices.Equal(calls, want) {
		t.Errorf("called %q, want %q", calls, want)
	}
}

// ticking has the pace of what is said while a build waits for its results to be shared given by the test.
type ticking struct {
	run.RealClock
	ticks chan time.Time
}

func (c ticking) After(d time.Duration) <-chan time.Time {
	if d == 500*time.Millisecond {
		return c.ticks
	}
	return c.RealClock.After(d)
}

func TestABuildDoesNotEndBeforeItsResultsAreThere(t *testing.T) {
	b, s := newSharing(t, kinds{"good": {"", hello}}, `stage "good" "a" {}`)
	there := make(chan struct{})
	s.wait = func(context.Context) error { <-there; return nil }
	clock := ticking{ticks: make(chan time.Time)}
	b.options.Clock = clock
	p := b.makePlan()
	ended := make(chan error, 1)
	go func() { _, err := b.execute(t.Context(), p); ended <- err }()
	clock.ticks <- time.Now()
	err := b.seen.await(t.Context(), func(e event.Event) bool {
		return e.Type == event.Shared && e.Done == 30 && e.Total == 100 && e.Unit == "bytes" && e.Stage == "" && e.Build != ""
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		t.Fatalf("the build has ended before its results are there: %v", err)
	default:
	}
	if calls := s.called(); slices.Contains(calls, "build") {
		t.Errorf("the build was shared before its results: %q", calls)
	}
	close(there)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if calls := s.called(); calls[len(calls)-1] != "build" {
		t.Errorf("called %q, want the build at last", calls)
	}
}

func TestAFailedShareIsExitFive(t *testing.T) {
	b, s := newSharing(t, kinds{"good": {"", hello}}, `stage "good" "a" {}`)
	s.wait = func(context.Context) error { return fmt.Errorf("putting a pack: %w", artifacts.ErrUnreachable) }
	got := b.fails(run.ExitCache, "not all results are in the shared cache", "putting a pack", "cannot be reached")
	b.states(map[string]artifacts.State{"good.a": "ran"}, got)
	if calls := s.called(); slices.Contains(calls, "build") {
		t.Errorf("a build is shared whose results are not: %q", calls)
	}
	b.options.Share = nil
	b.states(map[string]artifacts.State{"good.a": "hit"}, b.ok())
}

func TestABuildThatCannotBeSharedIsExitFive(t *testing.T) {
	b, s := newSharing(t, kinds{"good": {"", hello}}, `stage "good" "a" {}`)
	s.failing = artifacts.ErrRefused
	made, err := b.execute(t.Context(), b.makePlan())
	failed, ok := errors.AsType[*run.Error](err)
	if !ok || failed.Exit != run.ExitCache || made.Exit != run.ExitCache || !errors.Is(err, run.ErrUnshared) || !errors.Is(err, artifacts.ErrRefused) {
		t.Errorf("ended with %v, exit %d", err, made.Exit)
	}
	if stored, err := b.cache.Build(t.Context(), made.ID); err != nil || stored.Exit != run.ExitBuilt {
		t.Errorf("the build is stored as %+v, %v; here it went well", stored, err)
	}
}

func TestInterruptedWhileSharing(t *testing.T) {
	b, s := newSharing(t, kinds{"good": {"", hello}}, `stage "good" "a" {}`)
	ctx, cancel := context.WithCancelCause(t.Context())
	s.wait = func(ctx context.Context) error {
		cancel(run.ErrInterrupted)
		<-ctx.Done()
		return context.Cause(ctx)
	}
	made, err := b.build(ctx)
	if made.Exit != run.ExitInterrupted || !errors.Is(err, run.ErrUnshared) || !errors.Is(err, run.ErrInterrupted) {
		t.Errorf("ended with %v, exit %d", err, made.Exit)
	}
	b.states(map[string]artifacts.State{"good.a": "ran"}, steps(made))
	if calls := s.called(); slices.Contains(calls, "build") {
		t.Errorf("a build is shared whose results are not: %q", calls)
	}
}

// bringer is a layer that has to bring inputs from another machine first.
type bringer struct {
	run.Layer
	fails error
}

func (b bringer) Lay(ctx context.Context, m *artifacts.Manifest, dir string) (func() error, error) {
	tell := artifacts.Teller(ctx)
	tell(artifacts.Progress{What: "downloading", Done: 10, Total: 20, Unit: "bytes"})
	tell(artifacts.Progress{What: "downloading", Done: 20, Total: 20, Unit: "bytes"})
	if b.fails != nil {
		return nil, b.fails
	}
	return b.Layer.Lay(ctx, m, dir)
}

// leaping is a clock on which two seconds pass from one look to the next.
type leaping struct {
	run.RealClock
	began time.Time
	looks atomic.Int64
}

func (c *leaping) Now() time.Time {
	return c.began.Add(time.Duration(c.looks.Add(1)) * 2 * time.Second)
}

func TestItIsSaidThatInputsAreBrought(t *testing.T) {
	b := newBench(t, kinds{"good": {"", hello}}, `stage "good" "a" {}`)
	b.options.Layer, b.options.Clock = bringer{b.options.Layer, nil}, &leaping{began: time.Now()}
	b.ok()
	queued, progress := 0, 0
	all, _ := b.seen.all()
	for _, e := range all {
		switch {
		case e.Type == event.Queued && e.Stage == "good.a" && e.Message == "brings its inputs here from the shared cache":
			queued++
		case e.Type == event.Progress && e.What == "downloading inputs" && e.Total == 20 && e.Unit == "bytes":
			progress++
		}
	}
	if queued != 1 || progress != 2 {
		t.Errorf("said %d times that inputs are brought, and %d times how far that is: %s", queued, progress, b.seen.text())
	}
}

// lostBytes were promised by another machine.
type lostBytes struct{}

func (lostBytes) Error() string          { return "they are not there any more" }
func (lostBytes) GoneKey() artifacts.Key { return artifacts.Key{} }

func TestInputsThatCannotBeBroughtAreTheCachesTrouble(t *testing.T) {
	for _, fails := range []error{lostBytes{}, fmt.Errorf("fetching: %w", artifacts.ErrUnreachable), artifacts.ErrRefused} {
		b := newBench(t, kinds{"good": {"", hello}}, `stage "good" "a" {}`)
		b.options.Layer = bringer{b.options.Layer, fails}
		b.fails(run.ExitCache, fails.Error())
	}
}
