package artifacts_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

func putBuild(t *testing.T, c *artifacts.Cache, id, path string, steps ...artifacts.Step) artifacts.Digest {
	t.Helper()
	at, err := time.Parse("20060102T150405Z", id[:16])
	if err != nil {
		t.Fatal(err)
	}
	return must[artifacts.Digest](t)(c.PutBuild(t.Context(), &artifacts.Build{
		ID: id, RecipePath: path, Host: "h", Recipe: digest("recipe"), Started: at, Ended: at.Add(time.Minute), Steps: steps,
	}))
}

func TestBuilds(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) {
		if _, err := c.LastBuild(t.Context(), "a/x.hcl"); !errors.Is(err, artifacts.ErrMissing) {
			t.Errorf("LastBuild of nothing = %v", err)
		}
		ids := []string{
			"20260101T000000Z-aaaaaa", "20260101T120000Z-bbbbbb", "20260101T120000Z-cccccc", "20260102T000000Z-dddddd", "20260301T000000Z-eeeeee",
		}
		paths := []string{"a/x.hcl", "b/x.hcl", "y.hcl", "a/x.hcl", "b/x.hcl"}
		var digests []artifacts.Digest
		for _, i := range []int{3, 0, 4, 1, 2} { // not the order in which they began
			digests = append(digests, putBuild(t, c, ids[i], paths[i]))
		}
		var got []string
		for b, err := range c.Builds(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b.ID)
		}
		slices.Reverse(got)
		if !slices.Equal(got, ids) {
			t.Errorf("order %q", got)
		}
		for path, want := range map[string]string{"a/x.hcl": ids[3], "b/x.hcl": ids[4], "c/x.hcl": ids[4], "y.hcl": ids[2], "elsewhere/y.hcl": ids[2]} {
			if b, err := c.LastBuild(t.Context(), path); err != nil || b.ID != want {
				t.Errorf("LastBuild(%s) = %v, %v; want %s", path, b, err, want)
			}
		}
		for id, want := range map[string]string{ids[1]: ids[1], "20260102": ids[3], digests[0].String(): ids[3], digests[1].Hex()[:10]: ids[0]} {
			if b, err := c.Build(t.Context(), id); err != nil || b.ID != want {
				t.Errorf("Build(%s) = %v, %v; want %s", id, b, err, want)
			}
		}
		for id, says := range map[string]string{"2026": "ambiguous", "20260101T12": "ambiguous", "": "not in the cache", "1999": "not in the cache"} {
			if b, err := c.Build(t.Context(), id); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("Build(%q) = %v, %v", id, b, err)
			}
		}
		brokenBuild(t, c, sw, digests[0], ids)
	})
}

// A build of a clock that was set back since is neither the last of its recipe nor the newest of all.
func TestClockSetBack(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, _ artifacts.Sweeper) {
		id := func(at time.Time, end string) string { return at.UTC().Format("20060102T150405Z-") + end }
		now := time.Now()
		year, hour := id(now.AddDate(1, 0, 0), "aaaaaa"), id(now.Add(time.Hour), "bbbbbb")
		today, earlier := id(now.Add(-time.Minute), "cccccc"), id(now.Add(-2*time.Minute), "dddddd")
		putBuild(t, c, year, "x.hcl")
		putBuild(t, c, hour, "x.hcl")
		for _, last := range []string{today, earlier} { // an earlier one that ends later does not take its place
			putBuild(t, c, last, "x.hcl")
			if b, err := c.LastBuild(t.Context(), "x.hcl"); err != nil || b.ID != today {
				t.Errorf("LastBuild = %v, %v; want %s", b, err, today)
			}
		}
		var got []string
		for b, err := range c.Builds(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b.ID)
		}
		if got[0] != today || got[1] != earlier || len(got) != 4 {
			t.Errorf("order %q", got)
		}
		if b, err := c.Build(t.Context(), year); err != nil || b.ID != year {
			t.Errorf("Build(%s) = %v, %v", year, b, err)
		}
	})
}

// One unreadable build hides no other.
func brokenBuild(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper, gone artifacts.Digest, ids []string) {
	t.Helper()
	if err := sw.Delete(t.Context(), artifacts.BlobsFolder+gone.Hex()); err != nil {
		t.Fatal(err)
	}
	good, bad := 0, 0
	for _, err := range c.Builds(t.Context()) {
		if err != nil {
			bad++
		} else {
			good++
		}
	}
	if good != 4 || bad != 1 {
		t.Errorf("%d good builds and %d bad ones", good, bad)
	}
	if b, err := c.LastBuild(t.Context(), "a/x.hcl"); err != nil || b.ID != ids[0] {
		t.Errorf("LastBuild = %v, %v", b, err)
	}
}

func verify(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) []artifacts.Problem {
	t.Helper()
	var all []artifacts.Problem
	if err := c.Verify(t.Context(), sw, func(p artifacts.Problem) { all = append(all, p) }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestVerify(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) {
		rec := result(t, c, "a", 0, "x=shared", "y=own")
		_, d := publish(t, c, rec)
		other := result(t, c, "b", 1, "x=shared")
		_, od := publish(t, c, other)
		ids := []string{"20260304T050000Z-aaaaaa", "20260304T060000Z-bbbbbb"}
		putBuild(t, c, ids[0], "x.hcl", artifacts.Step{Address: "s", Kind: "test", Key: rec.Key, Record: d, State: artifacts.Ran})
		putBuild(t, c, ids[1], "x.hcl", artifacts.Step{Address: "s", Kind: "test", Key: other.Key, Record: od, State: artifacts.Ran})
		if p := verify(t, c, sw); len(p) > 0 {
			t.Fatalf("a sound cache has problems: %+v", p)
		}
		expect := func(what string, want ...string) {
			t.Helper()
			var got []string
			for _, p := range verify(t, c, sw) {
				got = append(got, fmt.Sprintf("%s %s %v", p.Name, p.Kind, p.Builds))
			}
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		set := func(name, val string) {
			t.Helper()
			_, v, _ := c.Get(t.Context(), name)
			if _, err := c.Set(t.Context(), name, []byte(val), v); err != nil {
				t.Fatal(err)
			}
		}
		del := func(name string) {
			t.Helper()
			if err := sw.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		key, okey := "keys/"+rec.Key.Hex(), "keys/"+other.Key.Hex()

		set(key, "nonsense")
		expect("a pointer's value", key+" malformed []")
		set(key, od.String())
		expect("a pointer to another's record", fmt.Sprintf("%s malformed [%s]", key, ids[1]))
		set(key, d.String())
		expect("mended")

		del(artifacts.BlobsFolder + digest("shared").Hex())
		expect("an output is gone", fmt.Sprintf("%s dangling [%s]", key, ids[0]), fmt.Sprintf("%s dangling [%s]", okey, ids[1]))
		del(key)
		del(okey)
		expect("lineage outlives the bytes")

		del(artifacts.BlobsFolder + rec.Key.Hex())
		expect("an action is gone",
			fmt.Sprintf("records/2026-03-04/%s dangling [%s]", d.Hex(), ids[0]),
			fmt.Sprintf("runs/%s/%s dangling [%s]", rec.Key.Hex(), d.Hex(), ids[0]))
	})
}
