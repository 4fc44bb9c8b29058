package bucket_test

import (
	"context"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
	"github.com/Ruihan11/tiny-infra/artifacts/storetest"
)

// noted is the finding of a probe, which the tests of artifacts/s3 make of real servers.
func noted(f bucket.Format) func(context.Context) (bucket.Format, error) {
	return func(context.Context) (bucket.Format, error) { return f, nil }
}

// sound is what a good bucket is found to be.
func sound() bucket.Format {
	return bucket.Format{
		Checked:    time.Date(2026, 11, 26, 4, 0, 0, 5, time.UTC),
		Conditions: bucket.Conditions{Create: true, Replace: true},
		Listing:    bucket.Ordered,
		Tinfra:     "v0.7.0",
	}
}

func create(t *testing.T, o artifacts.Objects, s bucket.Settings) *bucket.Place {
	t.Helper()
	p, err := bucket.Create(t.Context(), o, s)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	return p
}

func TestBucketInMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Place {
		return create(t, mem.NewBucket(), bucket.Settings{Note: noted(sound())})
	})
}

// unordered lists in any order, and ignores where it is to begin, as one-zone buckets do.
type unordered struct{ *mem.Bucket }

func (u unordered) Walk(ctx context.Context, prefix, _ string) iter.Seq2[artifacts.Object, error] {
	return func(yield func(artifacts.Object, error) bool) {
		var all []artifacts.Object
		for o, err := range u.Bucket.Walk(ctx, prefix, "") {
			if err != nil {
				yield(o, err)
				return
			}
			all = append(all, o)
		}
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, o := range all {
			if !yield(o, nil) {
				return
			}
		}
	}
}

func TestBucketUnordered(t *testing.T) {
	found := sound()
	found.Listing = bucket.Unordered
	storetest.Run(t, func(t *testing.T) storetest.Place {
		return create(t, unordered{mem.NewBucket()}, bucket.Settings{Note: noted(found)})
	})
}

// reversed lists backwards what was found to be in order.
type reversed struct{ *mem.Bucket }

func (r reversed) Walk(ctx context.Context, prefix, after string) iter.Seq2[artifacts.Object, error] {
	return func(yield func(artifacts.Object, error) bool) {
		var all []artifacts.Object
		for o, err := range r.Bucket.Walk(ctx, prefix, after) {
			if err != nil {
				yield(o, err)
				return
			}
			all = append(all, o)
		}
		for _, o := range slices.Backward(all) {
			if !yield(o, nil) {
				return
			}
		}
	}
}

// A list in another order than was promised would silently leave out records.
func TestAListOutOfOrderIsNoticed(t *testing.T) {
	p := create(t, reversed{mem.NewBucket()}, bucket.Settings{Note: noted(sound())})
	for _, n := range []string{"records/2026-01-01/a", "records/2026-01-02/b"} {
		if _, err := p.Set(t.Context(), n, nil, artifacts.Absent); err != nil {
			t.Fatal(err)
		}
	}
	var failed error
	for _, err := range p.List(t.Context(), "records/", "") {
		failed = err
	}
	if failed == nil {
		t.Error("a list in the wrong order was taken for whole")
	}
}
