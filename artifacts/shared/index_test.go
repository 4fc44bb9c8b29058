package shared_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/shared"
)

// TestWarmPlanCountsRequests: from an empty machine, the last build's results are found with a handful of requests, however many they are.
func TestWarmPlanCountsRequests(t *testing.T) {
	ctx := context.Background()
	const n = 300
	w := newWorld(t)
	a := w.machine(t)
	var made []result
	for i := range n {
		made = append(made, a.make(fmt.Sprint(i), fmt.Sprintf("a=%d", i)))
	}
	if err := a.remote.ShareBuild(ctx, a.build("r.hcl", 1, made...)); err != nil {
		t.Fatal(err)
	}

	b := w.machine(t)
	w.since()
	if err := b.remote.Begin(ctx, "r.hcl"); err != nil {
		t.Fatal(err)
	}
	for _, one := range made {
		if _, d, err := b.joined.Lookup(ctx, one.key); err != nil || d != one.record {
			t.Fatalf("lookup: %s, %v", d.Short(), err)
		}
	}
	if calls := w.since(); len(calls) > 2 {
		t.Errorf("planning %d stages has asked %d times: %v", n, len(calls), calls)
	}
	if err := b.remote.Keep(ctx); err != nil {
		t.Fatal(err)
	}
	if calls := w.since(); len(calls) > 0 {
		t.Errorf("writing it down has asked: %v", calls)
	}
	b.clean()
	if err := b.remote.Fetch(ctx, made[n/2].out, nil); err != nil {
		t.Fatal(err)
	}
	b.has(made[n/2].out)
	w.since()
	if err := b.remote.ShareBuild(ctx, b.build("r.hcl", 2, made...)); err != nil {
		t.Fatal(err)
	}
	if writes := count(w.since(), "write", ""); writes > 8 {
		t.Errorf("sharing a build of hits has written %d objects", writes)
	}
	c := w.machine(t)
	w.since()
	c.finds(t, made[0])
	if calls := w.since(); len(calls) > 2 {
		t.Errorf("the second build's index is of no use: %v", calls)
	}
}

// TestSharingAgainAsksNothingPerResult: a build of results that the last one's index lists costs what one stage costs.
func TestSharingAgainAsksNothingPerResult(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	a := w.machine(t)
	var made []result
	for i := range 100 {
		made = append(made, a.make(fmt.Sprint(i), "a=1"))
	}
	if err := a.remote.ShareBuild(ctx, a.build("r.hcl", 1, made...)); err != nil {
		t.Fatal(err)
	}
	a.again()
	if err := a.remote.Begin(ctx, "r.hcl"); err != nil {
		t.Fatal(err)
	}
	w.since()
	a.mustShare(made...)
	if calls := w.since(); len(calls) != 0 {
		t.Errorf("asked %d times: %v", len(calls), calls)
	}
	if err := a.remote.ShareBuild(ctx, a.build("r.hcl", 2, made...)); err != nil {
		t.Fatal(err)
	}
	if calls := w.since(); len(calls) > 15 {
		t.Errorf("sharing the build has asked %d times: %v", len(calls), calls)
	}
	b := w.machine(t)
	w.since()
	b.finds(t, made[99])
	if calls := w.since(); len(calls) != 2 {
		t.Errorf("the second index is of no use: %v", calls)
	}
}

// finds begins with the recipe's last build, and finds a result.
func (m *machine) finds(t *testing.T, one result) {
	t.Helper()
	if err := m.remote.Begin(context.Background(), "r.hcl"); err != nil {
		t.Fatal(err)
	}
	if _, d, err := m.joined.Lookup(context.Background(), one.key); err != nil || d != one.record {
		t.Fatalf("lookup: %s, %v", d.Short(), err)
	}
}

