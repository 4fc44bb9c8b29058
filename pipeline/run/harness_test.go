package run_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/graph"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
	"github.com/Ruihan11/tiny-infra/pipeline/run/local"
	"github.com/Ruihan11/tiny-infra/stages"
)

// The test binary is its own tinfra, with the verb of supervisors.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == local.Verb {
		syscall.Exit(local.Supervise(os.Args[2])) // without the race detector's second at the end
	}
	os.Exit(m.Run())
}

// kinds is a folder of stage kinds whose workers are shell scripts, or Python where their env is "python".
type kinds map[string]kind

type kind struct {
	head   string // of stage.hcl, beside kind, doc and command
	worker string // sh
}

// done ends a worker's script: its result.
const done = `
echo '{"protocol":1}' > tmp/r; mv tmp/r result.json
`

// hello makes one output.
const hello = `echo hello > out/files/greeting` + "\n" + done

const filesOut = `output "files" { 
  type = "files" 
  doc = "x" 
}
`

func (ks kinds) catalog(t testing.TB) *stages.Catalog {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, k := range ks {
		head := "kind = \"" + name + "\"\ndoc = \"A test.\"\n"
		if strings.Contains(k.head, "env = \"python\"") {
			fsys["env/python/env.hcl"] = &fstest.MapFile{}
			fsys[name+"/worker.py"] = &fstest.MapFile{Data: []byte(k.worker)}
		} else if !strings.Contains(k.head, "native") {
			head += "command = [\"/bin/sh\", \"{dir}/worker.sh\"]\n"
			fsys[name+"/worker.sh"] = &fstest.MapFile{Data: []byte(k.worker)}
		}
		if !strings.Contains(k.head, "determinism") {
			head += "determinism = \"exact\"\n"
		}
		if !strings.Contains(k.head, "output ") {
			head += filesOut
		}
		fsys[name+"/stage.hcl"] = &fstest.MapFile{Data: []byte(head + k.head)}
	}
	builtin, err := stages.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	c := &stages.Catalog{SDK: builtin.SDK}
	if diags := c.Add(fsys, "kinds"); diags.HasErrors() {
		t.Fatal(diags)
	}
	return c
}

// bench is a cache, a recipe and what a build of it takes.
type bench struct {
	t       testing.TB
	dir     string
	store   *disk.Store
	cache   *artifacts.Cache
	kinds   kinds
	recipe  string
	facts   map[string]string
	seen    *recorder
	options run.Options
	force   []string
	vars    map[string]string
	envs    *machinePython
}

func newBench(t testing.TB, ks kinds, text string) *bench {
	t.Helper()
	return benchAt(t, t.TempDir(), ks, text)
}

