package env

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// ownSet is the environment tiny of an interpreter that is there.
func ownSet(t *testing.T, block string, own Own) *Set {
	t.Helper()
	s := nativeSet(t, t.TempDir(), block, "")
	own.Where = "tinfra.hcl:7"
	s.Use(Local{Own: map[string]Own{"tiny": own}})
	return s
}

func machinePython(t *testing.T) string {
	t.Helper()
	python, err := tiny(t.TempDir(), true).python(t.Context(), []string{"3.11", "3.12", "3.13", "3.14"})
	if err != nil {
		t.Fatal(err)
	}
	return python.Path
}

// layPackages installs packages that say their version.
func layPackages(t *testing.T, dir string, versions map[string]string) {
	t.Helper()
	for name, version := range versions {
		at := filepath.Join(dir, name+"-"+version+".dist-info")
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{
			filepath.Join(at, "METADATA"):      "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n",
			filepath.Join(dir, name+".py"):     "__version__ = '" + version + "'\n",
			filepath.Join(at, "REQUESTED"):     "",
			filepath.Join(at, "top_level.txt"): name + "\n",
		} {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestOwnInterpreterDescribesItsDistributions(t *testing.T) {
	python := machinePython(t)
	overlay := t.TempDir()
	layPackages(t, overlay, map[string]string{"Tiny_Thing": "1.0+cu130"})
	s := ownSet(t, "", Own{Python: python, Overlay: overlay})
	blob, err := s.Blob(t.Context(), "tiny")
	if err != nil {
		t.Fatal(err)
	}
	var d ownDescription
	if err := json.Unmarshal(blob, &d); err != nil {
		t.Fatal(err)
	}
	if here := here(t); d.OS != here.OS || d.Arch != here.Arch || d.Libc != here.Libc || d.Python == "" || d.Native == nil {
		t.Errorf("%s", blob)
	}
	if !slices.Contains(d.Distributions, "tiny-thing==1.0+cu130") || !slices.IsSorted(d.Distributions) {
		t.Errorf("%q", d.Distributions)
	}
	if strings.Contains(string(blob), overlay) || strings.Contains(string(blob), python) {
		t.Errorf("%s names a place", blob)
	}
	layPackages(t, overlay, map[string]string{"further": "2"})
	if again, err := s.Blob(t.Context(), "tiny"); err != nil || string(again) != string(blob) {
		t.Errorf("within one build the description changes: %s, %v", again, err)
	}
	if later := digestOf(t, ownSet(t, "", Own{Python: python, Overlay: overlay})); later == artifacts.Sum(blob) {
		t.Error("a package more does not change the digest")
	}
}

func TestOverlayGoesFirst(t *testing.T) {
	dir, overlay := t.TempDir(), t.TempDir()
	if out, err := exec.Command(machinePython(t), "-m", "venv", "--without-pip", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	site, err := filepath.Glob(filepath.Join(dir, "lib", "python3*", "site-packages"))
	if err != nil || len(site) != 1 {
		t.Fatalf("%q, %v", site, err)
	}
	layPackages(t, site[0], map[string]string{"six": "1.1", "seven": "7"})
	layPackages(t, overlay, map[string]string{"six": "9.9"})
	python := pythonIn(dir)
	for folder, want := range map[string][]string{"": {"seven==7", "six==1.1"}, overlay: {"seven==7", "six==9.9"}} {
		if all, err := distributions(t.Context(), python, folder); err != nil || !slices.Equal(all, want) {
			t.Errorf("overlay %q: %q, %v", folder, all, err)
		}
	}
	s := ownSet(t, "", Own{Python: python, Overlay: overlay})
	ready, err := s.Install(t.Context(), "tiny", nil)
	if err != nil || ready.Python != python || !slices.Equal(ready.Path, []string{overlay}) || !ready.Own || len(ready.Libraries) > 0 {
		t.Errorf("%+v, %v", ready, err)
	}
	if entries, err := os.ReadDir(s.cache); err != nil || len(entries) > 0 {
		t.Errorf("something was installed: %v, %v", entries, err)
	}
}

// Native parts are compared before a worker may load them: once in a build, unless a file is another one then.
func TestOwnNativePartsAreThoseOfTheEnvironment(t *testing.T) {
	python, block, folder := machinePython(t), nativeBlock(t, jarOf(t)), t.TempDir()
	at := filepath.Join(folder, "lib", "lib.so.1")
	if err := os.Mkdir(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	lay := func(text string) {
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lay("another library")
	s := ownSet(t, block, Own{Python: python, Native: folder})
	if _, err := s.Blob(t.Context(), "tiny"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Install(t.Context(), "tiny", nil); err == nil || !strings.Contains(err.Error(), at+" is another file than env.hcl names") {
		t.Errorf("%v", err)
	}
	lay(libraryText)
	for range 2 {
		ready, err := s.Install(t.Context(), "tiny", nil)
		if err != nil || !slices.Equal(ready.Libraries, []string{filepath.Dir(at)}) {
			t.Errorf("%+v, %v", ready, err)
		}
	}
	lay("changed later")
	if _, err := s.Install(t.Context(), "tiny", nil); err == nil || !strings.Contains(err.Error(), "is another file") {
		t.Errorf("changed while the build runs: %v", err)
	}
	lay(libraryText)
	lines := fmt.Sprintf(`"native":["lib/lib.so.1 sha256:%x"]`, sha256.Sum256([]byte(libraryText)))
	if blob, err := s.Blob(t.Context(), "tiny"); err != nil || !strings.Contains(string(blob), lines) {
		t.Errorf("%s, %v", blob, err)
	}
}

// Two environments of the same description may say that their native parts lie in two places.
func TestNativePartsOfTwoPlacesAreBothRead(t *testing.T) {
	python, block := machinePython(t), nativeBlock(t, jarOf(t))
	good, bad := t.TempDir(), t.TempDir()
	for folder, text := range map[string]string{good: libraryText, bad: "another library"} {
		if err := os.Mkdir(filepath.Join(folder, "lib"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "lib", "lib.so.1"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text := []byte("doc = \"x\"\npython = [\"3.11\", \"3.12\", \"3.13\", \"3.14\"]\n" + block)
	s := NewSet(fstest.MapFS{
		"a/env.hcl": {Data: text}, "a/requirements.lock": {}, "b/env.hcl": {Data: text}, "b/requirements.lock": {},
	}, t.TempDir(), true)
	s.Use(Local{Own: map[string]Own{"a": {Python: python, Native: good}, "b": {Python: python, Native: bad}}})
	if _, err := s.Install(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Install(t.Context(), "b", nil); err == nil || !strings.Contains(err.Error(), "is another file") {
		t.Errorf("%v", err)
	}
}

// A shim leads elsewhere from a worker's folder, with a worker's variables.
func TestAWorkerRunsInTheInterpreterThatWasAsked(t *testing.T) {
	dir := t.TempDir()
	for name, version := range map[string]string{"a": "1.1", "b": "2.2"} {
		if out, err := exec.Command(machinePython(t), "-m", "venv", "--without-pip", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		site, err := filepath.Glob(filepath.Join(dir, name, "lib", "python3*", "site-packages"))
		if err != nil || len(site) != 1 {
			t.Fatalf("%q, %v", site, err)
		}
		layPackages(t, site[0], map[string]string{"six": version})
	}
	shim := filepath.Join(dir, "python3")
	if err := os.WriteFile(shim, []byte("#!/bin/sh\nexec "+dir+"/${SHIM_VERSION:-a}/bin/python \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SHIM_VERSION", "b")
	s := ownSet(t, "", Own{Python: shim})
	blob, err := s.Blob(t.Context(), "tiny")
	if err != nil || !strings.Contains(string(blob), "six==2.2") {
		t.Fatalf("%s, %v", blob, err)
	}
	if ready, err := s.Install(t.Context(), "tiny", nil); err != nil || ready.Python != filepath.Join(dir, "b", "bin", "python") {
		t.Errorf("%+v, %v", ready, err)
	}
}

// What is upgraded while a build runs is in no key of that build.
func TestPackagesThatChangeWhileABuildRunsAreNotGivenOut(t *testing.T) {
	overlay := t.TempDir()
	layPackages(t, overlay, map[string]string{"thing": "1.0"})
	own := Own{Python: machinePython(t), Overlay: overlay}
	s := ownSet(t, "", own)
	before, err := s.Install(t.Context(), "tiny", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(overlay, "thing-1.0.dist-info")); err != nil {
		t.Fatal(err)
	}
	layPackages(t, overlay, map[string]string{"thing": "2.0"})
	_, err = s.Install(t.Context(), "tiny", nil)
	if err == nil || !strings.Contains(err.Error(), "environment tiny, as tinfra.hcl:7 has it: its packages have changed since the build was planned (thing==2.0); build again") {
		t.Errorf("%v", err)
	}
	later, err := ownSet(t, "", own).Install(t.Context(), "tiny", nil)
	if err != nil || filepath.Base(later.Compiled) == filepath.Base(before.Compiled) {
		t.Errorf("what the old packages have compiled is the new ones': %+v, %v", later, err)
	}
}

// A package from a folder of sources, a commit or a file has one version for many contents.
func TestPackagesFromNoIndexAreToldByTheirFiles(t *testing.T) {
	overlay, sources := t.TempDir(), t.TempDir()
	layPackages(t, overlay, map[string]string{"thing": "1.0"})
	python := machinePython(t)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	said := func() string {
		t.Helper()
		all, err := distributions(t.Context(), python, overlay)
		if err != nil {
			t.Fatal(err)
		}
		return all[slices.IndexFunc(all, func(one string) bool { return strings.HasPrefix(one, "thing==1.0") })]
	}
	info := filepath.Join(overlay, "thing-1.0.dist-info")
	write(filepath.Join(info, "RECORD"), "thing.py,sha256=aa,9\n__pycache__/thing.cpython-311.pyc,,\nthing-1.0.dist-info/direct_url.json,sha256=cc,9\n")
	if one := said(); one != "thing==1.0" {
		t.Errorf("of an index: %s", one)
	}
	write(filepath.Join(info, "direct_url.json"), `{"url":"https://example.org/thing","vcs_info":{"vcs":"git","commit_id":"c"}}`)
	first := said()
	write(filepath.Join(info, "RECORD"), "thing.py,sha256=bb,9\n")
	if second := said(); first == second || !strings.HasPrefix(first, "thing==1.0 @") {
		t.Errorf("another commit: %s, then %s", first, second)
	}
	write(filepath.Join(info, "direct_url.json"), `{"url":"file://`+sources+`","dir_info":{"editable":true}}`)
	write(filepath.Join(sources, "thing.py"), "one = 1")
	first = said()
	write(filepath.Join(sources, "notes.txt"), "no source")
	if again := said(); again != first {
		t.Errorf("the same sources: %s, then %s", first, again)
	}
	write(filepath.Join(sources, "thing.py"), "one = 2")
	if second := said(); first == second {
		t.Errorf("other sources: %s still", second)
	}
	h := Hosted{Has: []string{first}}
	if !h.has("thing", "1.0") || h.has("thing", "1.1") {
		t.Errorf("%s is not told as version 1.0", first)
	}
}

func TestOwnInterpretersThatCannotBeUsed(t *testing.T) {
	python, block := machinePython(t), nativeBlock(t, jarOf(t))
	broken := filepath.Join(t.TempDir(), "python3")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(t.TempDir(), "python3")
	script := "#!/bin/sh\ncase $2 in -S) echo '{\"Path\":\"/p\",\"Implementation\":\"cpython\",\"Minor\":\"3.6\",\"OS\":\"linux\",\"Arch\":\"x86_64\",\"Bits\":64}';; *) echo '[]';; esac\n"
	if err := os.WriteFile(old, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	two := filepath.Join(t.TempDir(), "a:b")
	if err := os.Mkdir(two, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		block string
		own   Own
		says  string
	}{
		"an overlay that is two":    {"", Own{Python: python, Overlay: two}, "a:b has a : in its name"},
		"native parts in two":       {block, Own{Python: python, Native: two}, "a:b has a : in its name"},
		"no interpreter":            {"", Own{Python: "/nowhere/python3"}, "there is no interpreter /nowhere/python3"},
		"a folder":                  {"", Own{Python: t.TempDir() + "/x"}, "there is no interpreter"},
		"one that fails":            {"", Own{Python: broken}, "asking " + broken + " for its version"},
		"an old one":                {"", Own{Python: old}, "is Python 3.6 (cpython, 64 bit), and it is for Python 3.11"},
		"no overlay":                {"", Own{Python: python, Overlay: "/nowhere"}, "there is no folder /nowhere for its overlay"},
		"native parts of nothing":   {"", Own{Python: python, Native: t.TempDir()}, "leave out `native`"},
		"native parts not named":    {block, Own{Python: python}, "say by `native` which folder holds lib/lib.so.1"},
		"native parts not there":    {block, Own{Python: python, Native: "/nowhere"}, "there is no file /nowhere/lib/lib.so.1"},
		"a machine of another sort": {strings.Replace(block, fmt.Sprintf("arch   = %q", here(t).Arch), `arch   = "vax"`, 1), Own{Python: python, Native: "/nowhere"}, "is for " + here(t).OS + " on vax"},
	} {
		t.Run(name, func(t *testing.T) {
			s := ownSet(t, c.block, c.own)
			_, err := s.Blob(t.Context(), "tiny")
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "environment tiny, as tinfra.hcl:7 has it: ") {
				t.Errorf("%v does not say %q", err, c.says)
			}
			if _, err := s.Install(t.Context(), "tiny", nil); err == nil {
				t.Error("it was given out")
			}
		})
	}
}

func TestOwnInterpretersAreListedAndNeverRemoved(t *testing.T) {
	python := machinePython(t)
	s := ownSet(t, "", Own{Python: python})
	all, err := s.List(t.Context())
	if err != nil || len(all) != 1 || !all[0].Own || all[0].Name != "tiny" || all[0].Python != python || all[0].Digest != digestOf(t, s) || all[0].Problem != "" {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := s.Remove(t.Context(), "tiny"); err == nil || errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "nothing of it was installed") {
		t.Errorf("%v", err)
	}
	gone := ownSet(t, "", Own{Python: "/nowhere/python3"})
	if all, err := gone.List(t.Context()); err != nil || len(all) != 1 || !strings.Contains(all[0].Problem, "there is no interpreter") {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestWhatAnOwnInterpreterLacks(t *testing.T) {
	overlay := t.TempDir()
	layPackages(t, overlay, map[string]string{"one": "1.0+local", "two": "2.5"})
	lock := ""
	for _, name := range []string{"one==1.0", "two==2.4 ; python_version < '3.12'", "two==2.3 ; python_version >= '3.12'", "three-x[y]==3", "four==4"} {
		lock += name + " " + hashA + "\n"
	}
	s := NewSet(fstest.MapFS{
		"tiny/env.hcl":           {Data: []byte("doc = \"x\"\npython = [\"3.11\", \"3.12\", \"3.13\", \"3.14\"]")},
		"tiny/requirements.lock": {Data: []byte(lock)},
		"tiny/requirements.in":   {Data: []byte("# direct\n-c ../other.lock\none\nTwo>=2 # or so\nthree_x[y]==3\n")},
	}, t.TempDir(), true)
	s.Use(Local{Own: map[string]Own{"tiny": {Python: machinePython(t), Overlay: overlay}}})
	missing, other, err := s.Lacks(t.Context(), "tiny")
	if err != nil || !slices.Equal(missing, []string{"three-x"}) || !slices.Equal(other, []string{"two 2.5, not 2.3 or 2.4"}) {
		t.Errorf("%q, %q, %v", missing, other, err)
	}
}
