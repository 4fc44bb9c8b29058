package shared_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/pieces"
	"github.com/Ruihan11/tiny-infra/artifacts/shared"
)

// TestRecordOfAnotherKeyIsNoHit: keys that were swapped serve nothing, and the next result of each takes its place.
func TestRecordOfAnotherKeyIsNoHit(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	a := w.machine(t)
	one, two := a.make("x", "a=1"), a.make("y", "b=2")
	a.mustShare(one, two)
	w.overwrite(t, artifacts.KeyName(one.key), []byte(two.record.String()))
	b := w.machine(t)
	if _, d, err := b.remote.Find(ctx, one.key); !errors.Is(err, artifacts.ErrMissing) || !errors.Is(err, artifacts.ErrDamaged) {
		t.Fatalf("found %s under the key of another: %v", d.Short(), err)
	}
	if _, _, err := b.joined.Lookup(ctx, one.key); !errors.Is(err, artifacts.ErrMissing) {
		t.Errorf("lookup: %v", err)
	}
	again := b.makeAt("x", 2, "a=1")
	b.mustShare(again)
	if _, d, err := w.machine(t).remote.Find(ctx, one.key); err != nil || d != again.record {
		t.Errorf("after it was made again: %s, %v", d.Short(), err)
	}
}

// TestDamagedDescriptionsAreMisses: whatever of a result is not what it should be, it is no hit, no error, and is replaced.
func TestDamagedDescriptionsAreMisses(t *testing.T) {
	for name, damage := range map[string]func(w *world, r result){
		"key is nonsense":     func(w *world, r result) { w.overwrite(t, artifacts.KeyName(r.key), []byte("nonsense")) },
		"key is empty":        func(w *world, r result) { w.overwrite(t, artifacts.KeyName(r.key), nil) },
		"record is flipped":   func(w *world, r result) { w.flip(t, artifacts.BlobsFolder+r.record.Hex()) },
		"record is missing":   func(w *world, r result) { w.remove(t, artifacts.BlobsFolder+r.record.Hex()) },
		"record is short":     func(w *world, r result) { w.overwrite(t, artifacts.BlobsFolder+r.record.Hex(), []byte("{")) },
		"action is missing":   func(w *world, r result) { w.remove(t, artifacts.BlobsFolder+r.key.Hex()) },
		"manifest is flipped": func(w *world, r result) { w.flip(t, artifacts.BlobsFolder+r.manifest.Hex()) },
		"manifest is missing": func(w *world, r result) { w.remove(t, artifacts.BlobsFolder+r.manifest.Hex()) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.machine(t)
			made := a.make("x", "a=1")
			a.mustShare(made)
			damage(w, made)
			w.takesItsPlace(t, made)
		})
	}
}

// takesItsPlace: a result of x, of a=1, that is of no use in the bucket is a miss, and what is made again stands there in its place.
func (w *world) takesItsPlace(t testing.TB, made result) {
	t.Helper()
	ctx := context.Background()
	b := w.machine(t)
	if _, d, err := b.remote.Find(ctx, made.key); !errors.Is(err, artifacts.ErrMissing) || !errors.Is(err, artifacts.ErrDamaged) {
		t.Fatalf("found %s: %v", d.Short(), err)
	}
	again := b.makeAt("x", 2, "a=1")
	b.mustShare(again)
	c := w.machine(t)
	// Where what the first record names was sent again with the second, either is as good.
	if _, d, err := c.remote.Find(ctx, made.key); err != nil || d != again.record && d != made.record {
		t.Fatalf("after it was made again: %s, %v", d.Short(), err)
	}
	if err := c.remote.Fetch(ctx, again.out, nil); err != nil {
		t.Error(err)
	}
	c.has(again.out)
}

func (w *world) remove(t testing.TB, name string) {
	t.Helper()
	if err := w.under.Remove(context.Background(), name); err != nil {
		t.Fatal(err)
	}
}

