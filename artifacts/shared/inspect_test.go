package shared_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
	"github.com/Ruihan11/tiny-infra/artifacts/s3"
	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
	"github.com/Ruihan11/tiny-infra/artifacts/shared"
)

func (m *machine) inspects(quick bool) []*shared.Problem {
	m.t.Helper()
	all := must[[]shared.Inspected](m.t)(m.remote.Inspect(m.t.Context(), quick))
	if len(all) != 1 {
		m.t.Fatalf("%d tiers were inspected", len(all))
	}
	return all[0].Problems
}

// TestInspectAllTiers: what is wrong with a tier that is only read is found too, and is not mended in the own one.
func TestInspectAllTiers(t *testing.T) {
	own, main := newWorld(t), newWorld(t)
	a, b := main.machine(t), own.machine(t)
	one, two := a.make("x", "a=1"), b.make("y", "b=2")
	a.mustShare(one)
	b.mustShare(two)
	main.remove(t, artifacts.BlobsFolder+one.record.Hex())
	a.join(own, main)
	all := must[[]shared.Inspected](t)(a.remote.Inspect(t.Context(), false))
	if len(all) != 2 || len(all[0].Problems) != 0 || len(all[1].Problems) != 1 {
		t.Fatalf("found %+v", all)
	}
	if n, err := a.remote.Mend(t.Context(), all[1].Problems); n != 0 || err != nil || len(own.names(t, "keys/")) != 1 {
		t.Errorf("mended %d in another tier: %v", n, err)
	}
}

// TestInspectAndMend: whatever is damaged is named, with the stage that it touches and no other, and sent again by a machine that has it.
// One that has it not changes nothing.
func TestInspectAndMend(t *testing.T) {
	log := func(one result) string { return artifacts.BlobsFolder + one.rec.Log.Hex() }
	blob := func(d artifacts.Digest) string { return artifacts.BlobsFolder + d.Hex() }
	for name, c := range map[string]struct {
		damage func(w *world, one result) string // what is named
		deep   bool                              // quick does not see it
	}{
		"pack flipped": {func(w *world, one result) string { n := w.packs(t, one.manifest)[0]; w.flip(t, n); return n }, true},
		"pack short": {func(w *world, one result) string {
			n := w.packs(t, one.manifest)[0]
			w.overwrite(t, n, w.bytes(t, n)[1:])
			return n
		}, false},
		"pack missing":     {func(w *world, one result) string { n := w.packs(t, one.manifest)[0]; w.remove(t, n); return n }, false},
		"map flipped":      {func(w *world, one result) string { n := "maps/" + one.manifest.Hex(); w.flip(t, n); return n }, false},
		"map missing":      {func(w *world, one result) string { n := "maps/" + one.manifest.Hex(); w.remove(t, n); return n }, false},
		"manifest flipped": {func(w *world, one result) string { w.flip(t, blob(one.manifest)); return blob(one.manifest) }, false},
		"record missing":   {func(w *world, one result) string { w.remove(t, blob(one.record)); return blob(one.record) }, false},
		"action flipped":   {func(w *world, one result) string { w.flip(t, blob(one.key.Digest())); return blob(one.key.Digest()) }, false},
		"log flipped":      {func(w *world, one result) string { w.flip(t, log(one)); return log(one) }, true},
		"log missing":      {func(w *world, one result) string { w.remove(t, log(one)); return log(one) }, false},
		"key is nonsense": {func(w *world, one result) string {
			w.overwrite(t, artifacts.KeyName(one.key), []byte("nonsense"))
			return artifacts.KeyName(one.key)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.machine(t)
			one, two := a.make("x", "a="+noise(1, 100_000)), a.make("y", "b="+noise(2, 100_000))
			a.mustShare(two)
			if err := a.remote.ShareBuild(t.Context(), a.build("r.hcl", 1, one, two)); err != nil {
				t.Fatal(err)
			}
			a.again()
			if found := append(a.inspects(false), a.inspects(true)...); len(found) != 0 {
				t.Fatalf("before any damage: %+v", found[0])
			}
			named := c.damage(w, one)
			before := w.names(t, "")
			if got := len(a.inspects(true)); (got == 0) != c.deep {
				t.Errorf("a quick look finds %d problems", got)
			}
			found := a.inspects(false)
			if len(found) != 1 || found[0].Name != named || len(found[0].Builds) != 1 || !strings.HasSuffix(found[0].Builds[0], " (test.s0)") {
				t.Fatalf("found %d: %+v, want %s of test.s0", len(found), found[0], named)
			}
			stranger := w.machine(t)
			if n, err := stranger.remote.Mend(t.Context(), found); n != 0 || err != nil || !slices.Equal(w.names(t, ""), before) {
				t.Errorf("a machine that has nothing has mended %d: %v", n, err)
			}
			if n, err := a.remote.Mend(t.Context(), found); n != 1 || err != nil {
				t.Errorf("mended %d: %v", n, err)
			}
			if left := a.inspects(false); len(left) != 0 {
				t.Errorf("left: %+v", left[0])
			}
			for _, n := range before {
				if !slices.Contains(w.names(t, ""), n) {
					t.Errorf("%s was removed", n)
				}
			}
			w.whole(t, one, true)
			w.whole(t, two, true)
		})
	}
}

