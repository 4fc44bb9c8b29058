// Package storetest is what every place that keeps artifacts must do, as one suite. It knows the three interfaces and
// must not know which place it is run on.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Place is one store with all its sides.
type Place interface {
	artifacts.Store
	artifacts.Pointers
	artifacts.Sweeper
}

// EveryIncrementCounts is the name of a test that a place behind a faulty network may fail: where an answer is lost and the value was
// replaced since, nobody can tell whether the change was made, so it is made again.
const EveryIncrementCounts = "every increment counts"

// Run runs the suite, but for the tests named last; each test asks open for an empty place.
func Run(t *testing.T, open func(t *testing.T) Place, except ...string) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Place)
	}{
		{"put and read back", putAndRead},
		{"put again", putAgain},
		{"put refuses other bytes", putRefuses},
		{"put by many at once", putAtOnce},
		{"ranges", ranges},
		{"a missing blob", missingBlob},
		{"set, get and conflicts", setAndGet},
		{"one of sixteen racers creates", raceCreate},
		{"one of sixteen racers replaces", raceReplace},
		{EveryIncrementCounts, counter},
		{"list in order", listOrder},
		{"hostile names", hostileNames},
		{"all and delete", allAndDelete},
		{"cancelled", cancelled},
	} {
		if slices.Contains(except, c.name) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, open(t))
		})
	}
}

func blobOf(b []byte) artifacts.Blob {
	return artifacts.Blob{MediaType: artifacts.FileMediaType, Digest: artifacts.Sum(b), Size: int64(len(b))}
}

func mustPut(t *testing.T, p Place, b []byte) artifacts.Blob {
	t.Helper()
	blob := blobOf(b)
	if err := p.Put(t.Context(), blob, bytes.NewReader(b)); err != nil {
		t.Fatalf("Put: %v", err)
	}
	return blob
}