// TestGoneBytes: a pack or a map that is flipped, short or missing is found out when the bytes are asked for; nothing of the kind lands
// here; the error names it; and when the stage has run again, all is whole for the next machine.
func TestGoneBytes(t *testing.T) {
	ctx := context.Background()
	files := []string{"large.bin=" + noise(20, 5<<20), "a=" + noise(21, 4<<10), "b=" + strings.Repeat("text that packs well ", 9<<10)}
	for name, c := range map[string]struct {
		prefix  string
		damage  func(w *world, name string)
		damaged bool // in place of missing
	}{
		"flipped pack": {"packs/", func(w *world, n string) { w.flip(t, n) }, true},
		"short pack":   {"packs/", func(w *world, n string) { b := w.bytes(t, n); w.overwrite(t, n, b[:len(b)-1]) }, true},
		"empty pack":   {"packs/", func(w *world, n string) { w.overwrite(t, n, nil) }, true},
		"missing pack": {"packs/", func(w *world, n string) { w.remove(t, n) }, false},
		"flipped map":  {"maps/", func(w *world, n string) { w.flip(t, n) }, true},
		"missing map":  {"maps/", func(w *world, n string) { w.remove(t, n) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.machine(t)
			made := a.make("x", files...)
			a.mustShare(made)
			damaged := "maps/" + made.manifest.Hex()
			if c.prefix == "packs/" {
				damaged = w.packs(t, made.manifest)[0]
			}
			c.damage(w, damaged)
			b := w.machine(t)
			if _, _, err := b.joined.Lookup(ctx, made.key); err != nil {
				t.Fatal(err)
			}
			err := b.remote.Fetch(ctx, made.out, nil)
			var lost *shared.Gone
			if !errors.As(err, &lost) || lost.Key != made.key || lost.Manifest != made.manifest || errors.Is(err, artifacts.ErrDamaged) != c.damaged {
				t.Fatalf("fetched: %v; want Gone of key %s", err, made.key.Short())
			}
			if !strings.Contains(err.Error(), damaged) {
				t.Errorf("%q does not name %s", err, damaged)
			}
			b.clean()
			b.heal(t, made, files)
		})
	}
}

// packs are those that a tree's map names.
func (w *world) packs(t testing.TB, manifest artifacts.Digest) []string {
	t.Helper()
	m := must[*pieces.Map](t)(pieces.DecodeMap(w.bytes(t, "maps/"+manifest.Hex())))
	var names []string
	for _, p := range m.Packs {
		names = append(names, "packs/"+p.Digest.Hex())
	}
	return names
}

// heal is what a build does about bytes that are gone.
func (m *machine) heal(t *testing.T, lost result, files []string) {
	t.Helper()
	ctx := context.Background()
	m.remote.Forget(lost.key)
	if _, _, err := m.joined.Lookup(ctx, lost.key); !errors.Is(err, artifacts.ErrMissing) {
		t.Fatalf("what was forgotten is found again: %v", err)
	}
	again := m.makeAt("x", 2, files...)
	m.mustShare(again)
	c := m.world.machine(t)
	if _, d, err := c.joined.Lookup(ctx, lost.key); err != nil || d != again.record {
		t.Fatalf("after it was made again: %s, %v", d.Short(), err)
	}
	if err := c.remote.Fetch(ctx, again.out, nil); err != nil {
		t.Fatal(err)
	}
	c.has(again.out)
	if _, d, err := m.joined.Lookup(ctx, lost.key); err != nil || d != again.record {
		t.Errorf("the machine that healed it finds %s, %v", d.Short(), err)
	}
}

// TestMapOfOtherFiles: a sound map under the name of another tree serves nothing.
func TestMapOfOtherFiles(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	a := w.machine(t)
	one, two := a.make("x", "a=1"), a.make("y", "b=2")
	a.mustShare(one, two)
	w.overwrite(t, "maps/"+one.manifest.Hex(), w.bytes(t, "maps/"+two.manifest.Hex()))
	b := w.machine(t)
	var lost *shared.Gone
	if err := b.remote.Fetch(ctx, one.out, nil); !errors.As(err, &lost) || !errors.Is(err, artifacts.ErrDamaged) {
		t.Errorf("fetched: %v", err)
	}
}

// TestNetworkIsNoMiss: who cannot ask has not been told that there is nothing.
func TestNetworkIsNoMiss(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	a := w.machine(t)
	made := a.make("x", "a="+noise(30, 100<<10))
	a.mustShare(made)
	half := fmt.Errorf("%w: %w", artifacts.ErrUnreachable, artifacts.ErrDamaged)
	for _, why := range []error{artifacts.ErrUnreachable, artifacts.ErrRefused, half} {
		for _, prefix := range []string{"keys/", "blobs/", "maps/", "packs/"} {
			b := w.machine(t)
			w.fail(func(_, name string) error {
				if strings.HasPrefix(name, prefix) {
					return why
				}
				return nil
			})
			_, _, err := b.joined.Lookup(ctx, made.key)
			if err == nil {
				err = b.remote.Fetch(ctx, made.out, nil)
			}
			var lost *shared.Gone
			if !errors.Is(err, why) || errors.Is(err, artifacts.ErrMissing) || errors.As(err, &lost) {
				t.Errorf("%s answers %v: %v", prefix, why, err)
			}
		}
	}
	w.fail(nil)
}

