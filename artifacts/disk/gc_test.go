package disk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

// collect is one collection that keeps nothing for its age.
func collect(ctx context.Context, s *disk.Store, keep int) (got artifacts.Collected, err error) {
	g, err := s.Collecting(ctx)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	c := artifacts.NewCache(s, s)
	found, err := c.FindGarbage(ctx, s, g, artifacts.Policy{Keep: keep, Now: time.Now()})
	if err != nil {
		return got, err
	}
	return c.Collect(ctx, s, g, found)
}

// smallBuild is a build of one stage; text is what it makes.
type smallBuild struct {
	s    *disk.Store
	c    *artifacts.Cache
	key  artifacts.Key
	text string
}

func action(n int) *artifacts.Action {
	return &artifacts.Action{
		Format: artifacts.ActionFormat, Kind: "test", Params: json.RawMessage("{}"), Salt: fmt.Sprint(n),
		Worker: artifacts.Sum([]byte("a worker")), Outputs: map[string]string{"out": "files"},
	}
}

// putAction stores the action with what it names.
func putAction(ctx context.Context, c *artifacts.Cache, n int) (artifacts.Key, error) {
	if _, err := c.PutBytes(ctx, artifacts.FileMediaType, []byte("a worker")); err != nil {
		return artifacts.Key{}, err
	}
	return c.PutAction(ctx, action(n))
}

// make publishes the key: one file comes from an output folder, one as bytes.
func (b *smallBuild) make(ctx context.Context, dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "own.txt"), []byte(b.text), 0o644); err != nil {
		return err
	}
	m, parts, err := b.output(ctx, dir)
	if err != nil {
		return err
	}
	blob, err := b.c.PutBytes(ctx, artifacts.FileMediaType, []byte("of "+b.text))
	if err != nil {
		return err
	}
	m.Files = append(m.Files, artifacts.File{Path: "shared.txt", Blob: blob})
	out, err := m.Part()
	if err != nil {
		return err
	}
	at := time.Now().UTC()
	_, _, err = b.c.Publish(ctx, &artifacts.Record{
		Key: b.key, Outputs: map[string]artifacts.Digest{"out": out.Digest}, Builder: "test", Started: at, Ended: at,
	}, append(parts, out)...)
	return err
}

// output is moved into the store or read into memory, as it happens.
func (b *smallBuild) output(ctx context.Context, dir string) (*artifacts.Manifest, []artifacts.Part, error) {
	if rand.N(2) == 0 {
		m, err := b.s.AdoptTree(ctx, dir, "files", nil)
		return m, nil, err
	}
	return readAsParts(ctx, b.s, dir)
}

// use reads every byte of the result.
func (b *smallBuild) use(ctx context.Context, rec *artifacts.Record) error {
	m, err := b.c.Manifest(ctx, rec.Outputs["out"])
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		r, err := b.s.Open(ctx, f.Digest, 0, -1)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		text, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
		if !strings.HasSuffix(string(text), b.text) {
			return fmt.Errorf("%s holds %q instead of %q", f.Path, text, b.text)
		}
	}
	return nil
}

// runOne is a whole build with a Store of its own, as each process has one.
func runOne(ctx context.Context, cache string, n int, hits *atomic.Int64) (err error) {
	s, err := disk.Open(cache)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.BeginBuild(); err != nil {
		return err
	}
	b := &smallBuild{s: s, c: artifacts.NewCache(s, s), text: fmt.Sprint("text ", n%8)} // keys share files
	if _, b.key, err = action(n).Encode(); err != nil {
		return err
	}
	rec, _, err := b.c.Lookup(ctx, b.key)
	switch {
	case err == nil:
		hits.Add(1)
	case errors.Is(err, artifacts.ErrMissing):
		ws, err := s.Workspace(artifacts.Key(artifacts.Sum([]byte(s.Dir()+randomName()))), 1)
		if err != nil {
			return err
		}
		out := filepath.Join(ws.Dir, "out")
		_, err = putAction(ctx, b.c, n)
		if err := errors.Join(err, os.Mkdir(out, 0o755), b.make(ctx, out), ws.Close()); err != nil {
			return err
		}
		if rec, _, err = b.c.Lookup(ctx, b.key); err != nil {
			return fmt.Errorf("just published: %w", err)
		}
	default:
		return err
	}
	return errors.Join(b.use(ctx, rec), b.use(ctx, rec))
}

