package shared_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
)

// own fails unless a result is a hit of the machine's folder alone, with its history and all its bytes.
func (m *machine) own(one result) {
	m.t.Helper()
	if _, d, err := m.cache.Lookup(context.Background(), one.key); err != nil || d != one.record {
		m.t.Errorf("the folder alone gives %s, %v", d.Short(), err)
	}
	m.has(one.out)
	if _, err := m.cache.GetBytes(context.Background(), one.rec.Log); err != nil {
		m.t.Errorf("the log: %v", err)
	}
	m.clean()
}

// pulls fails unless this many come and are here; what it gives is lost.
func (m *machine) pulls(came, here int, all ...result) []artifacts.Key {
	m.t.Helper()
	var keys []artifacts.Key
	for _, one := range all {
		keys = append(keys, one.key)
	}
	var last, total int64
	got, err := m.remote.Pull(context.Background(), keys, func(done, all int64) {
		if done < last || done > all {
			m.t.Errorf("%d of %d bytes after %d", done, all, last)
		}
		last, total = done, all
	})
	if err != nil || got.Came != came || got.Here != here || got.Bytes != last {
		m.t.Fatalf("pulled %+v, %v; want %d, and %d here before; told of %d bytes", got, err, came, here, last)
	}
	if len(got.Lost) == 0 && last != total {
		m.t.Errorf("%d of %d bytes were told of", last, total)
	}
	return got.Lost
}

// TestPullMakesHitsOfThisMachine: in memory and on a real server, with an output that two results share, an empty file, and one that many
// parts are needed for.
func TestPullMakesHitsOfThisMachine(t *testing.T) {
	for kind, world := range map[string]func(t *testing.T) *world{
		"memory":         func(t *testing.T) *world { return newWorld(t) },
		s3test.KindMinIO: func(t *testing.T) *world { return onServer(t, s3test.MinIO(t)) },
	} {
		t.Run(kind, func(t *testing.T) {
			w := world(t)
			a := w.machine(t)
			all := []result{
				a.make("x", "model.safetensors="+tensor("BF16", weights(1, 6<<20)), "config.json={}"),
				a.make("y", "a=1", "empty="), a.make("z", "a=1", "empty="), a.make("nothing"),
			}
			if err := a.remote.ShareBuild(t.Context(), a.build("r.hcl", 1, all...)); err != nil {
				t.Fatal(err)
			}
			for _, begun := range []bool{false, true} { // with an index, and key by key
				b := w.machine(t)
				if begun {
					if err := b.remote.Begin(t.Context(), "r.hcl"); err != nil {
						t.Fatal(err)
					}
				}
				b.pulls(4, 0, all...)
				for _, one := range all {
					b.own(one)
				}
				w.since()
				b.again()
				b.pulls(0, 4, all...)
				if calls := w.since(); len(calls) != 0 {
					t.Errorf("pulling what is here has asked: %v", calls)
				}
			}
		})
	}
}

// TestPullOfWhatIsLost: it is told, its key is not set, and nothing else stays away for it.
func TestPullOfWhatIsLost(t *testing.T) {
	for name, damage := range map[string]func(w *world, one result){
		"pack flipped": func(w *world, one result) { w.flip(t, w.packs(t, one.manifest)[0]) },
		"pack missing": func(w *world, one result) { w.remove(t, w.packs(t, one.manifest)[0]) },
		"map flipped":  func(w *world, one result) { w.flip(t, "maps/"+one.manifest.Hex()) },
		"map missing":  func(w *world, one result) { w.remove(t, "maps/"+one.manifest.Hex()) },
		"key missing":  func(w *world, one result) { w.remove(t, artifacts.KeyName(one.key)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.machine(t)
			bad, good := a.make("x", "a="+noise(1, 2<<20)), a.make("y", "b="+noise(2, 5000))
			a.mustShare(bad)
			a.mustShare(good)
			damage(w, bad)
			b := w.machine(t)
			if lost := b.pulls(1, 0, bad, good); !slices.Equal(lost, []artifacts.Key{bad.key}) {
				t.Errorf("lost %v", lost)
			}
			b.own(good)
			if keys := b.listed("keys/"); !slices.Equal(keys, []string{artifacts.KeyName(good.key)}) {
				t.Errorf("named: %v", keys)
			}
		})
	}
}

// TestPullThatIsCutOff goes on where it was, and has set no key before.
func TestPullThatIsCutOff(t *testing.T) {
	w := newWorld(t)
	a := w.machine(t)
	one, two := a.make("x", "a="+noise(1, 2<<20)), a.make("y", "b="+noise(2, 3<<20))
	a.mustShare(one)
	a.mustShare(two)
	b := w.machine(t)
	packs := 0
	w.fail(func(op, name string) error {
		if op == "read" && strings.HasPrefix(name, "packs/") {
			if packs++; packs > 2 { // the first has the worker's files
				return artifacts.ErrUnreachable
			}
		}
		return nil
	})
	if _, err := b.remote.Pull(t.Context(), []artifacts.Key{one.key, two.key}, nil); !errors.Is(err, artifacts.ErrUnreachable) {
		t.Fatal(err)
	}
	w.fail(nil)
	if keys := b.listed("keys/"); len(keys) != 0 {
		t.Errorf("named: %v", keys)
	}
	b.clean()
	b.again()
	w.since()
	b.pulls(2, 0, one, two)
	if calls := w.since(); count(calls, "read", "packs/") != 1 || count(calls, "read", "maps/") != 1 {
		t.Errorf("read to go on, where one tree had not come: %v", calls)
	}
	b.own(one)
	b.own(two)
}

// TestAllThatWasFetchedIsAHit: Keep sets the key of what Fetch has brought whole, and of nothing else.
func TestAllThatWasFetchedIsAHit(t *testing.T) {
	w := newWorld(t)
	a := w.machine(t)
	one, two := a.make("x", "a=1"), a.make("y", "b=2")
	a.mustShare(one, two)
	b := w.machine(t)
	b.finds(t, one)
	b.finds(t, two)
	if err := errors.Join(b.remote.Keep(t.Context()), b.remote.Fetch(t.Context(), one.out, nil)); err != nil {
		t.Fatal(err)
	}
	if keys := b.listed("keys/"); len(keys) != 0 {
		t.Errorf("named: %v", keys)
	}
	if err := b.remote.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.own(one)
	if keys := b.listed("keys/"); !slices.Equal(keys, []string{artifacts.KeyName(one.key)}) {
		t.Errorf("named: %v", keys)
	}
}

// TestPullKeepsWhatIsHere: a result that this machine has made stands for its key, whatever others say.
func TestPullKeepsWhatIsHere(t *testing.T) {
	w := newWorld(t)
	a, b := w.machine(t), w.machine(t)
	theirs, mine := a.make("x", "a=1"), b.makeAt("x", 2, "a=2")
	a.mustShare(theirs)
	b.pulls(0, 1, theirs)
	b.own(mine)
	var none []artifacts.Key
	if got, err := b.remote.Pull(t.Context(), none, nil); err != nil || got.Came+got.Here+len(got.Lost) != 0 {
		t.Errorf("pulling nothing: %+v, %v", got, err)
	}
}
