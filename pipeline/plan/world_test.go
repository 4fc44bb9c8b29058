package plan_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
	"github.com/Ruihan11/tiny-infra/pipeline/graph"
	"github.com/Ruihan11/tiny-infra/pipeline/plan"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages"
)

// toolsBlob has the shape that stages/env writes.
const toolsBlob = `{"arch":"x86_64","lock":["numpy==2.4.5 --hash=sha256:aa --hash=sha256:ab",` +
	`"scipy==1.0 ; python_version < \"3.14\" --hash=sha256:cc"],"native":[],"os":"linux","python":"3.13"}`

// world is everything that a plan is made against; a test changes one thing of it and looks at the keys.
type world struct {
	dir      string
	file     string // base name of the recipe
	recipe   string // text before the target's block
	target   block  // rendered at the end of the recipe, when it has a kind
	kinds    fstest.MapFS
	sdk      fstest.MapFS
	loaded   *stages.Catalog // read when first needed
	builtin  bool            // loaded is that of the binary, which no edit changes
	envs     map[string]string
	facts    map[string]string
	environ  map[string]string
	sources  map[string][]recipe.Pin
	cache    *artifacts.Cache
	previous *artifacts.Build
	force    map[string]bool
	salt     map[string]string // address → what its outputs hold in place of the key
	unmade   map[string]bool   // address.port of optional outputs that a run leaves out
	builds   int
}

// block is a stage whose lines a test can point at.
type block struct {
	kind, name string
	attrs      []attr
}

type attr struct{ name, text string }

func (b block) address() string { return b.kind + "." + b.name }

func (b block) header() string { return fmt.Sprintf("stage %q %q {", b.kind, b.name) }

func (b block) String() string {
	var s strings.Builder
	s.WriteString(b.header() + "\n")
	for _, a := range b.attrs {
		fmt.Fprintf(&s, "  %s = %s\n", a.name, a.text)
	}
	s.WriteString("}\n")
	return s.String()
}

func (b *block) set(name, text string) {
	b.attrs = slices.Clone(b.attrs)
	for i := range b.attrs {
		if b.attrs[i].name == name {
			b.attrs[i].text = text
			return
		}
	}
	b.attrs = append(b.attrs, attr{name, text})
}

func newWorld(t testing.TB) *world {
	t.Helper()
	store := mem.New()
	w := &world{
		dir:     t.TempDir(),
		file:    "r.hcl",
		kinds:   handMade(),
		sdk:     fstest.MapFS{"tinfra_worker/__init__.py": {Data: []byte("VERSION = 1\n")}},
		envs:    map[string]string{"tools": toolsBlob},
		facts:   map[string]string{"gpu.arch": "sm_90", "cpu.model": "c1", "unused": "1"},
		environ: map[string]string{"A_VAR": "a", "B_VAR": "b", "HOME": "/home/a"},
		sources: map[string][]recipe.Pin{},
		cache:   artifacts.NewCache(store, store),
		force:   map[string]bool{},
		salt:    map[string]string{},
		unmade:  map[string]bool{},
	}
	w.program(t, "tool", "#!/bin/sh\necho 1\n")
	return w
}

// clone shares the cache and the earlier builds; everything else may be changed without touching w.
func (w *world) clone() *world {
	c := *w
	if !w.builtin {
		c.loaded = nil
	}
	c.kinds, c.sdk = maps.Clone(w.kinds), maps.Clone(w.sdk)
	c.envs, c.facts, c.environ = maps.Clone(w.envs), maps.Clone(w.facts), maps.Clone(w.environ)
	c.sources, c.force, c.salt, c.unmade = maps.Clone(w.sources), maps.Clone(w.force), maps.Clone(w.salt), maps.Clone(w.unmade)
	c.target.attrs = slices.Clone(w.target.attrs)
	return &c
}

// program puts an executable into a folder of its own, which becomes PATH.
func (w *world) program(t testing.TB, name, text string) {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	w.environ["PATH"] = bin
}

func (w *world) write(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (w *world) text() string {
	if w.target.kind == "" {
		return w.recipe
	}
	return w.recipe + w.target.String()
}

// line of the target's attribute in the recipe, or of its header.
func (w *world) line(attribute string) int {
	text := w.text()
	at := strings.Index(text, w.target.header())
	if attribute != "" {
		at += strings.Index(text[at:], "\n  "+attribute+" = ") + 1
	}
	return strings.Count(text[:at], "\n") + 1
}

func (w *world) catalog(t testing.TB) *stages.Catalog {
	t.Helper()
	if w.loaded == nil {
		c := &stages.Catalog{SDK: w.sdk}
		if diags := c.Add(w.kinds, "kinds"); diags.HasErrors() {
			t.Fatal(diags)
		}
		w.loaded = c
	}
	return w.loaded
}

// Blob makes world the Environments of its plans.
func (w *world) Blob(_ context.Context, name string) ([]byte, error) {
	b, ok := w.envs[name]
	if !ok {
		return nil, fmt.Errorf("no environment %s", name)
	}
	return []byte(b), nil
}

// Manifest makes world the Files of its plans; it hashes every time.
func (w *world) Manifest(_ context.Context, dir string, paths []string) (*artifacts.Manifest, error) {
	m := &artifacts.Manifest{Type: "files"}
	for _, p := range paths {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(p)))
		if err != nil {
			return nil, err
		}
		m.Files = append(m.Files, artifacts.File{Path: p, Blob: artifacts.Blob{Digest: artifacts.Sum(b), Size: int64(len(b))}})
	}
	return m, nil
}

