package shared_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
	"github.com/Ruihan11/tiny-infra/artifacts/shared"
)

func (m *machine) usage() *shared.Usage {
	m.t.Helper()
	all := must[[]*shared.Usage](m.t)(m.remote.Usage(m.t.Context()))
	if len(all) != 1 {
		m.t.Fatalf("%d tiers", len(all))
	}
	return all[0]
}

// TestUsage: what trees have in common counts once in what is stored, and what is compressed is told from it.
func TestUsage(t *testing.T) {
	for kind, world := range map[string]func(t *testing.T) *world{
		"memory":         func(t *testing.T) *world { return newWorld(t) },
		s3test.KindMinIO: func(t *testing.T) *world { return onServer(t, s3test.MinIO(t)) },
	} {
		t.Run(kind, func(t *testing.T) {
			w := world(t)
			a := w.machine(t)
			if u := a.usage(); u.All.Objects != 1 || u.Files.Objects != 0 || u.Shared()+u.Compressed()+u.Unnamed() != 0 {
				t.Errorf("an empty one holds %+v", u) // its format
			}
			const size = 5 << 20
			a.mustShare(a.make("x", "raw.bin="+noise(1, size)))
			before := a.usage()
			if before.Compressed() > 100 || before.Shared() > 100 { // a small file of the worker may compress a little
				t.Errorf("of noise %d bytes are compressed, %d shared", before.Compressed(), before.Shared())
			}
			a.mustShare(a.make("y", "raw.bin="+noise(1, size), "zero="+strings.Repeat("\x00", size)))
			u := a.usage()
			if got := u.Files.Bytes - before.Files.Bytes; got != 2*size {
				t.Errorf("the second tree has %d bytes", got)
			}
			if got := u.Shared(); got < size || got > size+size {
				t.Errorf("sharing saves %d bytes, want the %d of noise", got, size)
			}
			if got := u.Shared() + u.Compressed(); got < 2*size-10_000 || got > 2*size+100 {
				t.Errorf("%d bytes are saved, want nearly %d", got, 2*size)
			}
			if u.Unnamed() != 0 || u.Damaged != 0 {
				t.Errorf("%+v", u)
			}
			var stored int64
			for _, name := range w.names(t, "") {
				stored += int64(len(w.bytes(t, name)))
			}
			if u.All.Bytes != stored || u.All.Objects != int64(len(w.names(t, ""))) || u.Packs.Objects != int64(len(w.names(t, "packs/"))) {
				t.Errorf("%+v, want %d bytes", u, stored)
			}
		})
	}
}

// TestUsageOfDamage: a map that is broken is told, and what nobody names any more too; a bucket that cannot be asked is an error.
func TestUsageOfDamage(t *testing.T) {
	w := newWorld(t)
	a := w.machine(t)
	one, two := a.make("x", "a="+noise(1, 100_000)), a.make("y", "b="+noise(2, 100_000))
	a.mustShare(one)
	a.mustShare(two)
	w.flip(t, "maps/"+one.manifest.Hex())
	w.remove(t, "maps/"+two.manifest.Hex())
	if u := a.usage(); u.Damaged != 1 || u.Unnamed() < 200_000 {
		t.Errorf("%+v: %d bytes of packs are said to be named by no map", u, u.Unnamed())
	}
	w.fail(func(string, string) error { return artifacts.ErrUnreachable })
	if _, err := a.remote.Usage(t.Context()); !errors.Is(err, artifacts.ErrUnreachable) {
		t.Errorf("where the maps cannot be read: %v", err)
	}
}
