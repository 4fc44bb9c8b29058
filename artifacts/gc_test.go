package artifacts_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
)

// quiet is a place in which nothing runs but what a test says, and everything is old but what it says.
type quiet struct {
	held    map[artifacts.Digest]bool
	changed map[string]time.Time
}

func (q quiet) Held(context.Context) (map[artifacts.Digest]bool, error) { return q.held, nil }

func (q quiet) Still(_ context.Context, do func(map[artifacts.Digest]bool) error) error {
	return do(q.held)
}

func (q quiet) Changed(_ context.Context, name string) (time.Time, error) {
	return q.changed[name], nil
}

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// story makes results of one stage and builds that used them.
type story struct {
	t      *testing.T
	c      *artifacts.Cache
	sw     artifacts.Sweeper
	ground quiet
	made   map[string]*artifacts.Record // by name
	record map[string]artifacts.Digest
	builds int
}

func newStory(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) *story {
	return &story{
		t, c, sw, quiet{map[artifacts.Digest]bool{}, map[string]time.Time{}}, map[string]*artifacts.Record{}, map[string]artifacts.Digest{}, 0,
	}
}

// make publishes the result of that name; its files are "path=text".
func (s *story) make(name string, files ...string) *artifacts.Record {
	s.t.Helper()
	rec := result(s.t, s.c, name, 0, files...)
	s.made[name], s.record[name] = publish(s.t, s.c, rec)
	return rec
}

// build is one that used these results and ended so many days before noon.
func (s *story) build(path string, daysAgo int, change func(*artifacts.Build), used ...string) artifacts.Digest {
	s.t.Helper()
	s.builds++
	at := noon.AddDate(0, 0, -daysAgo)
	b := &artifacts.Build{
		ID: at.Format("20060102T150405Z-") + fmt.Sprintf("%06x", s.builds), RecipePath: path, Host: "h",
		Recipe: must[artifacts.Blob](s.t)(s.c.PutBytes(s.t.Context(), "text/plain", []byte("recipe "+path))).Digest, Started: at, Ended: at,
	}
	for _, name := range used {
		log := must[artifacts.Blob](s.t)(s.c.PutBytes(s.t.Context(), artifacts.LogMediaType, []byte("log of "+name)))
		b.Steps = append(b.Steps, artifacts.Step{
			Address: "test." + name, Kind: "test", Key: s.made[name].Key, Record: s.record[name], State: artifacts.Ran, Log: log.Digest,
		})
	}
	if change != nil {
		change(b)
	}
	return must[artifacts.Digest](s.t)(s.c.PutBuild(s.t.Context(), b))
}

func (s *story) find(p artifacts.Policy) *artifacts.Garbage {
	s.t.Helper()
	p.Now = noon
	return must[*artifacts.Garbage](s.t)(s.c.FindGarbage(s.t.Context(), s.sw, s.ground, p))
}

// expect collects, and says which results are left.
func (s *story) expect(p artifacts.Policy, left ...string) {
	s.t.Helper()
	g := s.find(p)
	total := func() (n int64) {
		for b, err := range s.sw.All(s.t.Context()) {
			if err != nil {
				s.t.Fatal(err)
			}
			n += b.Size
		}
		return n
	}
	before := total()
	done, err := s.c.Collect(s.t.Context(), s.sw, s.ground, g)
	if err != nil {
		s.t.Fatal(err)
	}
	if after := total(); before-after != g.Freed || done.Bytes != g.Freed || before != g.Total {
		s.t.Errorf("%d bytes became %d; the plan said %d of %d, and %d went", before, after, g.Freed, g.Total, done.Bytes)
	}
	s.left(left...)
}

