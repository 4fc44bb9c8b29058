package artifacts_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
)

// other is a place that knows some records, and counts how often it is asked.
type other struct {
	has    map[artifacts.Key]*artifacts.Record
	digest artifacts.Digest // of each
	fails  error
	asked  int
}

func (o *other) Find(_ context.Context, k artifacts.Key) (*artifacts.Record, artifacts.Digest, error) {
	o.asked++
	if o.fails != nil {
		return nil, artifacts.Digest{}, o.fails
	}
	if rec := o.has[k]; rec != nil {
		return rec, o.digest, nil
	}
	return nil, artifacts.Digest{}, fmt.Errorf("over there: %w", artifacts.ErrMissing)
}

func TestWhatIsHereIsNotAskedForElsewhere(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, _ artifacts.Sweeper) {
		rec := result(t, c, "a", 0, "a.txt=A")
		_, here := publish(t, c, rec)
		o := &other{has: map[artifacts.Key]*artifacts.Record{rec.Key: {Key: rec.Key, Builder: "another"}}, digest: digest("another")}
		got, d, err := c.Beside(o).Lookup(t.Context(), rec.Key)
		if err != nil || d != here || got.Builder != rec.Builder {
			t.Errorf("Lookup = %+v, %s, %v; want the record of this place, %s", got, d, err, here)
		}
		if o.asked > 0 {
			t.Errorf("the other place was asked %d times", o.asked)
		}
	})
}

func TestWhatIsNotHereIsFoundElsewhere(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, s artifacts.Sweeper) {
		rec := result(t, c, "a", 0, "a.txt=A")
		o := &other{has: map[artifacts.Key]*artifacts.Record{rec.Key: rec}, digest: digest("theirs")}
		both := c.Beside(o)
		if got, d, err := both.Lookup(t.Context(), rec.Key); err != nil || d != o.digest || got != rec {
			t.Errorf("Lookup of what was never here = %+v, %s, %v", got, d, err)
		}
		publish(t, c, rec)
		gone := artifacts.Sum([]byte("A"))
		if err := s.Delete(t.Context(), artifacts.BlobsFolder+gone.Hex()); err != nil {
			t.Fatal(err)
		}
		if _, d, err := both.Lookup(t.Context(), rec.Key); err != nil || d != o.digest {
			t.Errorf("Lookup of what has lost a file here = %s, %v", d, err)
		}
		if o.asked != 2 {
			t.Errorf("the other place was asked %d times, want 2", o.asked)
		}
		if _, _, err := c.Lookup(t.Context(), rec.Key); !errors.Is(err, artifacts.ErrMissing) {
			t.Errorf("the cache itself, which is beside nothing, says %v", err)
		}
	})
}

func TestWhatIsNowhereIsMissingHere(t *testing.T) {
	p := mem.New()
	c := artifacts.NewCache(p, p)
	key := artifacts.Key(digest("key"))
	_, _, want := c.Lookup(t.Context(), key)
	o := &other{}
	_, _, err := c.Beside(o).Lookup(t.Context(), key)
	if !errors.Is(err, artifacts.ErrMissing) || err.Error() != want.Error() || o.asked != 1 {
		t.Errorf("Lookup = %v after %d questions, want %v after one", err, o.asked, want)
	}
}

// A place that does not answer may well have it: taking that for a miss would run what need not.
func TestAFailureElsewhereIsNoMiss(t *testing.T) {
	p := mem.New()
	c := artifacts.NewCache(p, p)
	o := &other{fails: fmt.Errorf("asking: %w", artifacts.ErrUnreachable)}
	_, _, err := c.Beside(o).Lookup(t.Context(), artifacts.Key(digest("key")))
	if !errors.Is(err, artifacts.ErrUnreachable) || errors.Is(err, artifacts.ErrMissing) {
		t.Errorf("Lookup = %v, want that the other place cannot be reached", err)
	}
}

// Publishing decides what stands for a key here by what is here: the other place has its own first writer.
func TestPublishDoesNotAskElsewhere(t *testing.T) {
	p := mem.New()
	c := artifacts.NewCache(p, p)
	rec := result(t, c, "a", 0, "a.txt=A")
	o := &other{has: map[artifacts.Key]*artifacts.Record{rec.Key: {Key: rec.Key}}, digest: digest("theirs")}
	both := c.Beside(o)
	won, d, err := both.Publish(t.Context(), rec)
	if err != nil || won.Builder != rec.Builder || o.asked > 0 {
		t.Fatalf("Publish = %+v, %v, with %d questions to the other place", won, err, o.asked)
	}
	if _, got, err := c.Lookup(t.Context(), rec.Key); err != nil || got != d {
		t.Errorf("what was published beside another place is not here: %s, %v", got, err)
	}
}
