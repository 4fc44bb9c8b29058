package shared_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
)

var errKilled = errors.New("killed")

// TestKilledAtEachStepOfSharing: whichever write is the last that a machine gets done, another one has a hit with all its bytes, or a miss;
// and when the first goes on, all is there.
func TestKilledAtEachStepOfSharing(t *testing.T) {
	for n := 0; ; n++ {
		ended := false
		t.Run(fmt.Sprint(n), func(t *testing.T) { ended = killedAt(t, n) })
		if ended || t.Failed() {
			if n < 15 {
				t.Errorf("sharing took %d writes: the test did not see all of it", n)
			}
			return
		}
	}
}

// killedAt lets n writes through; true where that was all of them.
func killedAt(t *testing.T, n int) bool {
	ctx := context.Background()
	w := newWorld(t)
	a := w.machine(t)
	made := a.make("x", "a="+noise(40, 300<<10), "b="+noise(41, 300<<10))
	build := a.build("r.hcl", 1, made)
	left, killed := n, false
	w.fail(func(op, _ string) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if op == "write" {
			left--
		}
		if killed = killed || left < 0; killed {
			return errKilled
		}
		return nil
	})
	a.remote.Share(made.record)
	err := a.remote.ShareBuild(ctx, build)
	w.fail(nil)
	if killed != (err != nil) {
		t.Fatalf("killed: %v, told: %v", killed, err)
	}

	hit := w.whole(t, made, err == nil)
	a.again()
	if err := a.remote.ShareBuild(ctx, build); err != nil {
		t.Fatal(err)
	}
	w.whole(t, made, true)
	if got := string(w.bytes(t, artifacts.RefName("r.hcl"))); got != build.String() {
		t.Errorf("the last build is %q", got)
	}
	if killed && n > 0 && hit {
		t.Log("a hit by then")
	}
	return !killed
}

// whole is another machine that looks for a result: a hit has all that it promises.
func (w *world) whole(t *testing.T, made result, must bool) (hit bool) {
	t.Helper()
	ctx := context.Background()
	b := w.machine(t)
	if err := b.remote.Begin(ctx, "r.hcl"); err != nil {
		t.Fatal(err)
	}
	_, d, err := b.joined.Lookup(ctx, made.key)
	switch {
	case errors.Is(err, artifacts.ErrMissing) && !errors.Is(err, artifacts.ErrDamaged) && !must:
	case err != nil || d != made.record:
		t.Fatalf("lookup: %s, %v", d.Short(), err)
	default:
		hit = true
		if err := errors.Join(b.remote.Keep(ctx), b.remote.Fetch(ctx, made.out, nil)); err != nil {
			t.Fatal(err)
		}
		b.has(made.out)
	}
	b.clean()
	return hit
}

// TestPushGoesOnAfterAKill: of a tree of several packs those that a dead process has sent are not sent again. What has lain there for long may
// be collected at any moment, and is.
func TestPushGoesOnAfterAKill(t *testing.T) {
	for _, age := range []time.Duration{time.Hour, 13 * time.Hour} {
		var later atomic.Int64
		under := mem.NewBucket()
		under.Clock = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
		w := newWorldOn(t, under)
		a := w.machine(t)
		made := a.make("x", "a.safetensors="+tensor("U8", noise(70, 26<<20)))
		var sent atomic.Int64
		w.fail(func(op, name string) error {
			if op == "write" && strings.HasPrefix(name, "packs/") && sent.Add(1) > 3 {
				return errKilled
			}
			return nil
		})
		if err := a.share(made); !errors.Is(err, errKilled) {
			t.Fatalf("shared: %v", err)
		}
		w.fail(nil)
		before := w.names(t, "packs/")
		if len(before) < 2 {
			t.Fatalf("%d packs were sent before it died: the test tests nothing", len(before))
		}
		later.Store(int64(age))
		w.since()
		a.again()
		a.mustShare(made)
		again := 0
		for _, c := range w.since() {
			if c.op == "write" && slices.Contains(before, c.name) && w.size(t, c.name) >= 1<<20 {
				again++
			}
		}
		if old := age > 12*time.Hour; (again > 0) != old {
			t.Errorf("after %s %d of %d packs were sent again", age, again, len(before))
		}
		w.whole(t, made, true)
	}
}

func (w *world) size(t testing.TB, name string) int64 { return int64(len(w.bytes(t, name))) }

// TestSharingPassesItsSteps: each named point is passed, in the order in which they are listed.
func TestSharingPassesItsSteps(t *testing.T) {
	w := newWorld(t)
	a := w.machine(t)
	a.mustShare(a.make("first", "a=1")) // so that the worker's tree is there
	made := a.make("x", "b=2")
	build := a.build("r.hcl", 1, made)
	var passed []string
	var mu sync.Mutex
	artifacts.Crash = func(step string) {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasPrefix(step, "share.") {
			passed = append(passed, step)
		}
	}
	defer func() { artifacts.Crash = nil }()
	if err := a.remote.ShareBuild(context.Background(), build); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(passed, artifacts.ShareSteps) {
		t.Errorf("passed %v, want %v", passed, artifacts.ShareSteps)
	}
}
