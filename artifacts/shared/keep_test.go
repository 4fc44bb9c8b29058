package shared_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// TestVerifyIsCleanAfterRemoteHits: what is written down here of what is elsewhere is whole history, and promises no bytes.
func TestVerifyIsCleanAfterRemoteHits(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	a := w.machine(t)
	one, two := a.make("x", "a="+noise(1, 300<<10)), a.make("y", "b=2")
	a.mustShare(one, two)

	b := w.machine(t)
	for _, made := range []result{one, two} {
		if _, _, err := b.joined.Lookup(ctx, made.key); err != nil {
			t.Fatal(err)
		}
	}
	b.clean() // nothing was written yet
	if names := b.listed(""); len(names) != 0 {
		t.Errorf("looking up has written %v", names)
	}
	if err := b.remote.Keep(ctx); err != nil {
		t.Fatal(err)
	}
	b.clean()
	run1, record1, _ := one.rec.Names(one.record)
	run2, record2, _ := two.rec.Names(two.record)
	want := []string{record1, record2, run1, run2}
	slices.Sort(want)
	if got := b.listed(""); !slices.Equal(got, want) {
		t.Errorf("kept names %v, want %v", got, want)
	}
	if _, err := b.cache.GetBytes(ctx, one.rec.Log); err != nil {
		t.Errorf("the log was not kept: %v", err)
	}
	if _, _, err := b.cache.Lookup(ctx, one.key); !errors.Is(err, artifacts.ErrMissing) {
		t.Errorf("without bytes, the folder takes it for a hit: %v", err)
	}
	w.since()
	if err := b.remote.Keep(ctx); err != nil || len(w.since()) != 0 {
		t.Errorf("keeping again: %v, or requests", err)
	}
	// A stage that runs anew beside it is published as ever.
	b.make("z", "c=3")
	b.clean()
}

func (m *machine) listed(prefix string) []string {
	m.t.Helper()
	var names []string
	for n, err := range m.store.List(context.Background(), prefix, "") {
		if err != nil {
			m.t.Fatal(err)
		}
		names = append(names, n)
	}
	return names
}

// TestKeepWithoutALog: history that the bucket has lost keeps nobody from the rest.
func TestKeepWithoutALog(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	a := w.machine(t)
	made := a.make("x", "a=1")
	a.mustShare(made)
	w.flip(t, artifacts.BlobsFolder+made.rec.Log.Hex())
	b := w.machine(t)
	if _, _, err := b.joined.Lookup(ctx, made.key); err != nil {
		t.Fatalf("a damaged log makes a miss: %v", err)
	}
	if err := b.remote.Keep(ctx); err != nil {
		t.Fatal(err)
	}
	var found []artifacts.Problem
	if err := b.cache.Verify(ctx, b.store, func(p artifacts.Problem) { found = append(found, p) }); err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].Kind != artifacts.Missing || found[0].Name != artifacts.BlobsFolder+made.rec.Log.Hex() {
		t.Errorf("verify finds %v, want the log missing", found)
	}
	if err := b.remote.Fetch(ctx, made.out, nil); err != nil {
		t.Error(err)
	}
}

func TestShareBuild(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	a := w.machine(t)
	one, two := a.make("x", "a=1"), a.make("y", "b=2")
	first, second := a.build("team/r.hcl", 1, one), a.build("team/r.hcl", 2, one, two)
	for _, d := range []artifacts.Digest{second, first} { // the older one comes later, and stays the older one
		if err := a.remote.ShareBuild(ctx, d); err != nil {
			t.Fatal(err)
		}
	}
	if builds := w.names(t, "builds/"); len(builds) != 2 {
		t.Errorf("listed: %v", builds)
	}
	if got := string(w.bytes(t, artifacts.RefName("r.hcl"))); got != second.String() {
		t.Errorf("the last build is %s, want %s", got, second)
	}
	for _, text := range []string{"recipe of team/r.hcl", "lock of team/r.hcl", "module", "it crashed"} {
		if got := w.names(t, artifacts.BlobsFolder+artifacts.Sum([]byte(text)).Hex()); len(got) != 1 {
			t.Errorf("%q is not there", text)
		}
	}

	b := w.machine(t)
	if err := b.remote.Begin(ctx, "elsewhere/other.hcl"); err != nil || b.remote.LastBuild() != nil {
		t.Errorf("of another recipe: %v, %v", b.remote.LastBuild(), err)
	}
	if err := b.remote.Begin(ctx, "elsewhere/r.hcl"); err != nil {
		t.Fatal(err)
	}
	if last := b.remote.LastBuild(); last == nil || len(last.Steps) != 3 {
		t.Fatalf("last build: %v", last)
	}
	w.overwrite(t, artifacts.RefName("r.hcl"), []byte("nonsense"))
	c := w.machine(t)
	if err := c.remote.Begin(ctx, "r.hcl"); err != nil || c.remote.LastBuild() != nil {
		t.Errorf("of a damaged ref: %v, %v", c.remote.LastBuild(), err)
	}
	if err := c.remote.ShareBuild(ctx, c.build("r.hcl", 3, c.make("z", "c=3"))); err != nil {
		t.Fatalf("over a damaged ref: %v", err)
	}
	if err := b.remote.Begin(ctx, "r.hcl"); err != nil || b.remote.LastBuild() == nil {
		t.Errorf("after it was mended: %v, %v", b.remote.LastBuild(), err)
	}
}