func (w *world) graph(t testing.TB) *graph.Graph {
	t.Helper()
	w.write(t, w.file, w.text())
	r, diags := recipe.Load(filepath.Join(w.dir, w.file), recipe.Options{Catalog: w.catalog(t)})
	if diags.HasErrors() {
		t.Fatalf("%v\n%s", diags, w.text())
	}
	r.Lock = &recipe.Lock{Sources: map[string]*recipe.Source{}}
	for src, pins := range w.sources {
		r.Lock.Sources[src] = &recipe.Source{Source: src, Files: pins}
	}
	g, diags := graph.Build(r)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return g
}

func (w *world) options(t testing.TB) plan.Options {
	return plan.Options{
		Cache: w.cache, Catalog: w.catalog(t), Envs: w, Files: w, Facts: w.facts, Previous: w.previous,
		Force:     func(address string) bool { return w.force[address] },
		LookupEnv: func(name string) (string, bool) { v, ok := w.environ[name]; return v, ok },
	}
}

func (w *world) make(t testing.TB) (*plan.Plan, error) {
	t.Helper()
	return plan.Make(t.Context(), w.graph(t), w.options(t))
}

func (w *world) plan(t testing.TB) *plan.Plan {
	t.Helper()
	p, err := w.make(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, w.text())
	}
	return p
}

// build does what a build does, short of starting workers: it says what each step became.
func (w *world) build(t testing.TB) (*plan.Plan, map[string]artifacts.State) {
	t.Helper()
	p := w.plan(t)
	became := map[string]artifacts.State{}
	w.builds++
	b := &artifacts.Build{
		ID: fmt.Sprintf("20300101T000000Z-%06d", w.builds), RecipePath: filepath.Join(w.dir, w.file), Host: "h",
		Started: time.Unix(int64(w.builds), 0), Ended: time.Unix(int64(w.builds), 0),
	}
	for _, s := range p.Steps {
		address := s.Node.Stage.Address
		if s.State == plan.Pending && s.Source != "" && s.Pins == nil {
			if err := p.SettlePins(t.Context(), s, pinsFor(s.Source)); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Settle(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		switch s.State {
		case plan.Hit:
			became[address] = artifacts.Hit
		case plan.Run:
			became[address] = artifacts.Ran
			if s.Same == nil {
				w.run(t, s)
			} else {
				s.Record, s.RecordDigest = s.Same.Record, s.Same.RecordDigest
			}
		default:
			t.Fatalf("%s is still pending: %s", address, s.Reason)
		}
		b.Steps = append(b.Steps, artifacts.Step{Address: address, Kind: s.Node.Stage.Kind.Name, Key: s.Key,
			Record: s.RecordDigest, State: became[address], Reason: s.Reason})
	}
	if _, err := w.cache.PutBuild(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	w.previous = b
	return p, became
}

func pinsFor(source string) []recipe.Pin {
	return []recipe.Pin{{Path: "a.bin", SHA256: artifacts.Sum([]byte(source)).Hex(), Size: int64(len(source))}}
}

// run stores what the step refers to and publishes outputs that follow from its key alone.
func (w *world) run(t testing.TB, s *plan.Step) {
	t.Helper()
	ctx := t.Context()
	for _, sup := range s.Support {
		r, err := sup.Open()
		if err != nil {
			t.Fatal(err)
		}
		if err := w.cache.Put(ctx, sup.Blob, r); err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	key, err := w.cache.PutAction(ctx, s.Action)
	if err != nil {
		t.Fatal(err)
	}
	rec := &artifacts.Record{Key: key, Outputs: map[string]artifacts.Digest{}, Builder: "test",
		Started: time.Unix(1, 0), Ended: time.Unix(int64(1+w.builds), 0)}
	for port, typ := range s.Action.Outputs {
		if w.unmade[s.Node.Stage.Address+"."+port] {
			continue
		}
		content := port + key.Hex()
		if same, ok := w.salt[s.Node.Stage.Address]; ok {
			content = port + same
		}
		blob, err := w.cache.PutBytes(ctx, "", []byte(content))
		if err != nil {
			t.Fatal(err)
		}
		m := &artifacts.Manifest{Type: typ, Files: []artifacts.File{{Path: "out.bin", Blob: blob}}}
		if rec.Outputs[port], err = w.cache.PutManifest(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	if s.Record, s.RecordDigest, err = w.cache.Publish(ctx, rec); err != nil {
		t.Fatal(err)
	}
}