func (s *story) left(want ...string) {
	s.t.Helper()
	var got []string
	for name, rec := range s.made {
		_, _, err := s.c.Lookup(s.t.Context(), rec.Key)
		if err == nil {
			got = append(got, name)
		} else if !errors.Is(err, artifacts.ErrMissing) {
			s.t.Error(err)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.t.Errorf("left are %q, want %q", got, want)
	}
	if p := verify(s.t, s.c, s.sw); len(p) > 0 {
		s.t.Errorf("problems: %+v", p)
	}
}

func failed(b *artifacts.Build)   { b.Exit = 3 }
func targeted(b *artifacts.Build) { b.Targets = []string{"test.x"} }

func TestCollectKeepsTheLastBuilds(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) {
		s := newStory(t, c, sw)
		for _, name := range []string{"a", "b", "c", "d", "x", "y", "z", "unused", "other"} {
			s.make(name, "f="+name)
		}
		s.build("r.hcl", 9, nil, "a")
		s.build("r.hcl", 8, nil, "b")
		s.build("r.hcl", 7, nil, "c")
		s.build("r.hcl", 6, nil, "d")
		s.build("r.hcl", 5, failed, "x")
		s.build("r.hcl", 4, targeted, "y")
		s.build("r.hcl", 3, failed, "z")
		s.build("elsewhere/o.hcl", 99, nil, "other")
		s.expect(artifacts.Policy{Keep: 2}, "c", "d", "y", "z", "other")
		s.expect(artifacts.Policy{Keep: 1}, "d", "z", "other")
		// refs/ names the last build, and that stays whatever the number.
		s.expect(artifacts.Policy{Keep: 0}, "z", "other")

		// Lineage outlives the bytes.
		for name, d := range s.record {
			rec := must[*artifacts.Record](t)(c.Record(t.Context(), d))
			must[*artifacts.Action](t)(c.Action(t.Context(), rec.Key))
			must[*artifacts.Manifest](t)(c.Manifest(t.Context(), rec.Outputs["out"]))
			if name != "unused" {
				must[[]byte](t)(c.GetBytes(t.Context(), digest("log of "+name)))
			}
		}
		must[[]byte](t)(c.GetBytes(t.Context(), digest("recipe r.hcl")))
		n := 0
		for _, err := range c.Builds(t.Context()) {
			if n++; err != nil {
				t.Error(err)
			}
		}
		if n != s.builds {
			t.Errorf("%d of %d builds are left", n, s.builds)
		}
	})
}

func TestCollectKeepsWhatIsYoungOrHeld(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) {
		s := newStory(t, c, sw)
		for _, name := range []string{"last", "yesterday", "held", "fresh", "future", "freshfile", "old"} {
			s.make(name, "f="+name)
		}
		s.build("r.hcl", 1, nil, "yesterday")
		s.build("r.hcl", 0, nil, "last")
		s.ground.held[s.made["held"].Key.Digest()] = true
		s.ground.changed["keys/"+s.made["fresh"].Key.Hex()] = noon.Add(-time.Minute)
		s.ground.changed["keys/"+s.made["future"].Key.Hex()] = noon.AddDate(1, 0, 0)
		s.ground.changed[artifacts.BlobsFolder+digest("freshfile").Hex()] = noon.Add(-time.Minute)
		// The file of a result is young: a build that died has just written it. The result would be no loss, and stays.
		s.expect(artifacts.Policy{Grace: 36 * time.Hour}, "last", "yesterday", "held", "fresh", "future", "freshfile")
		s.expect(artifacts.Policy{Grace: time.Hour}, "last", "held", "fresh", "future", "freshfile")
		clear(s.ground.held)
		s.expect(artifacts.Policy{}, "last", "future")
		clear(s.ground.changed)
		s.expect(artifacts.Policy{}, "last")
	})
}

