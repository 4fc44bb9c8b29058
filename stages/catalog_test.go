package stages

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

const smallKind = `
kind        = "KIND"
doc         = "x"
env         = "small"
determinism = "exact"
`

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o644} }

// folder is a catalogue with one environment and the kinds given, each with a worker.
func folder(kinds ...string) fstest.MapFS {
	fsys := fstest.MapFS{"env/small/env.hcl": file("")}
	for _, kind := range kinds {
		fsys[kind+"/stage.hcl"] = file(strings.ReplaceAll(smallKind, "KIND", kind))
		fsys[kind+"/worker.py"] = file("import " + kind)
	}
	return fsys
}

func sdk() fstest.MapFS {
	return fstest.MapFS{"tinfra_worker/__init__.py": file("SDK = 1"), "tests/test_job.py": file("no")}
}

// TestSomeBuiltinKinds are as they are among all.
func TestSomeBuiltinKinds(t *testing.T) {
	all, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all.Names() {
		some, err := BuiltinIn([]string{all.Kinds[name].Dir})
		if err != nil || len(some.Kinds) != 1 || !reflect.DeepEqual(some.Kinds[name], all.Kinds[name]) {
			t.Errorf("%s by itself is %+v, %v", name, some, err)
		}
	}
}

func TestBuiltinKindsAreThereAndHaveTrees(t *testing.T) {
	c, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Kinds) == 0 {
		t.Fatal("the binary carries no kinds")
	}
	for _, name := range c.Names() {
		kind := c.Kinds[name]
		if kind.Native {
			continue
		}
		tree, err := kind.Tree(c.SDK)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := tree.Manifest.Encode(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEmbeddedTreesAreThoseOnDisk holds a key made by an installed binary against one made from a checkout.
func TestEmbeddedTreesAreThoseOnDisk(t *testing.T) {
	builtin, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	disk := &Catalog{SDK: os.DirFS("sdk")}
	if diags := disk.Add(os.DirFS("."), "stages"); diags.HasErrors() {
		t.Fatal(diags)
	}
	if !slices.Equal(builtin.Names(), disk.Names()) {
		t.Fatalf("embedded %v, on disk %v", builtin.Names(), disk.Names())
	}
	for name, kind := range builtin.Kinds {
		if kind.Native {
			continue
		}
		a, b := digest(t, kind, builtin.SDK), digest(t, disk.Kinds[name], disk.SDK)
		if a != b {
			t.Errorf("%s: %s embedded, %s on disk", name, a, b)
		}
	}
}

func digest(t *testing.T, k *Kind, sdk fs.FS) artifacts.Digest {
	t.Helper()
	tree, err := k.Tree(sdk)
	if err != nil {
		t.Fatal(err)
	}
	_, d, err := tree.Manifest.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTreeHoldsWhatAWorkerReadsAndNothingElse(t *testing.T) {
	fsys := folder("prune")
	fsys["prune/stage.hcl"] = file(strings.ReplaceAll(smallKind, "KIND", "prune") + `uses = ["lib/llm"]`)
	fsys["prune/sub/__init__.py"] = file("")
	fsys["prune/run.sh"] = file("#!/bin/sh\n")
	fsys["lib/llm/math.py"] = file("x = 1")
	fsys["lib/other/math.py"] = file("no")
	for _, name := range []string{"test_worker.py", "worker_test.py", "conftest.py", ".hidden", "worker.pyc", "worker.py~",
		"__pycache__/worker.cpython-311.pyc", "tests/a.py", "testdata/a.txt", ".pytest_cache/a", "sub/test_x.py"} {
		fsys["prune/"+name] = file("no")
	}
	c := &Catalog{SDK: sdk()}
	if diags := c.Add(fsys, "kinds"); diags.HasErrors() {
		t.Fatal(diags)
	}
	tree, err := c.Kinds["prune"].Tree(c.SDK)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range tree.Manifest.Files {
		got = append(got, f.Path)
		if f.Exec != (f.Path == "prune/run.sh") {
			t.Errorf("%s: exec is %v", f.Path, f.Exec)
		}
		r, err := tree.Open(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		if d, n, err := artifacts.SumReader(r); err != nil || d != f.Digest || n != f.Size {
			t.Errorf("%s opens as %v, %d bytes (%v)", f.Path, d, n, err)
		}
		r.Close()
	}
	want := []string{"lib/llm/math.py", "prune/run.sh", "prune/sub/__init__.py", "prune/worker.py", "sdk/tinfra_worker/__init__.py"}
	if !slices.Equal(got, want) {
		t.Errorf("the tree holds %q, want %q", got, want)
	}
}

func TestTreeDigestFollowsTheSources(t *testing.T) {
	load := func(edit func(fsys, sdk fstest.MapFS)) artifacts.Digest {
		fsys, sdk := folder("prune"), sdk()
		fsys["prune/test_worker.py"] = file("a")
		if edit != nil {
			edit(fsys, sdk)
		}
		c := &Catalog{SDK: sdk}
		if diags := c.Add(fsys, "kinds"); diags.HasErrors() {
			t.Fatal(diags)
		}
		return digest(t, c.Kinds["prune"], sdk)
	}
	base := load(nil)
	for name, edit := range map[string]func(fsys, sdk fstest.MapFS){
		"the worker":  func(f, _ fstest.MapFS) { f["prune/worker.py"] = file("import more") },
		"the SDK":     func(_, s fstest.MapFS) { s["tinfra_worker/__init__.py"] = file("SDK = 2") },
		"a new file":  func(f, _ fstest.MapFS) { f["prune/__init__.py"] = file("") },
		"a mode by #": func(f, _ fstest.MapFS) { f["prune/worker.py"] = file("#!import prune") },
	} {
		if load(edit) == base {
			t.Errorf("%s does not change the digest", name)
		}
	}
	for name, edit := range map[string]func(fsys, sdk fstest.MapFS){
		"a test":          func(f, _ fstest.MapFS) { f["prune/test_worker.py"] = file("b") },
		"the SDK's tests": func(_, s fstest.MapFS) { s["tests/test_job.py"] = file("b") },
		"stage.hcl":       func(f, _ fstest.MapFS) { f["prune/stage.hcl"].Data = append(f["prune/stage.hcl"].Data, "# more"...) },
		"mode bits":       func(f, _ fstest.MapFS) { f["prune/worker.py"].Mode = 0o755 },
	} {
		if load(edit) != base {
			t.Errorf("%s changes the digest", name)
		}
	}
}

func TestTreeRefusesLinks(t *testing.T) {
	dir := t.TempDir()
	for name, f := range folder("prune") {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("worker.py", filepath.Join(dir, "prune", "more.py")); err != nil {
		t.Fatal(err)
	}
	c := &Catalog{SDK: sdk()}
	if diags := c.Add(os.DirFS(dir), "kinds"); diags.HasErrors() {
		t.Fatal(diags)
	}
	if _, err := c.Kinds["prune"].Tree(c.SDK); err == nil || !strings.Contains(err.Error(), "more.py is not a regular file") {
		t.Errorf("a link: %v", err)
	}
}

func TestCatalogRefuses(t *testing.T) {
	edit := func(change func(fstest.MapFS)) fstest.MapFS {
		fsys := folder("prune")
		change(fsys)
		return fsys
	}
	more := func(text string) fstest.MapFS {
		return edit(func(f fstest.MapFS) { f["prune/stage.hcl"].Data = append(f["prune/stage.hcl"].Data, text...) })
	}
	for want, fsys := range map[string]fstest.MapFS{
		"There is no worker.py": edit(func(f fstest.MapFS) { delete(f, "prune/worker.py") }),
		`Did you mean "small"?`: edit(func(f fstest.MapFS) {
			f["prune/stage.hcl"].Data = []byte(strings.ReplaceAll(string(f["prune/stage.hcl"].Data), "small", "smal"))
		}),
		"needs env": edit(func(f fstest.MapFS) {
			f["prune/stage.hcl"].Data = []byte(strings.ReplaceAll(string(f["prune/stage.hcl"].Data), `env `, `#`))
		}),
		`uses names "lib"`:                  more(`uses = ["lib"]`),
		`uses names "prune", which "prune"`: more(`uses = ["prune"]`),
		"command names {dir}/go.sh":         more(`command = ["{dir}/go.sh"]`),
		`kind must be "prune"`:              edit(func(f fstest.MapFS) { f["prune/stage.hcl"] = file(smallKind) }),
	} {
		diags := (&Catalog{}).Add(fsys, "kinds")
		if !strings.Contains(text(diags), want) {
			t.Errorf("%q is not said, but %s", want, text(diags))
		}
	}
	c := &Catalog{}
	if diags := c.Add(folder("prune"), "stages"); diags.HasErrors() {
		t.Fatal(diags)
	}
	diags := c.Add(folder("prune", "other"), "kinds")
	if said := text(diags); !strings.Contains(said, "declared in stages/prune/stage.hcl already") {
		t.Errorf("a kind twice: %s", said)
	}
	if c.Kinds["other"] == nil || c.Kinds["prune"].Origin != "stages/prune/stage.hcl" {
		t.Error("the kinds without a mistake are not those expected")
	}
	if _, near := c.Kind("prun"); near != "prune" {
		t.Errorf("nearest to prun is %q", near)
	}
}

func text(diags interface{ Errs() []error }) string {
	var all []string
	for _, err := range diags.Errs() {
		all = append(all, err.Error())
	}
	return strings.Join(all, "\n")
}
