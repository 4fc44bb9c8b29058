package recipe

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime/metrics"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
)

// seed adds the texts of files.
func seed(f *testing.F, add func(text string), patterns ...string) {
	f.Helper()
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			f.Fatalf("%s: no seeds, %v", pattern, err)
		}
		for _, p := range paths {
			src, err := os.ReadFile(p)
			if errors.Is(err, syscall.EISDIR) {
				continue
			}
			if err != nil {
				f.Fatal(err)
			}
			add(string(src))
		}
	}
}

// bounded fails when f takes longer, or more of the heap, than a text of so many bytes may cost. The limits are far
// above what is usual: they are for loops that never end and for lengths that are believed.
func bounded(t *testing.T, size int, f func()) {
	t.Helper()
	const slowest = 20 * time.Second
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before, start := sample[0].Value.Uint64(), time.Now()
	f()
	took := time.Since(start)
	metrics.Read(sample)
	if bytes := sample[0].Value.Uint64() - before; bytes > 256<<20+1<<14*uint64(size) || took > slowest {
		t.Fatalf("%d bytes of text took %s and %d MiB", size, took, bytes>>20)
	}
}

// placed fails when a mistake does not say where it is.
func placed(t *testing.T, diags hcl.Diagnostics) {
	t.Helper()
	for _, d := range diags {
		if d.Severity == hcl.DiagError && d.Subject == nil && d.Summary != "Too many mistakes" && d.Summary != "The file is too large" {
			t.Fatalf("no place: %s: %s", d.Summary, d.Detail)
		}
	}
}

// FuzzLoad: no text of a recipe, nor of a module that it calls, makes Load panic or take for ever; each mistake has a
// place; without errors the recipe is whole, is the same when it was written down and restored, and its canonical layout means the same.
func FuzzLoad(f *testing.F) {
	seed(f, func(text string) { f.Add(text, quantizeModule) }, "testdata/*.hcl", "testdata/wrong/*.hcl")
	seed(f, func(text string) { f.Add(callingRecipe, text) }, "testdata/wrong/modules/*.hcl", "../../recipes/modules/*.hcl")
	f.Add(callingRecipe, quantizeModule)
	f.Add(valuesRecipe, "")
	f.Add("stage \"exec\" \"a\" {\n  for_each = { a = [for x in [1] : x] }\n  command = split(\",\", each.key)\n  inputs = { for k, v in exec.a : k => v.files if k != each.key }\n}\n", "")
	f.Add("stage \"download\" \"a\" {\n  source = format(\"%08d\", 1e3)\n}\n", "")
	catalog := testCatalog()
	f.Fuzz(func(t *testing.T, src, module string) {
		dir := t.TempDir()
		var r *Recipe
		var diags hcl.Diagnostics
		bounded(t, len(src)+len(module), func() { r, diags = loadTexts(t, dir, src, module, Options{Catalog: catalog}) })
		if r.Files == nil {
			t.Fatal("no files")
		}
		_ = show(r, diags)
		placed(t, diags)
		if diags.HasErrors() {
			return
		}
		whole(t, r)
		restoredSame(t, r, catalog)
		laidOut, diags := loadTexts(t, dir, string(Format([]byte(src))), string(Format([]byte(module))), Options{Catalog: catalog})
		if diags.HasErrors() {
			t.Fatalf("in its canonical layout it is refused: %s", show(laidOut, diags))
		}
		same(t, r, laidOut)
	})
}

func loadTexts(t *testing.T, dir, src, module string, o Options) (*Recipe, hcl.Diagnostics) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "modules", "parts"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"r.hcl": src, "modules/quantize.hcl": module, "modules/parts/score.hcl": scoreModule} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Load(filepath.Join(dir, "r.hcl"), o)
}

// whole fails unless every stage has each of its params, known and of its type.
func whole(t *testing.T, r *Recipe) {
	t.Helper()
	for _, s := range r.Stages {
		for _, p := range s.Kind.Params {
			if _, ok := s.Params[p.Name]; !ok && !p.Optional {
				t.Errorf("%s has no %s", s.Address, p.Name)
			}
		}
		for name, p := range s.Params {
			if p.Value.ContainsMarked() || !p.Value.IsWhollyKnown() || !p.Value.Type().Equals(s.Kind.Param(name).Type) {
				t.Errorf("%s.%s is %#v", s.Address, name, p.Value)
			}
		}
		for _, q := range s.Requires {
			_, _, _ = q.Check(func(MetricRef) (float64, bool) { return 1, true })
		}
	}
}