// TestOneTierReadsAnother: a pull request reads main and writes its own; main stays as it is.
func TestOneTierReadsAnother(t *testing.T) {
	ctx := context.Background()
	w, own := newWorld(t), newWorld(t)
	a := w.machine(t)
	made := a.make("x", "a=1")
	a.mustShare(made)
	b := w.machine(t)
	b.join(own, w)
	if _, d, err := b.joined.Lookup(ctx, made.key); err != nil || d != made.record {
		t.Fatalf("lookup: %s, %v", d.Short(), err)
	}
	if err := b.remote.Keep(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.remote.Fetch(ctx, made.out, nil); err != nil {
		t.Fatal(err)
	}
	b.has(made.out)
	w.since()
	other := b.make("y", "b=2")
	if err := b.remote.ShareBuild(ctx, b.build("r.hcl", 1, made, other)); err != nil {
		t.Fatal(err)
	}
	for _, c := range w.since() {
		if c.op != "read" {
			t.Errorf("main was asked to %s %s", c.op, c.name)
		}
	}
	if keys := own.names(t, "keys/"); !slices.Equal(keys, []string{artifacts.KeyName(other.key)}) {
		t.Errorf("its own tier has %v, want what it made alone", keys)
	}
}

// TestKeepBuild: a build that was made elsewhere is listed here with all that it names, also records that stand for no key any more; one of
// which a part is lost is not.
func TestKeepBuild(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	a := w.machine(t)
	one, two := a.make("x", "a=1"), a.make("y", "b=2")
	if err := a.remote.ShareBuild(ctx, a.build("r.hcl", 1, one, two)); err != nil {
		t.Fatal(err)
	}
	b := w.machine(t)
	own := b.makeAt("x", 5, "a=1")
	if own.record == one.record {
		t.Fatal("both machines have the same record")
	}
	if err := b.remote.Begin(ctx, "r.hcl"); err != nil {
		t.Fatal(err)
	}
	if err := b.remote.KeepBuild(ctx, b.remote.LastBuild()); err != nil {
		t.Fatal(err)
	}
	last := must[*artifacts.Build](t)(b.cache.LastBuild(ctx, "r.hcl"))
	if len(last.Steps) != 3 || last.Steps[0].Record != one.record {
		t.Errorf("the last build is %+v", last)
	}
	b.clean()
	later := b.build("r.hcl", 9, own)
	if err := b.remote.KeepBuild(ctx, last); err != nil {
		t.Fatal(err)
	}
	if now := must[*artifacts.Build](t)(b.cache.LastBuild(ctx, "r.hcl")); now.ID == last.ID {
		t.Errorf("an earlier build has taken the place of %s", later.Short())
	}

	w.remove(t, artifacts.BlobsFolder+last.Recipe.Hex())
	for _, name := range w.names(t, "indexes/") {
		w.remove(t, name)
	}
	c := w.machine(t)
	if err := c.remote.Begin(ctx, "r.hcl"); err != nil {
		t.Fatal(err)
	}
	if err := c.remote.KeepBuild(ctx, c.remote.LastBuild()); !errors.Is(err, artifacts.ErrMissing) {
		t.Errorf("a build without its recipe is kept: %v", err)
	}
	if _, err := c.cache.LastBuild(ctx, "r.hcl"); !errors.Is(err, artifacts.ErrMissing) {
		t.Errorf("it is listed: %v", err)
	}
	c.clean()
}