// TestIndexesAreDispensable: one that is gone, damaged or not all there costs requests, and nothing else.
func TestIndexesAreDispensable(t *testing.T) {
	ctx := context.Background()
	for name, damage := range map[string]func(w *world, name string, build artifacts.Digest, r result){
		"missing": func(w *world, name string, _ artifacts.Digest, _ result) { w.remove(t, name) },
		"flipped": func(w *world, name string, _ artifacts.Digest, _ result) { w.flip(t, name) },
		"short":   func(w *world, name string, _ artifacts.Digest, _ result) { w.overwrite(t, name, w.bytes(t, name)[:40]) },
		"empty":   func(w *world, name string, _ artifacts.Digest, _ result) { w.overwrite(t, name, nil) },
		"without the manifest": func(w *world, name string, _ artifacts.Digest, r result) {
			blobs := must[[][]byte](t)(shared.DecodeIndex(w.bytes(t, name)))
			blobs = slices.DeleteFunc(blobs, func(b []byte) bool { return artifacts.Sum(b) == r.manifest })
			w.overwrite(t, name, shared.EncodeIndex(blobs))
		},
		"of nothing": func(w *world, name string, _ artifacts.Digest, _ result) {
			w.overwrite(t, name, shared.EncodeIndex(nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.machine(t)
			made := a.make("x", "a=1")
			build := a.build("r.hcl", 1, made)
			if err := a.remote.ShareBuild(ctx, build); err != nil {
				t.Fatal(err)
			}
			damage(w, "indexes/"+build.Hex(), build, made)
			b := w.machine(t)
			b.finds(t, made)
			if b.remote.LastBuild() == nil {
				t.Error("there is no last build")
			}
			if err := errors.Join(b.remote.Keep(ctx), b.remote.Fetch(ctx, made.out, nil)); err != nil {
				t.Fatal(err)
			}
			b.clean()
		})
	}
}

// TestIndexNamesWinnersOnly: a record that another machine's has beaten is no hit, since its bytes are not there.
func TestIndexNamesWinnersOnly(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	a, b := w.machine(t), w.machine(t)
	first, second := a.makeAt("x", 1, "a=1"), b.makeAt("x", 2, "a=2")
	a.mustShare(first)
	if err := b.remote.ShareBuild(ctx, b.build("r.hcl", 1, second)); err != nil {
		t.Fatal(err)
	}
	c := w.machine(t)
	c.finds(t, first)
	if err := c.remote.Fetch(ctx, first.out, nil); err != nil {
		t.Error(err)
	}
}

// TestGoneOfAnIndex: what is forgotten of an index is asked for anew, since it may have been made again.
func TestGoneOfAnIndex(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	a := w.machine(t)
	made := a.make("x", "a=1")
	if err := a.remote.ShareBuild(ctx, a.build("r.hcl", 1, made)); err != nil {
		t.Fatal(err)
	}
	w.remove(t, "maps/"+made.manifest.Hex())
	b := w.machine(t)
	b.finds(t, made)
	var lost *shared.Gone
	if err := b.remote.Fetch(ctx, made.out, nil); !errors.As(err, &lost) || lost.Key != made.key {
		t.Fatalf("fetched: %v", err)
	}
	b.heal(t, made, []string{"a=1"})
}

// TestIndexCarriesOver: a build that did not come as far as the last one keeps what that one's index had.
func TestIndexCarriesOver(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	a := w.machine(t)
	one, two := a.make("x", "a=1"), a.make("y", "b=2")
	if err := a.remote.ShareBuild(ctx, a.build("r.hcl", 1, one, two)); err != nil {
		t.Fatal(err)
	}
	b := w.machine(t)
	b.finds(t, one)
	if err := errors.Join(b.remote.Keep(ctx), b.remote.ShareBuild(ctx, b.build("r.hcl", 2, one))); err != nil {
		t.Fatal(err)
	}
	c := w.machine(t)
	w.since()
	c.finds(t, one)
	c.finds(t, two)
	if calls := w.since(); len(calls) > 4 { // two that begin
		t.Errorf("asked for %v", calls)
	}
}

func TestIndexOfAnyBlobs(t *testing.T) {
	for _, blobs := range [][][]byte{nil, {{}}, {[]byte("a"), {}, []byte(strings.Repeat("b", 1<<20))}} {
		got, err := shared.DecodeIndex(shared.EncodeIndex(blobs))
		if err != nil || !slices.EqualFunc(got, blobs, bytes.Equal) {
			t.Errorf("%d blobs came back as %d, %v", len(blobs), len(got), err)
		}
	}
}

func FuzzDecodeIndex(f *testing.F) {
	f.Add([]byte("tinfidx1"))
	f.Add(shared.EncodeIndex(nil))
	f.Add(shared.EncodeIndex([][]byte{[]byte("{}"), []byte("text")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		blobs, err := shared.DecodeIndex(b)
		switch {
		case err != nil && !errors.Is(err, artifacts.ErrDamaged):
			t.Errorf("refused with %v, which is not ErrDamaged", err)
		case err == nil:
			again, err := shared.DecodeIndex(shared.EncodeIndex(blobs))
			if err != nil || !slices.EqualFunc(again, blobs, bytes.Equal) {
				t.Errorf("what was read comes back otherwise: %v", err)
			}
		}
	})
}