// same fails unless two recipes build the same.
func same(t *testing.T, a, b *Recipe) {
	t.Helper()
	if len(a.Stages) != len(b.Stages) {
		t.Fatalf("%d stages become %d", len(a.Stages), len(b.Stages))
	}
	for i, s := range a.Stages {
		z := b.Stages[i]
		if s.Address != z.Address || s.Kind.Name != z.Kind.Name || s.Salt != z.Salt || len(s.Params) != len(z.Params) || len(s.Requires) != len(z.Requires) ||
			!reflect.DeepEqual(sortedKeys(s.Inputs), sortedKeys(z.Inputs)) {
			t.Fatalf("%s becomes %s: %+v, %+v", s.Address, z.Address, s, z)
		}
		for name, p := range s.Params {
			if !p.Value.RawEquals(z.Params[name].Value) {
				t.Fatalf("%s.%s: %#v becomes %#v", s.Address, name, p.Value, z.Params[name].Value)
			}
		}
	}
}

// FuzzFormat: the canonical layout of text that parses parses too, is its own canonical layout, and has the same words.
func FuzzFormat(f *testing.F) {
	seed(f, func(text string) { f.Add([]byte(text)) }, "testdata/*.hcl", "../../recipes/*.hcl", "../../recipes/modules/*.hcl", "../../stages/*/stage.hcl")
	f.Fuzz(func(t *testing.T, src []byte) {
		if refuse(src, "a.hcl") == nil && len(src) < 4096 {
			sameInParts(t, src)
		}
		if _, diags := CheckSyntax(src, "a.hcl"); diags.HasErrors() {
			placed(t, diags)
			return
		}
		var out []byte
		bounded(t, len(src), func() { out = Format(src) })
		if _, diags := CheckSyntax(out, "a.hcl"); diags.HasErrors() {
			t.Fatalf("%q becomes %q: %s", src, out, diags)
		}
		if !bytes.Equal(words(src), words(out)) {
			t.Fatalf("%q becomes %q", src, out)
		}
	})
}

// words is a text without the space that a layout may change.
func words(src []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r", r) {
			return -1
		}
		return r
	}, src)
}

// FuzzLock: a lock that is accepted is written and read back as it was, whatever stands in its paths and sources.
func FuzzLock(f *testing.F) {
	seed(f, func(text string) { f.Add(text) }, "../../recipes/*.lock.hcl")
	sha := strings.Repeat("ab", 32)
	f.Add("format = 1\nsource \"hf://a/b\" {\n  resolved = { commit = \"c0ffee\" }\n  files = [\n    { path = \"a/$${x} \\\"q\\\".bin\", sha256 = \"" + sha + "\", size = 5000000000 },\n  ]\n}\n")
	f.Add("format = 1\nsource \"a\" {\n  files = [{ path = \"../a\", sha256 = \"" + sha + "\", size = 1e3 }, null]\n}\n")
	f.Add("format = 1\nsource \"%{a}\\u0000\" {\n  resolved = { \"${1}\" = 1 }\n}\n")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "r.lock.hcl")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		var lock *Lock
		var diags hcl.Diagnostics
		bounded(t, len(text), func() { lock, diags = ReadLock(path) })
		placed(t, diags)
		if diags.HasErrors() {
			return
		}
		for _, s := range lock.Sources {
			for _, p := range s.Files {
				if !filepath.IsLocal(p.Path) || p.Size < 0 || len(p.SHA256) != 64 {
					t.Fatalf("a pin of %q is %+v", s.Source, p)
				}
			}
		}
		lock.Path = filepath.Join(t.TempDir(), "again.lock.hcl")
		if err := WriteLock(lock); err != nil {
			t.Fatal(err)
		}
		again, diags := ReadLock(lock.Path)
		if diags.HasErrors() || len(again.Sources) != len(lock.Sources) {
			t.Fatalf("written anew it has %d sources of %d: %s", len(again.Sources), len(lock.Sources), diags)
		}
		for name, s := range lock.Sources {
			if z := again.Sources[name]; z == nil || !maps.Equal(s.Resolved, z.Resolved) || !reflect.DeepEqual(s.Files, z.Files) {
				t.Fatalf("%q: %+v becomes %+v", name, s, z)
			}
		}
	})
}

