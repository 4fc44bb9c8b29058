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
	must[artifacts.Blob](t)(c.PutBytes(t.Context(), "text/plain", []byte("recipe")))
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
		expect("a pointer's value", fmt.Sprintf("%s malformed [%s]", key, ids[0]))
		set(key, od.String())
		expect("a pointer to another's record", fmt.Sprintf("%s malformed [%s]", key, ids[0]))
		set(key, d.String())
		expect("mended")

		del(artifacts.BlobsFolder + digest("shared").Hex())
		expect("an output is gone", fmt.Sprintf("%s dangling [%s]", key, ids[0]), fmt.Sprintf("%s dangling [%s]", okey, ids[1]))
		del(key)
		del(okey)
		expect("lineage outlives the bytes")

		del(artifacts.BlobsFolder + rec.Key.Hex())
		expect("an action is gone", fmt.Sprintf("blobs/sha256/%s missing [%s]", rec.Key.Hex(), ids[0]))
	})
}

// What was given up is told ever after, and no problem; until it is there again and lost once more.
func TestRepairTellsWhatIsLost(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) {
		log := must[artifacts.Blob](t)(c.PutBytes(t.Context(), artifacts.LogMediaType, []byte("the log")))
		rec := result(t, c, "a", 0, "x=y")
		rec.Log = log.Digest
		publish(t, c, rec)
		name := artifacts.BlobsFolder + log.Digest.Hex()
		for range 2 {
			if err := sw.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			all := verify(t, c, sw)
			if len(all) != 1 || all[0].Name != name || all[0].Kind != artifacts.Missing || !strings.Contains(all[0].Detail, "the log of record") {
				t.Fatalf("problems %+v", all)
			}
			did, err := c.Repair(t.Context(), sw, all[0])
			if err != nil || did != artifacts.GivenUp {
				t.Fatalf("Repair = %q, %v", did, err)
			}
			if all = verify(t, c, sw); len(all) != 1 || all[0].Name != name || all[0].Kind != artifacts.Lost {
				t.Fatalf("after the repair: %+v", all)
			}
			must[artifacts.Blob](t)(c.PutBytes(t.Context(), artifacts.LogMediaType, []byte("the log")))
			if all = verify(t, c, sw); len(all) > 0 || len(names(t, c, "lost/")) > 0 {
				t.Fatalf("what came back: %+v", all)
			}
		}
	})
}

// Names are made again from what the cache still says: the winner of a key, the newest build of a recipe, what a name in
// runs/, records/ and builds/ says itself.
func TestRepairMakesNamesAgain(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) {
		rec := result(t, c, "a", 0, "x=y")
		publish(t, c, rec)
		repeat := *rec
		repeat.Ended = rec.Ended.Add(time.Hour)
		publish(t, c, &repeat)
		putBuild(t, c, "20260304T050000Z-aaaaaa", "x.hcl")
		putBuild(t, c, "20260304T060000Z-bbbbbb", "x.hcl")
		want := map[string]string{}
		for _, n := range names(t, c, "") {
			val, _, err := c.Get(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			want[n] = string(val)
		}
		for n := range want {
			for _, bad := range []string{"", "sha256:1234", digest("another").String(), want[n] + "x"} {
				_, v, _ := c.Get(t.Context(), n)
				if _, err := c.Set(t.Context(), n, []byte(bad), v); err != nil {
					t.Fatal(err)
				}
				found := verify(t, c, sw)
				if len(found) == 0 || !slices.ContainsFunc(found, func(p artifacts.Problem) bool { return p.Name == n }) {
					t.Fatalf("%s = %q is not found: %+v", n, bad, found)
				}
				for _, p := range found {
					if did, err := c.Repair(t.Context(), sw, p); err != nil || did != artifacts.Remade {
						t.Errorf("%s = %q: Repair(%s) = %q, %v", n, bad, p.Name, did, err)
					}
				}
				if val, _, err := c.Get(t.Context(), n); err != nil || string(val) != want[n] {
					t.Errorf("%s was %q, became %q, %v; want %q", n, bad, val, err, want[n])
				}
				if found := verify(t, c, sw); len(found) > 0 {
					t.Fatalf("after the repair of %s: %+v", n, found)
				}
			}
		}
	})
}

// A pointer that leads to a sound object of another name is worth no more than a broken one.
func TestSwappedPointersServeNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) {
		a, b := result(t, c, "a", 0, "x=1"), result(t, c, "b", 1, "x=2")
		_, da := publish(t, c, a)
		_, db := publish(t, c, b)
		putBuild(t, c, "20260304T050000Z-aaaaaa", "x.hcl")
		putBuild(t, c, "20260304T060000Z-bbbbbb", "y.hcl")
		swap := func(one, other string) {
			t.Helper()
			x, vx, err := c.Get(t.Context(), one)
			y, vy, oerr := c.Get(t.Context(), other)
			if err = errors.Join(err, oerr); err != nil {
				t.Fatal(err)
			}
			_, err = c.Set(t.Context(), one, y, vx)
			_, oerr = c.Set(t.Context(), other, x, vy)
			if err = errors.Join(err, oerr); err != nil {
				t.Fatal(err)
			}
			found := verify(t, c, sw)
			if len(found) != 2 || found[0].Name != min(one, other) || found[1].Name != max(one, other) || found[0].Kind != artifacts.Malformed {
				t.Errorf("swapped %s and %s: %+v", one, other, found)
			}
		}
		swap("keys/"+a.Key.Hex(), "keys/"+b.Key.Hex())
		for _, k := range []artifacts.Key{a.Key, b.Key} {
			if rec, _, err := c.Lookup(t.Context(), k); !errors.Is(err, artifacts.ErrMissing) {
				t.Errorf("Lookup(%s) = %+v, %v", k.Short(), rec, err)
			}
		}
		for _, p := range verify(t, c, sw) {
			must[artifacts.Repaired](t)(c.Repair(t.Context(), sw, p))
		}
		for k, want := range map[artifacts.Key]artifacts.Digest{a.Key: da, b.Key: db} {
			if _, d, err := c.Lookup(t.Context(), k); err != nil || d != want {
				t.Errorf("Lookup(%s) = %s, %v; want %s", k.Short(), d.Short(), err, want.Short())
			}
		}
		swap("refs/x", "refs/y")
		for path, want := range map[string]string{"x.hcl": "20260304T050000Z-aaaaaa", "y.hcl": "20260304T060000Z-bbbbbb"} {
			if got, err := c.LastBuild(t.Context(), path); err != nil || got.ID != want {
				t.Errorf("LastBuild(%s) = %v, %v", path, got, err)
			}
		}
		// The next build of x is older than the one that its ref leads to, and takes the ref all the same.
		putBuild(t, c, "20260304T055900Z-cccccc", "x.hcl")
		if found := verify(t, c, sw); len(found) != 1 || found[0].Name != "refs/y" {
			t.Errorf("after a build of x: %+v", found)
		}
	})
}
