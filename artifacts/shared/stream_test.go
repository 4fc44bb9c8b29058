package shared_test

import (
	"context"
	"errors"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts/shared"
)

// TestFailedStreamsLeaveNothingBehind: what may be in memory at once is shared by all large files, so one that fails must not keep its share.
func TestFailedStreamsLeaveNothingBehind(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	a := w.machine(t)
	made := a.make("x", "a.bin="+noise(80, 40<<20), "b.bin="+noise(81, 40<<20))
	a.mustShare(made)
	packs := w.packs(t, made.manifest)
	last := packs[len(packs)-1]
	whole := w.bytes(t, last)
	b := w.machine(t)
	if _, _, err := b.joined.Lookup(ctx, made.key); err != nil {
		t.Fatal(err)
	}
	w.remove(t, last)
	for range 10 {
		var lost *shared.Gone
		if err := b.remote.Fetch(ctx, made.out, nil); !errors.As(err, &lost) {
			t.Fatalf("fetched: %v", err)
		}
	}
	w.overwrite(t, last, whole)
	if err := b.remote.Fetch(ctx, made.out, nil); err != nil {
		t.Fatal(err)
	}
	b.has(made.out)
}