// slowBeside is a bucket where whoever reads another blob than the broken one is still waiting when that has been found broken.
type slowBeside struct {
	artifacts.Objects
	broken string
	found  chan struct{}
	once   sync.Once
}

func (s *slowBeside) Read(ctx context.Context, name string, off, n int64) (io.ReadCloser, artifacts.Object, error) {
	if name == s.broken {
		defer s.once.Do(func() { close(s.found) })
		return s.Objects.Read(ctx, name, off, n)
	}
	if strings.HasPrefix(name, artifacts.BlobsFolder) {
		select {
		case <-s.found:
		case <-time.After(100 * time.Millisecond): // it is read before the broken one, or is broken itself
		}
		select {
		case <-ctx.Done():
			return nil, artifacts.Object{}, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond): // the reader is not called off, as it should be
		}
	}
	return s.Objects.Read(ctx, name, off, n)
}

// TestOneBrokenBlobSpeaksForItself: what is read beside it, and given up since it is broken, is not called broken.
func TestOneBrokenBlobSpeaksForItself(t *testing.T) {
	under := &slowBeside{Objects: mem.NewBucket(), found: make(chan struct{})}
	w := newWorldOn(t, under)
	a := w.machine(t)
	one, two := a.make("x", "a=1"), a.make("y", "b=2")
	a.mustShare(one, two)
	name := artifacts.BlobsFolder + one.manifest.Hex()
	w.flip(t, name)
	a.again()
	under.broken = name
	if found := a.inspects(false); len(found) != 1 || found[0].Name != name {
		for _, p := range found {
			t.Errorf("found %s: %s", p.Name, p.Detail)
		}
	}
}

// TestSwappedRemoteKeys are both named, and both set right.
func TestSwappedRemoteKeys(t *testing.T) {
	w := newWorld(t)
	a := w.machine(t)
	one, two := a.make("x", "a=1"), a.make("y", "b=2")
	a.mustShare(one, two)
	w.overwrite(t, artifacts.KeyName(one.key), []byte(two.record.String()))
	w.overwrite(t, artifacts.KeyName(two.key), []byte(one.record.String()))
	a.again()
	found := a.inspects(true)
	var names []string
	for _, p := range found {
		names = append(names, p.Name)
	}
	want := []string{artifacts.KeyName(one.key), artifacts.KeyName(two.key)}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Fatalf("found %v", names)
	}
	if n, err := a.remote.Mend(t.Context(), found); n != 2 || err != nil {
		t.Errorf("mended %d: %v", n, err)
	}
	w.whole(t, one, true)
	w.whole(t, two, true)
}

// TestInspectOnAServer: a pack that two results share, and a file of many packs, on a real server.
func TestInspectOnAServer(t *testing.T) {
	w := onServer(t, s3test.MinIO(t))
	a := w.machine(t)
	big := "a.safetensors=" + tensor("U8", noise(9, 20<<20))
	one, two := a.make("x", big), a.make("y", big, "b=2")
	a.mustShare(one)
	a.mustShare(two)
	packs := w.packs(t, one.manifest)
	w.flip(t, packs[0])
	w.remove(t, packs[len(packs)-1])
	a.again()
	found := a.inspects(false)
	if len(found) != min(len(packs), 2) {
		t.Fatalf("%d problems of %d packs", len(found), len(packs))
	}
	if n, err := a.remote.Mend(t.Context(), found); n != 2 || err != nil {
		t.Errorf("mended %d: %v", n, err)
	}
	if left := a.inspects(false); len(left) != 0 {
		t.Errorf("left: %+v", left[0])
	}
	w.whole(t, one, true)
	w.whole(t, two, true)
}

// TestBitsFlippedOnTheServersDisk: MinIO does not give such an object at all, and says to come back later. It is damage all the same, and
// the rest is looked at.
func TestBitsFlippedOnTheServersDisk(t *testing.T) {
	s := s3test.MinIO(t)
	s.Setenv(t)
	b := s.Bucket(t)
	c := must[*s3.Client](t)(s3.New(t.Context(), s3.Config{Bucket: b, Endpoint: s.Endpoint, PathStyle: true, Prefix: "team", Patience: time.Second}))
	w := newWorldOn(t, c.Below("main"))
	a := w.machine(t)
	one, two := a.make("x", "a="+noise(1, 300_000)), a.make("y", "b=2")
	a.mustShare(one)
	a.mustShare(two)
	pack := w.packs(t, one.manifest)[0]
	parts := must[[]string](t)(filepath.Glob(filepath.Join(s.Dir(), b, "team", "main", pack, "*", "part.1")))
	if len(parts) != 1 {
		t.Fatalf("MinIO keeps the pack in %v", parts)
	}
	bytes := must[[]byte](t)(os.ReadFile(parts[0]))
	bytes[len(bytes)/2] ^= 0x10
	if err := os.WriteFile(parts[0], bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	a.again()
	found := a.inspects(false)
	if len(found) != 1 || found[0].Name != pack || found[0].Kind != artifacts.Damaged {
		t.Fatalf("found %d: %+v", len(found), found)
	}
	if n, err := a.remote.Mend(t.Context(), found); n != 1 || err != nil {
		t.Errorf("mended %d: %v", n, err)
	}
	if left := a.inspects(false); len(left) != 0 {
		t.Errorf("left: %+v", left[0])
	}
	w.whole(t, one, true)
}
