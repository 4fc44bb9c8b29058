package artifacts_test

import (
	"errors"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// TestAdopt: a record stands for its key once all its bytes are here, and not before.
func TestAdopt(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, s artifacts.Sweeper) {
		ctx := t.Context()
		rec := result(t, c, "a", 0, "a.txt=A", "b.txt=B")
		_, d := publish(t, c, rec)
		_, _, key := rec.Names(d)
		if err := s.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
		gone := artifacts.Sum([]byte("B"))
		if err := s.Delete(ctx, artifacts.BlobsFolder+gone.Hex()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Adopt(ctx, d); !errors.Is(err, artifacts.ErrMissing) {
			t.Errorf("adopting what is not whole: %v", err)
		}
		if _, _, err := c.Adopt(ctx, digest("no record")); !errors.Is(err, artifacts.ErrMissing) {
			t.Errorf("adopting what is not here: %v", err)
		}
		if _, _, err := c.Get(ctx, key); !errors.Is(err, artifacts.ErrMissing) {
			t.Fatalf("the key is set: %v", err)
		}
		if _, err := c.PutBytes(ctx, artifacts.FileMediaType, []byte("B")); err != nil {
			t.Fatal(err)
		}
		if _, won, err := c.Adopt(ctx, d); err != nil || won != d {
			t.Fatalf("adopted %s, %v", won.Short(), err)
		}
		if _, found, err := c.Lookup(ctx, rec.Key); err != nil || found != d {
			t.Errorf("found %s, %v", found.Short(), err)
		}
		other := result(t, c, "a", 1, "a.txt=another")
		_, od, err := other.Encode()
		if err != nil {
			t.Fatal(err)
		}
		publish(t, c, other)
		if _, won, err := c.Adopt(ctx, od); err != nil || won != d {
			t.Errorf("the first record has lost its key to %s, %v", won.Short(), err)
		}
	})
}