func read(t *testing.T, p Place, d artifacts.Digest, off, n int64) []byte {
	t.Helper()
	r, err := p.Open(t.Context(), d, off, n)
	if err != nil {
		t.Fatalf("Open(%d, %d): %v", off, n, err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatalf("reading (%d, %d): %v", off, n, err)
	}
	return b
}

func putAndRead(t *testing.T, p Place) {
	for _, b := range [][]byte{{}, []byte("x"), bytes.Repeat([]byte("0123456789abcdef"), 1<<16)} {
		blob := mustPut(t, p, b)
		if n, err := p.Stat(t.Context(), blob.Digest); err != nil || n != blob.Size {
			t.Errorf("Stat = %d, %v; want %d", n, err, blob.Size)
		}
		if got := read(t, p, blob.Digest, 0, -1); !bytes.Equal(got, b) {
			t.Errorf("%d bytes came back as %d others", len(b), len(got))
		}
	}
}

func putAgain(t *testing.T, p Place) {
	b := []byte("twice")
	mustPut(t, p, b)
	r := &counting{r: bytes.NewReader(b)}
	if err := p.Put(t.Context(), blobOf(b), r); err != nil {
		t.Fatalf("second Put: %v", err)
	}
	if r.n != len(b) {
		t.Errorf("second Put read %d of %d bytes", r.n, len(b))
	}
	if n := len(collect(t, p.All(t.Context()))); n != 1 {
		t.Errorf("%d blobs after two Puts of the same", n)
	}
	wrong := blobOf(b)
	if err := p.Put(t.Context(), wrong, strings.NewReader("twicf")); err == nil {
		t.Error("Put of other bytes under a digest that is there already was accepted")
	}
	if got := read(t, p, wrong.Digest, 0, -1); string(got) != "twice" {
		t.Errorf("a refused Put changed the blob to %q", got)
	}
}

type counting struct {
	r io.Reader
	n int
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += n
	return n, err
}

func putRefuses(t *testing.T, p Place) {
	b := []byte("the right bytes")
	want := blobOf(b)
	broken := errors.New("line cut")
	for name, c := range map[string]struct {
		want artifacts.Blob
		r    io.Reader
		is   error
	}{
		"other bytes":  {want, strings.NewReader("the wrong bytes"), artifacts.ErrDamaged},
		"fewer bytes":  {want, strings.NewReader("the right"), artifacts.ErrDamaged},
		"more bytes":   {want, strings.NewReader("the right bytes and more"), artifacts.ErrDamaged},
		"size too big": {artifacts.Blob{Digest: want.Digest, Size: want.Size + 1}, bytes.NewReader(b), artifacts.ErrDamaged},
		"size too low": {artifacts.Blob{Digest: want.Digest, Size: want.Size - 1}, bytes.NewReader(b), artifacts.ErrDamaged},
		"endless":      {want, endless{}, artifacts.ErrDamaged},
		"cut":          {want, io.MultiReader(bytes.NewReader(b[:4]), iotest.ErrReader(broken)), broken},
	} {
		if err := p.Put(t.Context(), c.want, c.r); !errors.Is(err, c.is) {
			t.Errorf("%s: Put = %v, want %v", name, err, c.is)
		}
		if _, err := p.Stat(t.Context(), want.Digest); !errors.Is(err, artifacts.ErrMissing) {
			t.Errorf("%s: something was left: %v", name, err)
		}
	}
	if err := p.Put(t.Context(), want, iotest.OneByteReader(iotest.DataErrReader(bytes.NewReader(b)))); err != nil {
		t.Errorf("a slow reader: %v", err)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func putAtOnce(t *testing.T, p Place) {
	b := bytes.Repeat([]byte("many"), 1<<14)
	blob := blobOf(b)
	errs := atOnce(16, func(int) error { return p.Put(t.Context(), blob, bytes.NewReader(b)) })
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if got := read(t, p, blob.Digest, 0, -1); !bytes.Equal(got, b) {
		t.Error("other bytes came back")
	}
}

func ranges(t *testing.T, p Place) {
	blob := mustPut(t, p, []byte("0123456789"))
	for _, c := range []struct {
		off, n int64
		want   string
	}{{0, -1, "0123456789"}, {3, -1, "3456789"}, {3, 4, "3456"}, {0, 0, ""}, {10, -1, ""}, {10, 5, ""}, {8, 100, "89"}, {0, 1 << 62, "0123456789"}} {
		if got := read(t, p, blob.Digest, c.off, c.n); string(got) != c.want {
			t.Errorf("Open(%d, %d) = %q, want %q", c.off, c.n, got, c.want)
		}
	}
	for _, off := range []int64{-1, 11, 1 << 62} {
		if r, err := p.Open(t.Context(), blob.Digest, off, 1); err == nil {
			r.Close()
			t.Errorf("Open at offset %d of 10 bytes was accepted", off)
		}
	}
}

func missingBlob(t *testing.T, p Place) {
	d := artifacts.Sum([]byte("never stored"))
	if _, err := p.Stat(t.Context(), d); !errors.Is(err, artifacts.ErrMissing) {
		t.Errorf("Stat = %v", err)
	}
	if r, err := p.Open(t.Context(), d, 0, -1); !errors.Is(err, artifacts.ErrMissing) {
		t.Errorf("Open = %v, %v", r, err)
	}
}

// atOnce starts n goroutines together and waits for all.
func atOnce(n int, f func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

func collect[T any](t *testing.T, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var all []T
	for v, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

func allAndDelete(t *testing.T, p Place) {
	var want []string
	for i := range 20 {
		want = append(want, mustPut(t, p, []byte(fmt.Sprint("blob ", i))).Digest.Hex())
	}
	hexes := func() []string {
		var got []string
		for _, b := range collect(t, p.All(t.Context())) {
			got = append(got, b.Digest.Hex())
		}
		slices.Sort(got)
		return got
	}
	slices.Sort(want)
	if got := hexes(); !slices.Equal(got, want) {
		t.Errorf("All gave %d blobs of %d", len(got), len(want))
	}
	gone := artifacts.BlobsFolder + want[0]
	for range 2 { // the second time it is not there, and that is no error
		if err := p.Delete(t.Context(), gone); err != nil {
			t.Errorf("Delete of a blob: %v", err)
		}
	}
	if got := hexes(); !slices.Equal(got, want[1:]) {
		t.Errorf("after Delete All gave %d blobs of %d", len(got), len(want)-1)
	}
	if _, err := p.Set(t.Context(), "refs/x", []byte("v"), artifacts.Absent); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Delete(t.Context(), "refs/x"); err != nil {
			t.Errorf("Delete of a pointer: %v", err)
		}
	}
	if _, _, err := p.Get(t.Context(), "refs/x"); !errors.Is(err, artifacts.ErrMissing) {
		t.Errorf("Get after Delete = %v", err)
	}
	for _, name := range []string{"", "blobs/sha256/..", "blobs/sha256/" + strings.Repeat("A", 64), "format", "../x", "refs/../format"} {
		if err := p.Delete(t.Context(), name); err == nil {
			t.Errorf("Delete(%q) was accepted", name)
		}
	}
}

func cancelled(t *testing.T, p Place) {
	cause := errors.New("stopped by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	b := []byte("too late")
	if err := p.Put(ctx, blobOf(b), bytes.NewReader(b)); !errors.Is(err, cause) {
		t.Errorf("Put = %v", err)
	}
	if _, err := p.Stat(t.Context(), artifacts.Sum(b)); !errors.Is(err, artifacts.ErrMissing) {
		t.Errorf("a cancelled Put left something: %v", err)
	}
}
