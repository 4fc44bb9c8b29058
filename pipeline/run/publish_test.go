package run_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// searchCache looks for texts in every file below the cache.
func (b *bench) searchCache(texts ...string) {
	b.t.Helper()
	files := 0
	err := filepath.WalkDir(b.store.Dir(), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		for _, s := range texts {
			if strings.Contains(string(content), s) || strings.Contains(path, s) {
				b.t.Errorf("%s holds %q: %s", path, s, content)
			}
		}
		return err
	})
	if err != nil || files < 5 {
		b.t.Fatalf("%d files were searched: %v", files, err)
	}
}

func divergent(dir, determinism string) kinds {
	return kinds{"roll": {"determinism = \"" + determinism + "\"\n", `echo ran >> ` + dir + `/ran; cp ` + dir + `/ran out/files/dice` + done}}
}

func TestAnExactKindMayNotDiffer(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, divergent(dir, "exact"), `stage "roll" "a" {}`)
	first := b.ok()
	b.force = []string{"roll.a"}
	b.fails(run.ExitStage, "kind roll is declared exact", "files is ")
	b.force = nil
	if again := b.ok(); again["roll.a"].Record != first["roll.a"].Record {
		t.Error("the earlier result did not stay")
	}
}

func TestAStatisticalKindMayDifferAndTheFirstWins(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, divergent(dir, "statistical"), `stage "roll" "a" {}`)
	first := b.ok()
	b.force = []string{"roll.a"}
	second := b.ok()
	b.states(map[string]artifacts.State{"roll.a": "ran"}, second)
	if second["roll.a"].Record != first["roll.a"].Record {
		t.Error("the first did not win")
	}
	diverged := 0
	for name, err := range b.cache.List(t.Context(), "runs/"+first["roll.a"].Key.Hex()+"/", "") {
		if err != nil {
			t.Fatal(err)
		}
		d, err := artifacts.ParseHex(filepath.Base(name))
		if err != nil {
			t.Fatal(err)
		}
		rec, err := b.cache.Record(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Observed["diverged_from"] == first["roll.a"].Record.String() {
			diverged++
		}
	}
	if diverged != 1 {
		t.Errorf("%d records say that they diverged", diverged)
	}
}

func TestForceOfAnExactKindThatAgrees(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, chain(dir), chainRecipe)
	b.ok()
	b.force = []string{"make.a"}
	b.states(map[string]artifacts.State{"make.a": "ran", "use.b": "hit"}, b.ok())
}

// lockFile is a lock in memory.
type lockFile struct {
	mu      sync.Mutex
	entries map[string]*recipe.Source
	added   int
}

func (l *lockFile) Entry(source string) (*recipe.Source, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries[source], nil
}

func (l *lockFile) Add(_ context.Context, e *recipe.Source) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries[e.Source] = e
	l.added++
	return nil
}

func fetching(dir string) kinds {
	return kinds{"fetch": {`
network = true
param "source" {
  type = string
  source = true
  doc = "x"
}
param "only" {
  type = string
  default = ""
  doc = "x"
}
output "files" {
  type = "files"
  pinned = true
  doc = "x"
}
`, `cp request.json ` + dir + `/request; cp ` + dir + `/remote out/files/data
echo ran >> ` + dir + `/ran
echo '{"protocol":1,"resolved":{"commit":"abc"}}' > tmp/r; mv tmp/r result.json
`}}
}

const fetchRecipe = `stage "fetch" "a" { source = "https://example.org/data" }`

func TestAnUnlockedDownloadIsLocked(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, fetching(dir), fetchRecipe)
	lock := &lockFile{entries: map[string]*recipe.Source{}}
	b.options.Lock = lock
	b.write("remote", "bytes")
	got := b.ok()
	b.states(map[string]artifacts.State{"fetch.a": "ran"}, got)
	entry := lock.entries["https://example.org/data"]
	sum := sha256.Sum256([]byte("bytes"))
	want := recipe.Pin{Path: "data", SHA256: hex.EncodeToString(sum[:]), Size: 5}
	if entry == nil || len(entry.Files) != 1 || entry.Files[0] != want || entry.Resolved["commit"] != "abc" {
		t.Fatalf("locked %+v", entry)
	}
	if r := b.read("request"); !strings.Contains(r, `"source":"https://example.org/data"`) || strings.Contains(r, "pins") {
		t.Errorf("request %s", r)
	}
	if rec := b.record(got["fetch.a"]); rec.Key != got["fetch.a"].Key || rec.Key.IsZero() {
		t.Errorf("record of key %v, step %v", rec.Key, got["fetch.a"].Key)
	}

	// Locked now: a hit; and with the cache's record gone, the pins are asked for and compared.
	if err := recipe.WriteLock(&recipe.Lock{Path: recipe.LockPath(b.path("r.hcl")), Sources: lock.entries}); err != nil {
		t.Fatal(err)
	}
	b.options.Locked = true
	if again := b.ok(); again["fetch.a"].State != artifacts.Hit || again["fetch.a"].Key != got["fetch.a"].Key {
		t.Errorf("step %+v", again["fetch.a"])
	}
	b.force = []string{"fetch.a"}
	b.write("remote", "other")
	b.fails(run.ExitStage, "the download is not what the lock pins: data has sha256")
	if r := b.read("request"); !strings.Contains(r, `"pins":[{"path":"data"`) || !strings.Contains(r, `"resolved":{"commit":"abc"}`) || strings.Contains(r, `"params":{"only":"","pins"`) {
		t.Errorf("request %s", r)
	}
}