// FuzzProject: what a tinfra.hcl says is within its limits, or refused with a place.
func FuzzProject(f *testing.F) {
	f.Add("cache = \"cache\"\njobs  = 3\nkinds = [\"./kinds\"]\ndownload {\n  allowed_hosts = [\"example.org\"]\n  endpoint      = \"https://mirror.example.org/hub/\"\n}\n" +
		"executor \"local\" {\n  cpus       = 1.5\n  memory_gib = 8\n  gpus       = [\"0\", \"2\"]\n}\n")
	f.Add("cache = \"~/x/../..\"\njobs = 1e3\nkinds = [\"/\", \"..\"]\n")
	f.Add("download {\n  endpoint = \"https://a:b@c/?d#e\"\n}\ndownload {\n}\nexecutor \"slurm\" {\n}\ncach = \"${x}\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, ProjectFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		var p *Project
		var diags hcl.Diagnostics
		bounded(t, len(text), func() { p, diags = LoadProject(dir, nil) })
		placed(t, diags)
		if p == nil || p.Dir != dir {
			t.Fatalf("%+v", p)
		}
		if diags.HasErrors() {
			return
		}
		if p.Cache != "" && !filepath.IsAbs(p.Cache) || p.Jobs < 0 || p.Jobs > 4096 || p.Local.CPUs < 0 || p.Local.MemoryGiB < 0 || strings.Contains(p.Endpoint, "@") {
			t.Fatalf("%+v", p)
		}
		for _, k := range p.Kinds {
			if st, err := os.Stat(k); err != nil || !st.IsDir() || !filepath.IsAbs(k) {
				t.Fatalf("%q is no folder: %v", k, err)
			}
		}
	})
}

// FuzzAddress: taking an address apart loses nothing of it, and every address covers itself, and no
// two cover each other.
func FuzzAddress(f *testing.F) {
	for _, a := range []string{"gptq.int4", `gptq.int4["a.b"].model`, `module.q["x"].gptq.int4["g\"64"].model`, "module.q.module.in", "a.b[0]", `a.b["`, "module.", ".", ""} {
		f.Add(a, "gptq.int4")
		f.Add("module.q", a)
	}
	f.Add("gptq.int4", "gptq.int4.")
	f.Fuzz(func(t *testing.T, a, b string) {
		address, rest := SplitAddress(a)
		if rest != "" && address+"."+rest != a || rest == "" && address != a {
			t.Fatalf("%q is parted into %q and %q", a, address, rest)
		}
		if !Covers(a, a) {
			t.Fatalf("%q does not cover itself", a)
		}
		if a != b && Covers(a, b) && Covers(b, a) {
			t.Fatalf("%q and %q cover each other", a, b)
		}
		(&Stage{Module: a}).Modules()
	})
}

// FuzzValues: --var and --set give a value of the right type, or a mistake that names the flag.
func FuzzValues(f *testing.F) {
	for _, text := range []string{"4", "\"a\"", "[1, 2", "{ a = 1 }", "null", "1e999", "download.base.model", "secret(\"X\")", "${1}", "\x00"} {
		f.Add("gptq.int4.bits="+text, text)
	}
	f.Add(`gptq.int4["a=b"].bits=2`, "x")
	f.Add("module.q.bits=3", "")
	f.Add("=", "=")
	catalog := testCatalog()
	const src = "variable \"v\" {\n  type = number\n  default = 1\n}\nstage \"download\" \"base\" {\n  source = \"a\"\n}\nstage \"gptq\" \"int4\" {\n  model = download.base.model\n  bits = var.v\n}\n"
	f.Fuzz(func(t *testing.T, set, value string) {
		var r *Recipe
		var diags hcl.Diagnostics
		bounded(t, len(set)+len(value), func() {
			r, diags = loadTexts(t, t.TempDir(), src, "", Options{Catalog: catalog, Set: []string{set}, Vars: map[string]string{"v": value}})
		})
		_ = show(r, diags)
		if !diags.HasErrors() {
			whole(t, r)
		}
	})
}
