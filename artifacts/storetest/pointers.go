package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

func setAndGet(t *testing.T, p Place) {
	ctx := t.Context()
	const name = "refs/a"
	if _, v, err := p.Get(ctx, name); !errors.Is(err, artifacts.ErrMissing) || v != artifacts.Absent {
		t.Fatalf("Get of nothing = %q, %v", v, err)
	}
	if _, err := p.Set(ctx, name, []byte("x"), "made up"); !errors.Is(err, artifacts.ErrConflict) {
		t.Errorf("Set of nothing from a version = %v", err)
	}
	v1, err := p.Set(ctx, name, []byte("one"), artifacts.Absent)
	if err != nil || v1 == artifacts.Absent {
		t.Fatalf("Set = %q, %v", v1, err)
	}
	if val, v, err := p.Get(ctx, name); err != nil || string(val) != "one" || v != v1 {
		t.Errorf("Get = %q, %q, %v; want version %q", val, v, err, v1)
	}
	if _, err := p.Set(ctx, name, []byte("other"), artifacts.Absent); !errors.Is(err, artifacts.ErrConflict) {
		t.Errorf("Set from Absent of what is there = %v", err)
	}
	v2, err := p.Set(ctx, name, []byte("two"), v1)
	if err != nil {
		t.Fatalf("Set from %q: %v", v1, err)
	}
	if _, err := p.Set(ctx, name, []byte("three"), v1); !errors.Is(err, artifacts.ErrConflict) {
		t.Errorf("Set from an old version = %v", err)
	}
	if val, v, err := p.Get(ctx, name); err != nil || string(val) != "two" || v != v2 {
		t.Errorf("Get = %q, %q, %v", val, v, err)
	}
	if _, _, err := p.Get(ctx, "refs/a/b"); !errors.Is(err, artifacts.ErrMissing) {
		t.Errorf("Get below a pointer = %v", err)
	}
	if _, err := p.Set(ctx, "runs/k/r", nil, artifacts.Absent); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Get(ctx, "runs/k"); !errors.Is(err, artifacts.ErrMissing) {
		t.Errorf("Get above a pointer = %v", err)
	}
}

func oneWinner(t *testing.T, p Place, name string, old artifacts.Version) {
	t.Helper()
	errs := atOnce(16, func(i int) error {
		_, err := p.Set(t.Context(), name, []byte(strconv.Itoa(i)), old)
		return err
	})
	val, _, err := p.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var won []string
	for i, err := range errs {
		switch {
		case err == nil:
			won = append(won, strconv.Itoa(i))
		case !errors.Is(err, artifacts.ErrConflict):
			t.Errorf("racer %d: %v", i, err)
		}
	}
	if len(won) != 1 || won[0] != string(val) {
		t.Errorf("winners %v, value %q", won, val)
	}
}

func raceCreate(t *testing.T, p Place) { oneWinner(t, p, "keys/race", artifacts.Absent) }

func raceReplace(t *testing.T, p Place) {
	v, err := p.Set(t.Context(), "keys/race", []byte("start"), artifacts.Absent)
	if err != nil {
		t.Fatal(err)
	}
	oneWinner(t, p, "keys/race", v)
}

// counter would lose increments if a Set were not atomic with its comparison.
func counter(t *testing.T, p Place) {
	const racers, each = 8, 10
	errs := atOnce(racers, func(int) error {
		for range each {
			if err := increment(t, p, "refs/counter"); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	val, _, err := p.Get(t.Context(), "refs/counter")
	if err != nil || string(val) != strconv.Itoa(racers*each) {
		t.Errorf("counted %q, %v; want %d", val, err, racers*each)
	}
}

func increment(t *testing.T, p Place, name string) error {
	for {
		val, v, err := p.Get(t.Context(), name)
		n := 0
		if err == nil {
			if n, err = strconv.Atoi(string(val)); err != nil {
				return err // a torn value
			}
		} else if !errors.Is(err, artifacts.ErrMissing) {
			return err
		}
		_, err = p.Set(t.Context(), name, []byte(strconv.Itoa(n+1)), v)
		if !errors.Is(err, artifacts.ErrConflict) {
			return err
		}
	}
}

func listOrder(t *testing.T, p Place) {
	var all []string
	for _, n := range []string{
		"keys/b", "keys/a", "keys/a-b", "runs/a/2", "runs/a/1", "runs/a-b/1", "runs/a.b/1", "runs/ab/1",
		"records/2026-01-02/x", "records/2026-01-01/y", "records/2025-12-31/z", "builds/2026-01-01/q",
	} {
		if _, err := p.Set(t.Context(), n, []byte(n), artifacts.Absent); err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	slices.Sort(all)
	for _, prefix := range []string{"", "keys/", "keys/a", "keys", "runs/", "runs/a", "runs/a/", "records/2026-", "records/2026-01-01/", "refs/", "runs/none/"} {
		for _, after := range append([]string{"", "keys/a0", "runs/a", "runs/a/", "runs/a/1/x", "zzz"}, all...) {
			var want []string
			for _, n := range all {
				if strings.HasPrefix(n, prefix) && n > after {
					want = append(want, n)
				}
			}
			if got := collect(t, p.List(t.Context(), prefix, after)); !slices.Equal(got, want) {
				t.Errorf("List(%q, %q) = %q, want %q", prefix, after, got, want)
			}
		}
	}
	for name, err := range p.List(t.Context(), "keys/", "") {
		if err != nil || name != "keys/a" {
			t.Errorf("first = %q, %v", name, err)
		}
		break // a walk that is left early must not go on
	}
}

func hostileNames(t *testing.T, p Place) {
	for _, name := range []string{
		"", "/", ".", "..", "/keys/x", "../keys/x", "keys/../../x", "keys/..", "keys/./x", "keys//x", "keys/", "keys", `keys\x`,
		"keys/\x00", "keys/a\nb", "keys/\xff", "keys/e\u0301", "format", "blobs/sha256/x", "tmp/x", "work/x", "C:/keys/x",
		"keys/" + strings.Repeat("x", 256), "keys/" + strings.Repeat("x/", 600) + "x", "pointers.lock", "KEYS/x",
	} {
		if _, err := p.Set(t.Context(), name, []byte("evil"), artifacts.Absent); err == nil || errors.Is(err, artifacts.ErrConflict) {
			t.Errorf("Set(%q) = %v", name, err)
		}
		if _, _, err := p.Get(t.Context(), name); !errors.Is(err, artifacts.ErrPath) {
			t.Errorf("Get(%q) = %v", name, err)
		}
	}
	for _, prefix := range []string{"..", "../", "/", "keys/../", "blobs/", "tmp", `keys\`} {
		for name, err := range p.List(t.Context(), prefix, "") {
			if err == nil {
				t.Errorf("List(%q) gave %q", prefix, name)
			}
		}
	}
	if got := fmt.Sprint(collect(t, p.List(t.Context(), "", ""))); got != "[]" {
		t.Errorf("hostile names left %s", got)
	}
}
