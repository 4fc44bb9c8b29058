package mem_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
)

func write(t *testing.T, b *mem.Bucket, name, val string, old *artifacts.Version) artifacts.Object {
	t.Helper()
	o, err := b.Write(t.Context(), name, artifacts.Text([]byte(val)), old)
	if err != nil {
		t.Fatalf("Write(%s): %v", name, err)
	}
	return o
}

func TestBucketConditions(t *testing.T) {
	b, absent := mem.NewBucket(), artifacts.Absent
	one := write(t, b, "a/x", "one", &absent)
	again := write(t, b, "a/x", "one", nil)
	if one.Version == again.Version || one.Version == artifacts.Absent {
		t.Errorf("versions %q and %q", one.Version, again.Version)
	}
	for name, old := range map[string]artifacts.Version{"a/x": one.Version, "a/y": one.Version} {
		if _, err := b.Write(t.Context(), name, artifacts.Text(nil), &old); !errors.Is(err, artifacts.ErrConflict) {
			t.Errorf("Write(%s) over another version = %v", name, err)
		}
	}
	if _, err := b.Write(t.Context(), "a/x", artifacts.Text(nil), &absent); !errors.Is(err, artifacts.ErrConflict) {
		t.Errorf("creating what is there = %v", err)
	}
	two := write(t, b, "a/x", "two", &again.Version)
	r, o, err := b.Read(t.Context(), "a/x", 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "w" || o.Size != 3 || o.Version != two.Version {
		t.Errorf("Read = %q, %+v, %v", got, o, err)
	}
}

func TestBucketRefuses(t *testing.T) {
	b := mem.NewBucket()
	write(t, b, "a/x", "one", nil)
	for _, name := range []string{"a", "a/x/y", "", "../a", "a//b"} {
		if _, err := b.Write(t.Context(), name, artifacts.Text(nil), nil); err == nil {
			t.Errorf("Write(%q) was accepted", name)
		}
	}
	lying := artifacts.Body{Bytes: strings.NewReader("other"), Size: 5, Digest: artifacts.Sum([]byte("these"))}
	if _, err := b.Write(t.Context(), "b", lying, nil); !errors.Is(err, artifacts.ErrDamaged) {
		t.Errorf("Write of other bytes = %v", err)
	}
	if _, _, err := b.Read(t.Context(), "b", 0, -1); !errors.Is(err, artifacts.ErrMissing) {
		t.Errorf("Read of nothing = %v", err)
	}
	if _, _, err := b.Read(t.Context(), "a/x", 4, 1); err == nil {
		t.Error("Read behind the end was accepted")
	}
	if err := b.Remove(t.Context(), "a/x"); err != nil {
		t.Fatal(err)
	}
	write(t, b, "a", "no folder any more", nil)
}

func TestBucketWalksAndRemoves(t *testing.T) {
	b := mem.NewBucket()
	for _, n := range []string{"a/1", "a-b/1", "a.b/1", "b"} {
		write(t, b, n, n, nil)
	}
	if err := errors.Join(b.Remove(t.Context(), "a.b/1"), b.Remove(t.Context(), "a.b/1")); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		prefix, after string
		want          []string
	}{{"", "", []string{"a-b/1", "a/1", "b"}}, {"a", "a-b/1", []string{"a/1"}}, {"c", "", nil}} {
		var got []string
		for o, err := range b.Walk(t.Context(), c.prefix, c.after) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, o.Name)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("Walk(%q, %q) = %q, want %q", c.prefix, c.after, got, c.want)
		}
	}
}

func TestBucketFaultsAndClock(t *testing.T) {
	b, broken, noon := mem.NewBucket(), errors.New("broken"), time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	b.Clock = func() time.Time { return noon }
	b.Fault = func(op, name string) error {
		if op == "write" && name == "bad" {
			return broken
		}
		return nil
	}
	if _, err := b.Write(t.Context(), "bad", artifacts.Text(nil), nil); !errors.Is(err, broken) {
		t.Errorf("Write = %v", err)
	}
	if o := write(t, b, "good", "", nil); !o.Modified.Equal(noon) || !o.Now.Equal(noon) {
		t.Errorf("%+v", o)
	}
	if _, _, err := b.Read(t.Context(), "bad", 0, 0); !errors.Is(err, artifacts.ErrMissing) {
		t.Errorf("a failed write left something: %v", err)
	}
}
