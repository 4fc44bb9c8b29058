package shared_test

import (
	"context"
	"fmt"
	"testing"
)

// TestTwentyThousandSmallFiles: small files do not become as many requests, in either direction.
func TestTwentyThousandSmallFiles(t *testing.T) {
	const n = 20000
	files := make([]string, n)
	for i := range files {
		files[i] = fmt.Sprintf("%03d/%05d.txt=%s", i%200, i, noise(uint64(i), 512))
	}
	w := newWorld(t)
	a := w.machine(t)
	made := a.make("x", files...)
	w.since()
	a.mustShare(made)
	if puts := count(w.since(), "write", ""); puts >= 40 {
		t.Errorf("%d writes", puts)
	}
	b := w.machine(t)
	if err := b.remote.Fetch(context.Background(), made.out, nil); err != nil {
		t.Fatal(err)
	}
	if reads := count(w.since(), "read", ""); reads >= 40 {
		t.Errorf("%d reads", reads)
	}
	b.has(made.out)
}