func randomName() string { return fmt.Sprint(rand.Uint64()) }

// soakFor is the length of the short form.
func soakFor(short time.Duration) time.Duration {
	if os.Getenv("TINFRA_SOAK") != "" {
		return 10 * time.Minute
	}
	return short
}

// TestSoakCollectBesidePublishers: what a build has found or published is there to its end, though two collectors at once
// keep nothing that is not held. Many short builds over few keys and fewer files, so that each moment of one meets each of the other.
func TestSoakCollectBesidePublishers(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithTimeout(t.Context(), soakFor(3*time.Second))
	defer stop()
	var workers sync.WaitGroup
	var builds, hits, gone, spared atomic.Int64
	for i := range 4 {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for ctx.Err() == nil {
				if err := runOne(context.WithoutCancel(ctx), dir, random.IntN(24), &hits); err != nil {
					t.Error(err)
					stop()
				}
				builds.Add(1)
			}
		})
	}
	for range 2 {
		workers.Go(func() {
			s := open(t, dir)
			for ctx.Err() == nil {
				got, err := collect(context.WithoutCancel(ctx), s, 0)
				if err == nil || errors.Is(err, disk.ErrCollecting) { // the other one, whenever this one looked
					err = s.SweepWork(context.WithoutCancel(ctx))
				}
				if err != nil {
					t.Error(err)
					stop()
				}
				gone.Add(int64(got.Results))
				spared.Add(int64(got.Spared))
			}
		})
	}
	workers.Wait()
	t.Logf("%d builds, %d of them hits; %d results collected, %d spared", builds.Load(), hits.Load(), gone.Load(), spared.Load())
	if hits.Load() == 0 || gone.Load() == 0 {
		t.Error("nothing met: too few hits or collections")
	}
	sound(t, dir)
}

func sound(t *testing.T, dir string) {
	t.Helper()
	s := open(t, dir)
	err := artifacts.NewCache(s, s).Verify(t.Context(), s, func(p artifacts.Problem) { t.Errorf("%s %s: %s", p.Kind, p.Name, p.Detail) })
	must(t, err)
}

// garbageOf makes one result that no build needs and plans to collect it.
type planned struct {
	s      *disk.Store
	c      *artifacts.Cache
	ground *disk.Ground
	found  *artifacts.Garbage
	key    artifacts.Key
	file   artifacts.Digest // of the result
}

func planOne(t *testing.T) *planned {
	t.Helper()
	s := open(t, t.TempDir())
	p := &planned{s: s, c: artifacts.NewCache(s, s)}
	b := &smallBuild{s: s, c: p.c, text: "garbage"}
	var err error
	b.key, err = putAction(t.Context(), p.c, 1)
	must(t, err, b.make(t.Context(), outputFolder(t, s)))
	p.key, p.file = b.key, artifacts.Sum([]byte("garbage"))
	p.ground, err = s.Collecting(t.Context())
	must(t, err)
	t.Cleanup(func() { p.ground.Close() })
	p.found, err = p.c.FindGarbage(t.Context(), s, p.ground, artifacts.Policy{Now: time.Now()})
	must(t, err)
	if len(p.found.Results) != 1 || p.found.Results[0].Need != "" || len(p.found.Blobs) != 2 {
		t.Fatalf("the plan is %+v", p.found)
	}
	return p
}

func outputFolder(t testing.TB, s *disk.Store) string {
	t.Helper()
	dir := filepath.Join(s.Dir(), "tmp", "out-"+randomName())
	must(t, os.Mkdir(dir, 0o755))
	return dir
}

func (p *planned) collect(t *testing.T) artifacts.Collected {
	t.Helper()
	got, err := p.c.Collect(t.Context(), p.s, p.ground, p.found)
	must(t, err)
	return got
}

// another is a Store of the same cache in which a build has begun, as in another process.
func (p *planned) another(t testing.TB) (*disk.Store, *artifacts.Cache) {
	t.Helper()
	s := open(t, p.s.Dir())
	must(t, s.BeginBuild())
	return s, artifacts.NewCache(s, s)
}