func benchAt(t testing.TB, dir string, ks kinds, text string) *bench {
	t.Helper()
	store, err := disk.Open(filepath.Join(dir, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &bench{
		t: t, dir: dir, store: store, cache: artifacts.NewCache(store, store), kinds: ks, recipe: text, seen: &recorder{added: make(chan struct{})},
		facts: map[string]string{"os": "linux", "cpu.count": "4", "memory_gib": "8", "gpu.count": "0"},
	}
	b.envs = &machinePython{}
	b.options = run.Options{
		Cache: b.cache, Workspaces: workspaces{store}, Layer: layer{store}, Adopter: store, Leaser: store, Envs: b.envs,
		Checkpoints: store, Executor: local.New(local.Options{}), Grace: 300 * time.Millisecond, Builder: "test",
	}
	return b
}

// makePlan reads the recipe anew, as each build does.
func (b *bench) makePlan() *plan.Plan {
	b.t.Helper()
	path := filepath.Join(b.dir, "r.hcl")
	if err := os.WriteFile(path, []byte(b.recipe), 0o600); err != nil {
		b.t.Fatal(err)
	}
	catalog := b.kinds.catalog(b.t)
	r, diags := recipe.Load(path, recipe.Options{Catalog: catalog, Vars: b.vars})
	if diags.HasErrors() {
		b.t.Fatal(diags)
	}
	g, diags := graph.Build(r)
	if diags.HasErrors() {
		b.t.Fatal(diags)
	}
	p, err := plan.Make(b.t.Context(), g, plan.Options{
		Cache: b.cache, Catalog: catalog, Files: b.store.Files(), Envs: b.envs, Facts: b.facts, Force: b.forced,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bench) forced(address string) bool { return slices.Contains(b.force, address) }

// build returns the Build as it is stored.
func (b *bench) build(ctx context.Context) (*artifacts.Build, error) {
	b.t.Helper()
	made, err := b.execute(ctx, b.makePlan())
	stored, serr := b.cache.Build(context.WithoutCancel(ctx), made.ID)
	if serr != nil {
		b.t.Fatalf("the build is not stored: %v", serr)
	}
	var failed *run.Error
	if err != nil && (!errors.As(err, &failed) || failed.Exit != stored.Exit) || err == nil && stored.Exit != 0 {
		b.t.Fatalf("the build ended with %v, and its exit is stored as %d", err, stored.Exit)
	}
	b.nothingLeft()
	return stored, err
}

func (b *bench) execute(ctx context.Context, p *plan.Plan) (*artifacts.Build, error) {
	b.seen.reset()
	o := b.options
	o.Facts, o.Force = b.facts, b.forced
	o.Events = event.NewBus(b.seen)
	defer o.Events.Close()
	return run.Execute(ctx, p, o)
}

// ok is a build that must end well; its steps come as address → state.
func (b *bench) ok() map[string]artifacts.Step {
	b.t.Helper()
	made, err := b.build(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return steps(made)
}

// fails is a build that must end with that exit code and say all of these things.
func (b *bench) fails(exit int, says ...string) map[string]artifacts.Step {
	b.t.Helper()
	made, err := b.build(b.t.Context())
	if err == nil || made.Exit != exit {
		b.t.Fatalf("exit %d, %v; want %d", made.Exit, err, exit)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			b.t.Errorf("the error says\n%v\nand not %q", err, s)
		}
	}
	return steps(made)
}

func steps(made *artifacts.Build) map[string]artifacts.Step {
	out := map[string]artifacts.Step{}
	for _, s := range made.Steps {
		out[s.Address] = s
	}
	return out
}

// nothingLeft: a build that has ended leaves no workspace, whatever became of it.
func (b *bench) nothingLeft() {
	b.t.Helper()
	left, err := filepath.Glob(filepath.Join(b.store.Dir(), "work", "*", "*"))
	if err != nil || len(left) > 0 {
		b.t.Errorf("workspaces are left: %v %v", left, err)
	}
}

func (b *bench) states(want map[string]artifacts.State, got map[string]artifacts.Step) {
	b.t.Helper()
	for address, state := range want {
		if got[address].State != state {
			b.t.Errorf("%s is %s (%s), want %s", address, got[address].State, got[address].Reason, state)
		}
	}
}

func (b *bench) record(s artifacts.Step) *artifacts.Record {
	b.t.Helper()
	rec, err := b.cache.Record(b.t.Context(), s.Record)
	if err != nil {
		b.t.Fatalf("%s has no record: %v", s.Address, err)
	}
	return rec
}

func (b *bench) log(s artifacts.Step) string {
	b.t.Helper()
	text, err := b.cache.GetBytes(b.t.Context(), s.Log)
	if err != nil {
		b.t.Fatalf("%s has no log: %v", s.Address, err)
	}
	return string(text)
}

func (b *bench) noRecord(key artifacts.Key) {
	b.t.Helper()
	if _, _, err := b.cache.Lookup(b.t.Context(), key); !errors.Is(err, artifacts.ErrMissing) {
		b.t.Errorf("something was published: %v", err)
	}
}

// path is a file that scripts and the test share.
func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) read(name string) string {
	text, err := os.ReadFile(b.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.t.Fatal(err)
	}
	return string(text)
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// recorder keeps all events, and lets a test wait for one.
type recorder struct {
	mu     sync.Mutex
	events []event.Event
	added  chan struct{}
}

func (r *recorder) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.added)
	r.events, r.added = nil, make(chan struct{})
}

func (r *recorder) Event(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	close(r.added)
	r.added = make(chan struct{})
}

func (r *recorder) all() ([]event.Event, chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events), r.added
}

func (r *recorder) text() string {
	all, _ := r.all()
	text, err := json.Marshal(all)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// await waits for an event.
func (r *recorder) await(ctx context.Context, is func(event.Event) bool) error {
	for {
		all, more := r.all()
		if slices.ContainsFunc(all, is) {
			return nil
		}
		select {
		case <-more:
		case <-time.After(30 * time.Second):
			return fmt.Errorf("in vain; seen: %s", r.text())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// eventually looks again and again: for what another process does, which no channel tells us.
func eventually(t testing.TB, what string, yes func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(30 * time.Second); !yes(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("in vain: ", what)
		}
	}
}

// gone tells whether the processes whose pids a file holds have ended.
func gone(t testing.TB, text string) bool {
	t.Helper()
	for _, word := range strings.Fields(text) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !strings.Contains(string(stat), ") Z ") {
			return false
		}
	}
	return true
}

func sortedText[V any](m map[string]V) string { return fmt.Sprint(slices.Sorted(maps.Keys(m))) }