// cut is a body whose connection breaks, for longer than anyone has patience.
type cut struct{ io.ReadCloser }

func (c cut) Read(p []byte) (int, error) {
	n, _ := c.ReadCloser.Read(p[:min(len(p), 10)])
	return n, fmt.Errorf("%w: %w", artifacts.ErrUnreachable, io.ErrUnexpectedEOF)
}

// TestBrokenConnectionIsNoDamage: half a body says nothing of the other half.
func TestBrokenConnectionIsNoDamage(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	a := w.machine(t)
	made := a.make("x", "large.bin="+noise(50, 5<<20), "a="+noise(51, 100<<10))
	a.mustShare(made)
	for _, prefix := range []string{artifacts.KeyName(made.key), artifacts.BlobsFolder + made.record.Hex(), "maps/", "packs/"} {
		w.onTheWay = func(name string, body io.ReadCloser) io.ReadCloser {
			if strings.HasPrefix(name, prefix) {
				return cut{body}
			}
			return body
		}
		b := w.machine(t)
		_, _, err := b.joined.Lookup(ctx, made.key)
		if err == nil {
			err = b.remote.Fetch(ctx, made.out, nil)
		}
		var lost *shared.Gone
		if !errors.Is(err, artifacts.ErrUnreachable) || errors.As(err, &lost) {
			t.Errorf("%s is cut: %v", prefix, err)
		}
	}
}

// flipped is a body of which one bit is turned on the way.
type flipped struct {
	io.ReadCloser
	done bool
}

func (f *flipped) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if n > 100 && !f.done {
		f.done = true
		p[n/2] ^= 1
	}
	return n, err
}

// TestFlippedOnTheWay: what is sound in the bucket and was not when it came is asked for again, and never let in.
func TestFlippedOnTheWay(t *testing.T) {
	ctx := context.Background()
	for _, file := range []string{"large.bin=" + noise(52, 5<<20), "small=" + noise(53, 100<<10)} {
		w := newWorld(t)
		a := w.machine(t)
		made := a.make("x", file)
		a.mustShare(made)
		var mu sync.Mutex
		times := 0
		w.onTheWay = func(name string, body io.ReadCloser) io.ReadCloser {
			mu.Lock()
			defer mu.Unlock()
			if !strings.HasPrefix(name, "packs/") || times > 0 {
				return body
			}
			times++
			return &flipped{ReadCloser: body}
		}
		b := w.machine(t)
		if err := b.remote.Fetch(ctx, made.out, nil); err != nil || times != 1 {
			t.Errorf("flipped %d times: %v", times, err)
		}
		b.has(made.out)
	}
}

// TestForcedRunHeals: whoever was told that bytes are gone runs the stage again, in another process. Its result takes the place of the other,
// though that one's record is whole.
func TestForcedRunHeals(t *testing.T) {
	ctx := context.Background()
	for _, what := range []string{"pack", "map"} {
		w := newWorld(t)
		a := w.machine(t)
		files := []string{"a=" + noise(60, 100<<10)}
		made := a.make("x", files...)
		a.mustShare(made)
		name := "maps/" + made.manifest.Hex()
		if what == "pack" {
			name = w.packs(t, made.manifest)[0]
		}
		w.remove(t, name)
		b := w.machine(t)
		again := b.makeAt("x", 2, files...)
		b.mustShare(again)
		c := w.machine(t)
		if _, d, err := c.joined.Lookup(ctx, made.key); err != nil || d != again.record {
			t.Fatalf("without its %s: %s, %v", what, d.Short(), err)
		}
		if err := c.remote.Fetch(ctx, again.out, nil); err != nil {
			t.Fatal(err)
		}
		c.has(again.out)
	}
}

// TestAllPacksGone: of a tree that is found broken nothing is built upon, also what nobody has looked at.
func TestAllPacksGone(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	a := w.machine(t)
	files := []string{"m.safetensors=" + tensor("U8", noise(90, 50<<20))}
	made := a.make("x", files...)
	a.mustShare(made)
	for _, n := range w.packs(t, made.manifest) {
		w.remove(t, n)
	}
	b := w.machine(t)
	if _, _, err := b.joined.Lookup(ctx, made.key); err != nil {
		t.Fatal(err)
	}
	var lost *shared.Gone
	if err := b.remote.Fetch(ctx, made.out, nil); !errors.As(err, &lost) {
		t.Fatalf("fetched: %v", err)
	}
	b.heal(t, made, files)
}