func TestCollect(t *testing.T) {
	p := planOne(t)
	if got := p.collect(t); got.Results != 1 || got.Blobs != 2 {
		t.Errorf("collected %+v", got)
	}
	if _, _, err := p.c.Lookup(t.Context(), p.key); !errors.Is(err, artifacts.ErrMissing) {
		t.Errorf("Lookup = %v", err)
	}
	sound(t, p.s.Dir())
}

// What a build comes to rely on between the plan and its end, in each of the ways in which it can.
func TestCollectSparesWhatIsReliedOnSince(t *testing.T) {
	for name, rely := range map[string]func(t *testing.T, p *planned, s *disk.Store, c *artifacts.Cache){
		"a hit": func(t *testing.T, p *planned, _ *disk.Store, c *artifacts.Cache) {
			_, _, err := c.Lookup(t.Context(), p.key)
			must(t, err)
		},
		"an output of the same bytes": func(t *testing.T, _ *planned, s *disk.Store, c *artifacts.Cache) {
			key, err := putAction(t.Context(), c, 2)
			must(t, err, (&smallBuild{s: s, c: c, key: key, text: "garbage"}).make(t.Context(), outputFolder(t, s)))
		},
		"bytes that are there": func(t *testing.T, p *planned, _ *disk.Store, c *artifacts.Cache) {
			_, err := c.PutBytes(t.Context(), artifacts.FileMediaType, []byte("garbage"))
			must(t, err)
		},
		"bytes that came again": func(t *testing.T, p *planned, s *disk.Store, _ *artifacts.Cache) {
			must(t, s.Put(t.Context(), artifacts.Blob{Digest: p.file, Size: 7}, strings.NewReader("garbage")))
		},
		"a local file": func(t *testing.T, p *planned, s *disk.Store, _ *artifacts.Cache) {
			dir := t.TempDir()
			must(t, os.WriteFile(filepath.Join(dir, "x"), []byte("garbage"), 0o644))
			m, err := s.Files().Manifest(t.Context(), dir, []string{"x"})
			must(t, err, s.Files().Import(t.Context(), m, dir))
		},
	} {
		for _, ended := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, ended %t", name, ended), func(t *testing.T) {
				p := planOne(t)
				s, c := p.another(t)
				rely(t, p, s, c)
				if ended { // its registration must outlive it, since the plan knows nothing of what it has published
					must(t, s.Close())
				}
				must(t, p.s.SweepWork(t.Context()))
				p.collect(t)
				if _, err := p.s.Stat(t.Context(), p.file); err != nil {
					t.Errorf("the file is gone: %v", err)
				}
				sound(t, p.s.Dir())
			})
		}
	}
}

// A build that looks while names are being deleted sees either all of a result or none of it: it waits.
func TestCollectKeepsBuildsWaitingForAMoment(t *testing.T) {
	for _, step := range []string{artifacts.StepCollectKey, artifacts.StepCollectBlob} {
		t.Run(step, func(t *testing.T) {
			p := planOne(t)
			s, c := p.another(t)
			// Both go in one part, and the hook is called after the first of them.
			second := p.found.Blobs[1].Digest
			there := make(chan bool, 1)
			var looking sync.WaitGroup
			artifacts.Crash = func(at string) {
				if at != step {
					return
				}
				looking.Go(func() {
					if err := s.Hold(t.Context(), second); err != nil {
						t.Error(err)
					}
					_, err := c.Stat(t.Context(), second)
					there <- err == nil
				})
				select {
				case seen := <-there:
					there <- seen
				case <-time.After(200 * time.Millisecond): // it waits, as it should
				}
			}
			defer func() { artifacts.Crash = nil }()
			p.collect(t)
			looking.Wait()
			seen := <-there
			if _, err := p.s.Stat(t.Context(), second); (err == nil) != seen {
				t.Errorf("a build saw the file: %t; afterwards: %v", seen, err)
			}
		})
	}
}