func TestLockedRefusesWhatIsNotLocked(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, fetching(dir), fetchRecipe)
	b.options.Locked = true
	b.fails(run.ExitRecipe, "r.hcl:1: Source is not locked", "https://example.org/data")
	if b.read("ran") != "" {
		t.Error("it ran")
	}
}

func TestTheSameUnlockedSourceIsFetchedOnce(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, fetching(dir), fetchRecipe+`
stage "fetch" "again" { source = "https://example.org/data" }
stage "fetch" "part" { 
  source = "https://example.org/data"
  only = "x"
}
`)
	lock := &lockFile{entries: map[string]*recipe.Source{}}
	b.options.Lock, b.options.Jobs = lock, 1
	b.write("remote", "bytes")
	got := b.ok()
	b.states(map[string]artifacts.State{"fetch.a": "ran", "fetch.again": "hit", "fetch.part": "ran"}, got)
	if got["fetch.again"].Key != got["fetch.a"].Key || got["fetch.part"].Key == got["fetch.a"].Key {
		t.Errorf("keys %+v", got)
	}
	if b.read("ran") != "ran\nran\n" {
		t.Errorf("ran %q", b.read("ran"))
	}
}

func TestWhatAnotherRecipesSourceOfThatNameLeftIsNotTaken(t *testing.T) {
	ks := fetching("")
	ks["fetch"] = kind{ks["fetch"].head, `from=$(sed 's/.*"recipe_dir":"\([^"]*\)".*/\1/' request.json)
cp "$from/remote" out/files/data
` + done}
	first := benchAt(t, t.TempDir(), ks, `stage "fetch" "a" { source = "file:remote" }`)
	first.write("remote", "mine")
	first.killed(first.startDoomed(artifacts.StepAdoptTaken))

	second := benchAt(t, t.TempDir(), ks, first.recipe)
	second.cache, second.options = first.cache, first.options
	lock := &lockFile{entries: map[string]*recipe.Source{}}
	second.options.Lock = lock
	second.write("remote", "other")
	second.states(map[string]artifacts.State{"fetch.a": "ran"}, second.ok())
	sum := sha256.Sum256([]byte("other"))
	if e := lock.entries["file:remote"]; e == nil || e.Files[0].SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("locked %+v", e)
	}
}

// doorkeeper lets no name be set until somebody opens.
type doorkeeper struct {
	*disk.Store
	open chan struct{}
}

func (d doorkeeper) Set(ctx context.Context, name string, val []byte, old artifacts.Version) (artifacts.Version, error) {
	<-d.open
	return d.Store.Set(ctx, name, val, old)
}

// What waits for the disk holds no resources: the next stage runs meanwhile, even where there is one job.
func TestPublishingHoldsNoResources(t *testing.T) {
	b := newBench(t, kinds{"one": {worker: hello}, "two": {worker: hello}}, "stage \"one\" \"a\" {}\nstage \"two\" \"b\" {}\n")
	b.options.Jobs = 1
	door := doorkeeper{b.store, make(chan struct{})}
	// Bytes and names in two places are not flushed together: else the next stage's action could come into the flush after the one that waits.
	b.options.Cache = artifacts.NewCache(b.store, door)
	var opened sync.WaitGroup
	opened.Go(func() {
		defer close(door.open)
		for _, stage := range []string{"one.a", "two.b"} {
			err := b.seen.await(t.Context(), func(e event.Event) bool { return e.Stage == stage && e.Type == event.Started })
			if err != nil {
				t.Error(err)
			}
		}
	})
	b.states(map[string]artifacts.State{"one.a": artifacts.Ran, "two.b": artifacts.Ran}, b.ok())
	opened.Wait()
}