func TestCollectToASize(t *testing.T) {
	kib := func(c string) string { return strings.Repeat(c, 1<<10) }
	everywhere(t, func(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) {
		s := newStory(t, c, sw)
		s.make("oldest", "f="+kib("1"), "g="+kib("s")) // shares g with the one that stays
		s.make("older", "f="+kib("2"), "g="+kib("t"))  // shares g with newer
		s.make("newer", "f="+kib("3"), "g="+kib("t"))
		s.make("last", "f="+kib("4"), "g="+kib("s"))
		s.build("r.hcl", 9, nil, "newer", "older", "oldest")
		s.build("r.hcl", 8, nil, "older")
		s.build("r.hcl", 7, nil, "newer")
		s.build("r.hcl", 6, nil, "last")
		all := s.find(artifacts.Policy{})
		if all.Freed != 4<<10 { // all but 4 and s
			t.Errorf("%d bytes would go: %+v", all.Freed, all)
		}
		s.expect(artifacts.Policy{MaxSize: all.Total}, "oldest", "older", "newer", "last")
		s.expect(artifacts.Policy{MaxSize: all.Total - 1}, "older", "newer", "last")
		s.expect(artifacts.Policy{MaxSize: all.Total - 1<<10 - 1}, "newer", "last")
		if g := s.find(artifacts.Policy{MaxSize: 1}); g.Over == 0 || g.Over != g.Total-g.Freed-1 {
			t.Errorf("over %d; %d of %d would go", g.Over, g.Freed, g.Total)
		}
		s.expect(artifacts.Policy{MaxSize: 1}, "last")
	})
}

// A result all of whose files stay for others frees nothing by its going, so it stays too.
func TestCollectTakesNoHitForNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) {
		s := newStory(t, c, sw)
		s.make("twin", "g=same")
		s.make("last", "f=same", "h=own")
		s.make("empty")
		s.make("pair1", "x=pair")
		s.make("pair2", "y=pair") // neither keeps the other
		s.build("r.hcl", 1, nil, "last")
		s.expect(artifacts.Policy{}, "twin", "last", "empty")
	})
}

func TestCollectOrphans(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) {
		ctx := t.Context()
		s := newStory(t, c, sw)
		s.make("last", "f=last")
		s.build("r.hcl", 1, nil, "last")
		put := func(text string) artifacts.Digest {
			return must[artifacts.Blob](t)(c.PutBytes(ctx, "", []byte(text))).Digest
		}
		// What builds that died have left: objects stay, and what an action is made of; bytes go.
		worker := must[artifacts.Digest](t)(c.PutManifest(ctx, &artifacts.Manifest{Type: "tinfra/worker", Files: []artifacts.File{
			{Path: "worker.py", Blob: artifacts.Blob{Digest: put("print()"), Size: 7}},
		}}))
		lone := must[artifacts.Key](t)(c.PutAction(ctx, &artifacts.Action{
			Format: artifacts.ActionFormat, Kind: "test", Params: json.RawMessage("{}"), Worker: worker, Env: put("an environment"),
		}))
		half := must[artifacts.Digest](t)(c.PutManifest(ctx, &artifacts.Manifest{Type: "files", Files: []artifacts.File{
			{Path: "f", Blob: artifacts.Blob{Digest: put("half published"), Size: 14}},
		}}))
		nobodys := put(`{"nobody":"knows"}`)
		s.expect(artifacts.Policy{}, "last")
		for d, stays := range map[artifacts.Digest]bool{
			worker: true, digest("print()"): true, lone.Digest(): true, digest("an environment"): true, half: true,
			digest("half published"): false, nobodys: false,
		} {
			if _, err := c.Stat(ctx, d); (err == nil) != stays {
				t.Errorf("%s stays: want %t, got %v", d.Short(), stays, err)
			}
		}
	})
}