// A dead build's half-published output is the next one's.
func TestCollectSparesWhatAWorkspaceHasAdopted(t *testing.T) {
	s := open(t, t.TempDir())
	c := artifacts.NewCache(s, s)
	ws, err := s.Workspace(artifacts.Key(artifacts.Sum([]byte("k"))), 1)
	must(t, err)
	out := filepath.Join(ws.Dir, "out")
	must(t, os.Mkdir(out, 0o755), os.WriteFile(filepath.Join(out, "x"), []byte("hours of work"), 0o644))
	m, err := s.AdoptTree(t.Context(), out, "files", nil)
	must(t, err)
	code, _, err := m.Encode()
	must(t, err)
	log, err := c.PutBytes(t.Context(), artifacts.LogMediaType, []byte("what it said"))
	must(t, err)
	rec, _, err := (&artifacts.Record{
		Key: artifacts.Key(artifacts.Sum([]byte("k"))), Outputs: map[string]artifacts.Digest{"out": artifacts.Sum(code)}, Log: log.Digest,
		Builder: "test", Started: time.Now().UTC(), Ended: time.Now().UTC(),
	}).Encode()
	must(t, err)
	notes, err := json.Marshal(map[string]json.RawMessage{"out": code, "/record": rec})
	must(t, err, os.WriteFile(filepath.Join(ws.Dir, "adopted.json"), notes, 0o644), ws.Release())
	file := m.Files[0].Digest

	_, err = collect(t.Context(), s, 0)
	must(t, err)
	if _, err := s.Stat(t.Context(), file); err != nil {
		t.Errorf("its blob is gone: %v", err)
	}
	if _, err := s.Stat(t.Context(), log.Digest); err != nil {
		t.Errorf("the log that its record names is gone: %v", err)
	}
	// Its time as garbage comes with the workspace's end.
	ws, err = s.Workspace(artifacts.Key(artifacts.Sum([]byte("k"))), 1)
	must(t, err, ws.Close())
	_, err = collect(t.Context(), s, 0)
	must(t, err)
	if _, err := c.Stat(t.Context(), file); !errors.Is(err, artifacts.ErrMissing) {
		t.Errorf("nothing needs it, and it is there: %v", err)
	}
}

// A clock that was set back makes files come from the future: they are young, not old.
func TestCollectSparesTheFuture(t *testing.T) {
	p := planOne(t)
	found, err := p.c.FindGarbage(t.Context(), p.s, p.ground, artifacts.Policy{Now: time.Now().Add(-48 * time.Hour), Grace: time.Hour})
	must(t, err)
	if len(found.Blobs) != 0 || found.Results[0].Need != artifacts.NeedYoung {
		t.Errorf("the plan is %+v", found)
	}
}

func TestLeasesAreHeldByTheLiving(t *testing.T) {
	s := open(t, t.TempDir())
	dead, alive := artifacts.Sum([]byte("dead")), artifacts.Sum([]byte("alive"))
	release, err := s.Lease(t.Context(), artifacts.Key(alive), []byte("me"), nil)
	must(t, err, os.WriteFile(filepath.Join(s.Dir(), "leases", dead.Hex()), []byte("who died"), 0o644))
	held, err := s.Ground().Held(t.Context())
	must(t, err, release())
	if !held[alive] || held[dead] {
		t.Errorf("held: %v", held)
	}
}

func TestOneCollectionAtATime(t *testing.T) {
	p := planOne(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if g, err := open(t, p.s.Dir()).Collecting(ctx); err == nil {
		t.Error("two collections at once", g.Close())
	}
	if err := p.s.Ground().Still(t.Context(), nil); err == nil {
		t.Error("a look may delete")
	}
}

func TestLookForgetsEndedBuilds(t *testing.T) {
	s := open(t, t.TempDir())
	d := artifacts.Sum([]byte("x"))
	for _, ended := range []bool{false, true} {
		other := open(t, s.Dir())
		must(t, other.BeginBuild(), other.Hold(t.Context(), d))
		if ended {
			must(t, other.Close())
		}
		look := s.Ground()
		held, err := look.Held(t.Context())
		must(t, err)
		if held[d] == ended || look.Builds() != map[bool]int{false: 1}[ended] {
			t.Errorf("ended %t: held %t, %d builds", ended, held[d], look.Builds())
		}
		must(t, other.Close())
	}
	if left, err := filepath.Glob(filepath.Join(s.Dir(), "running", "*")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}