// People's own files are stored when a stage needs them. They stay as long as what was made of them.
func TestCollectLocalInputs(t *testing.T) {
	everywhere(t, func(t *testing.T, c *artifacts.Cache, sw artifacts.Sweeper) {
		ctx := t.Context()
		s := newStory(t, c, sw)
		of := func(name string) {
			blob := must[artifacts.Blob](t)(c.PutBytes(ctx, "", []byte("local "+name)))
			in := must[artifacts.Digest](t)(c.PutManifest(ctx, &artifacts.Manifest{Type: "files", Files: []artifacts.File{{Path: "f", Blob: blob}}}))
			rec := result(t, c, name, 0, "f="+name)
			a := actionOf(name)
			a.Inputs = map[string]artifacts.Digest{"text": in}
			rec.Key = must[artifacts.Key](t)(c.PutAction(ctx, a))
			s.made[name], s.record[name] = publish(t, c, rec)
		}
		of("old")
		of("last")
		s.build("r.hcl", 2, nil, "old")
		s.build("r.hcl", 1, nil, "last")
		s.expect(artifacts.Policy{Keep: 1}, "last")
		for name, stays := range map[string]bool{"old": false, "last": true} {
			if _, err := c.Stat(ctx, digest("local "+name)); (err == nil) != stays {
				t.Errorf("local file of %s stays: want %t, got %v", name, stays, err)
			}
		}
	})
}

// What cannot be read may name anything, so nothing is collected.
func TestCollectRefusesToGuess(t *testing.T) {
	for what, spoil := range map[string]func(t *testing.T, s *story){
		"a build": func(t *testing.T, s *story) {
			s.remove(artifacts.BlobsFolder + s.build("r.hcl", 0, nil, "last").Hex())
		},
		"a ref": func(_ *testing.T, s *story) { s.set("refs/r", "nonsense") },
		"a record": func(_ *testing.T, s *story) {
			s.remove(artifacts.BlobsFolder + s.record["old"].Hex())
		},
		"a manifest": func(_ *testing.T, s *story) {
			s.remove(artifacts.BlobsFolder + s.made["old"].Outputs["out"].Hex())
		},
		"a key":             func(_ *testing.T, s *story) { s.set("keys/"+s.made["old"].Key.Hex(), "nonsense") },
		"another's record":  func(_ *testing.T, s *story) { s.set("keys/"+s.made["old"].Key.Hex(), s.record["last"].String()) },
		"an action":         func(_ *testing.T, s *story) { s.remove(artifacts.BlobsFolder + s.made["old"].Key.Hex()) },
		"a name in records": func(_ *testing.T, s *story) { s.set("records/2026-03-04/what", "nonsense") },
	} {
		t.Run(what, func(t *testing.T) {
			place := mem.New()
			c := artifacts.NewCache(place, place)
			s := newStory(t, c, place)
			s.make("old", "f=old")
			s.make("last", "f=last")
			s.build("r.hcl", 1, nil, "last")
			spoil(t, s)
			g := s.find(artifacts.Policy{Keep: 1})
			if len(g.Problems) == 0 {
				t.Fatal("no problem was seen")
			}
			if _, err := c.Collect(t.Context(), place, s.ground, g); !errors.Is(err, artifacts.ErrUnreadable) {
				t.Errorf("Collect = %v", err)
			}
			must[int64](t)(c.Stat(t.Context(), digest("old")))
			// Repair removes what is damaged, and then it can be told again what is needed.
			for _, p := range verify(t, c, place) {
				must[artifacts.Repaired](t)(c.Repair(t.Context(), place, p))
			}
			if g := s.find(artifacts.Policy{Keep: 1}); len(g.Problems) > 0 {
				t.Errorf("after repair: %+v", g.Problems)
			}
		})
	}
}

func (s *story) remove(name string) {
	s.t.Helper()
	if err := s.sw.Delete(s.t.Context(), name); err != nil {
		s.t.Fatal(err)
	}
}

func (s *story) set(name, val string) {
	s.t.Helper()
	_, v, _ := s.c.Get(s.t.Context(), name)
	must[artifacts.Version](s.t)(s.c.Set(s.t.Context(), name, []byte(val), v))
}
