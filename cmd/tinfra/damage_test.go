package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

// damages are what disks, people and other programs do to a file. other is a file of the same sort.
var damages = map[string]func(path, other string) error{
	"truncate": func(path, _ string) error {
		return rewrite(path, func(b []byte) []byte { return b[:len(b)/2] })
	},
	"extend": func(path, _ string) error {
		return rewrite(path, func(b []byte) []byte { return append(b, 'x') })
	},
	"zero": func(path, _ string) error {
		return rewrite(path, func(b []byte) []byte { return make([]byte, len(b)) })
	},
	"flip": func(path, _ string) error {
		return rewrite(path, func(b []byte) []byte {
			if len(b) > 0 {
				b[len(b)/2] ^= 1
			}
			return b
		})
	},
	"swap": func(path, other string) error {
		mine, err := os.ReadFile(path)
		theirs, oerr := os.ReadFile(other)
		if err = errors.Join(err, oerr); err != nil {
			return err
		}
		return errors.Join(
			rewrite(path, func([]byte) []byte { return theirs }),
			rewrite(other, func([]byte) []byte { return mine }))
	},
	"delete": func(path, _ string) error { return os.RemoveAll(path) },
}

// rewrite changes a file in its place, as a disk does that decays: its mode and its times stay.
func rewrite(path string, change func([]byte) []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return errors.Join(
		os.Chmod(path, 0o644), os.WriteFile(path, change(b), 0o644),
		os.Chmod(path, info.Mode()), os.Chtimes(path, info.ModTime(), info.ModTime()))
}

// object is a thing that a cache holds, as damaged in the matrix.
type object struct {
	name, other string // in the layout
	reports     string // what `cache verify` calls it, where that is not its name
	gone        string // the same once it is deleted
	builds      []int  // of sample.builds: those that used it
	// Damage that changes nothing for anyone, or that nothing can tell from a state that is right, with the reason.
	harmless map[string]string
	closed   bool // the cache cannot be opened: the person has to decide
}

var all = []string{"truncate", "extend", "zero", "flip", "swap", "delete"}

func none(why string, damages ...string) map[string]string {
	out := map[string]string{}
	for _, d := range damages {
		out[d] = why
	}
	return out
}

// sample is a cache in which two recipes were built that share a stage, and what is right of it.
type sample struct {
	dir    string // recipes, kinds and a cache
	builds []*artifacts.Build
	wanted map[string]map[string]string // recipe, and output → path → text
}

// said is a verb of tinfra, run in this process.
type said struct {
	code        int
	out, errors string
}

func (s *sample) tinfra(cache string, args ...string) said {
	var out, errs bytes.Buffer
	code := tinfra(append(args, "--cache", cache), strings.NewReader(""), &out, &errs)
	return said{code, out.String(), errs.String()}
}

func (s *sample) recipe(name string) string { return filepath.Join(s.dir, name) }

// outputs are asked for in each case: recipe → stages.
var sampleOutputs = map[string][]string{
	"a.hcl": {"make.hello", "upper.loud", "pinned.data", "module.m.make.text"},
	"b.hcl": {"make.hello", "join.all"},
}

var sampleFiles = map[string]string{
	"tinfra.hcl": "kinds = [\"./kinds\"]\n",
	"a.hcl": `
stage "make" "hello" {
  text = "hello there"
}
stage "upper" "loud" {
  text = make.hello.files
}
stage "pinned" "data" {
  source = "file:data.txt"
}
stage "upper" "local" {
  text = path("texts/*.txt")
}
module "m" {
  source = "./modules/m.hcl"
}
`,
	"b.hcl": `
stage "make" "hello" {
  text = "hello there"
}
stage "pinned" "data" {
  source = "file:more.txt"
}
stage "join" "all" {
  parts = { a = make.hello.files, b = pinned.data.files }
}
module "m" {
  source = "./modules/n.hcl"
}
`,
	"modules/m.hcl": "stage \"make\" \"text\" {\n  text = \"of a module\"\n}\n",
	"modules/n.hcl": "stage \"make\" \"text\" {\n  text = \"of another module\"\n}\n",
	"data.txt":      "some data",
	"more.txt":      "more data",
	"texts/a.txt":   "local text",
}

func newSample(t *testing.T) *sample {
	t.Helper()
	s := &sample{dir: t.TempDir(), wanted: map[string]map[string]string{}}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range sampleFiles {
		ok(os.MkdirAll(filepath.Dir(s.recipe(name)), 0o755))
		ok(os.WriteFile(s.recipe(name), []byte(text), 0o644))
	}
	ok(os.CopyFS(s.recipe("kinds"), os.DirFS(filepath.Join("testdata", "kinds"))))
	cache := s.recipe("cache")
	for _, name := range []string{"a.hcl", "b.hcl"} {
		// Twice: the first build writes the lock, the second keeps it.
		for range 2 {
			if got := s.tinfra(cache, "build", s.recipe(name)); got.code != 0 {
				t.Fatalf("building %s: %+v", name, got)
			}
		}
		for _, stage := range sampleOutputs[name] {
			files, got := s.get(t, cache, name, stage)
			if got.code != 0 || len(files) == 0 {
				t.Fatalf("getting %s: %+v", stage, got)
			}
			s.wanted[name+" "+stage] = files
		}
	}
	store, err := disk.Open(cache)
	ok(err)
	defer store.Close()
	for b, err := range artifacts.NewCache(store, store).Builds(context.Background()) {
		ok(err)
		s.builds = append(s.builds, b)
	}
	slices.Reverse(s.builds) // a, a, b, b
	s.leave(t, cache)
	if got := s.tinfra(cache, "cache", "verify"); got.code != 0 {
		t.Fatalf("the sound cache: %+v", got)
	}
	return s
}

// leave puts the files there that other processes and environments leave.
func (s *sample) leave(t *testing.T, cache string) {
	t.Helper()
	for _, digest := range []string{sampleEnv, otherEnv} {
		dir := filepath.Join("env", digest)
		site := filepath.Join(dir, "lib", "python3.11", "site-packages")
		sum := artifacts.Sum([]byte("pass # a module\n"))
		for name, text := range map[string]string{
			filepath.Join(dir, "tinfra-env.json"): fmt.Sprintf(`{"name":"e","digest":"sha256:%s","python":"","bytes":1,"installed":"2026-01-01T00:00:00Z"}`, digest),
			filepath.Join(dir, "pyvenv.cfg"):      "home = /usr/bin\n",
			filepath.Join(site, "module.py"):      "pass # a module\n",
			filepath.Join(site, "m-1.dist-info", "RECORD"): "module.py,sha256=" + base64.RawURLEncoding.EncodeToString(sum[:]) +
				",16\nm-1.dist-info/RECORD,,\n",
			filepath.Join("env", ".locks", digest): "",
			filepath.Join("leases", digest):        `{"build":"x"}`,
		} {
			path := filepath.Join(cache, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		python := filepath.Join(cache, dir, "bin", "python")
		if err := errors.Join(os.MkdirAll(filepath.Dir(python), 0o755), os.Symlink("/bin/true", python)); err != nil {
			t.Fatal(err)
		}
	}
}

var (
	sampleEnv = artifacts.Sum([]byte("an environment")).Hex()
	otherEnv  = artifacts.Sum([]byte("another environment")).Hex()
)

// get gives the files of an output.
func (s *sample) get(t *testing.T, cache, recipe, stage string) (map[string]string, said) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	got := s.tinfra(cache, "get", stage, "-o", out, "--recipe", s.recipe(recipe))
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(out), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(out, path))
		files[path] = string(b)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return files, got
}

// copyOf is the cache of the sample, the modification times kept. It is in a folder of its own: workers note there that they ran.
func (s *sample) copyOf(t *testing.T) string {
	t.Helper()
	from, to := s.recipe("cache"), filepath.Join(t.TempDir(), "cache")
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, path)
		target := filepath.Join(to, rel)
		info, err := d.Info()
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case d.Type() == fs.ModeSymlink:
			link, err := os.Readlink(path)
			return errors.Join(err, os.Symlink(link, target))
		}
		b, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(target, b, 0o644), os.Chmod(target, info.Mode()), os.Chtimes(target, info.ModTime(), info.ModTime()))
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// objects are the things of the matrix.
func (s *sample) objects(t *testing.T) map[string]object {
	t.Helper()
	store, err := disk.Open(s.recipe("cache"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	c := artifacts.NewCache(store, store)
	ctx := t.Context()
	step := func(build int, address string) (artifacts.Step, *artifacts.Record) {
		st, ok := s.builds[build].Step(address)
		rec, err := c.Record(ctx, st.Record)
		if !ok || err != nil {
			t.Fatalf("%s: %v", address, err)
		}
		return st, rec
	}
	hello, helloRec := step(0, "make.hello")
	loud, loudRec := step(0, "upper.loud")
	local, _ := step(0, "upper.local")
	action, err := c.Action(ctx, hello.Key)
	localAction, lerr := c.Action(ctx, local.Key)
	if err = errors.Join(err, lerr); err != nil {
		t.Fatal(err)
	}
	blob := func(d artifacts.Digest) string { return "blobs/sha256/" + d.Hex() }
	day := func(at time.Time) string { return at.UTC().Format(time.DateOnly) + "/" }
	digest := func(b int) artifacts.Digest {
		_, d, err := s.builds[b].Encode()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	build := func(b int) string { return "builds/" + day(s.builds[b].Started) + digest(b).Hex() }
	files, lfiles := helloRec.Outputs["files"], loudRec.Outputs["text"]
	both, first := []int{0, 1, 2, 3}, []int{0, 1}
	absent := "absence is a state of its own: what nothing else leads to may never have been written"
	return map[string]object{
		"file":        {name: blob(artifacts.Sum([]byte("hello there"))), other: blob(artifacts.Sum([]byte("HELLO THERE"))), gone: "keys/" + hello.Key.Hex(), builds: both},
		"manifest":    {name: blob(files), other: blob(lfiles), builds: both},
		"action":      {name: blob(hello.Key.Digest()), other: blob(loud.Key.Digest()), builds: both},
		"record":      {name: blob(hello.Record), other: blob(loud.Record), builds: both},
		"log":         {name: blob(helloRec.Log), other: blob(loudRec.Log), builds: both},
		"worker":      {name: blob(action.Worker), other: blob(files), builds: both},
		"input":       {name: blob(localAction.Inputs["text"]), other: blob(files), builds: first},
		"recipe":      {name: blob(s.builds[0].Recipe), other: blob(s.builds[2].Recipe), builds: first},
		"lock":        {name: blob(s.builds[1].Lock), other: blob(s.builds[3].Lock), builds: []int{1}},
		"module":      {name: blob(s.builds[0].Modules["modules/m.hcl"]), other: blob(s.builds[2].Modules["modules/n.hcl"]), builds: first},
		"old build":   {name: blob(digest(0)), other: blob(digest(1)), gone: build(0)},
		"last build":  {name: blob(digest(1)), other: blob(digest(3)), gone: build(1)},
		"keys":        {name: "keys/" + hello.Key.Hex(), other: "keys/" + loud.Key.Hex(), builds: both, harmless: none(absent, "delete")},
		"runs":        {name: "runs/" + hello.Key.Hex() + "/" + hello.Record.Hex(), other: "runs/" + loud.Key.Hex() + "/" + loud.Record.Hex(), builds: both},
		"records":     {name: "records/" + day(helloRec.Ended) + hello.Record.Hex(), other: "records/" + day(loudRec.Ended) + loud.Record.Hex(), builds: both},
		"builds":      {name: build(1), other: build(3), builds: []int{1}},
		"old builds":  {name: build(0), other: build(2), builds: []int{0}, harmless: none(absent, "delete")},
		"refs":        {name: "refs/a", other: "refs/b", harmless: none(absent, "delete")},
		"environment": {name: "env/" + sampleEnv + "/lib/python3.11/site-packages/module.py", other: "env/" + otherEnv + "/lib/python3.11/site-packages/m-1.dist-info/RECORD", reports: "env/" + sampleEnv},
		"env marker":  {name: "env/" + sampleEnv + "/tinfra-env.json", other: "env/" + otherEnv + "/tinfra-env.json", reports: "env/" + sampleEnv, harmless: none("JSON may end with it", "none")},
		"env lock":    {name: "env/.locks/" + sampleEnv, other: "env/.locks/" + otherEnv, harmless: none("what is in a lock file says nothing", all...)},
		"lease":       {name: "leases/" + sampleEnv, other: "leases/" + otherEnv, harmless: none("nobody holds it", all...)},
		"pointer lock": {name: "pointers.lock", other: "env/.locks/" + otherEnv,
			harmless: none("what is in a lock file says nothing", all...)},
		"format": {name: "format", other: "refs/a", closed: true, harmless: none("it is written again", "delete")},
	}
}

// TestSoakDamage tries each damage on each sort of object, with the file's time kept, as on a disk that decays, and moved,
// as whatever writes to it moves it. `cache verify` names the object and the builds that used it; no build, get or log
// serves what was damaged; `--repair` leaves a cache that verifies clean and builds the same.
func TestSoakDamage(t *testing.T) {
	s := newSample(t)
	objects := s.objects(t)
	hows := slices.Sorted(maps.Keys(damages))
	for i, what := range slices.Sorted(maps.Keys(objects)) {
		for j, how := range hows {
			for k, moved := range []bool{false, true} {
				// The short form takes each object once, and each damage with each time in one half of the case or the other.
				if !soak && (j != i%len(hows) || k != i/len(hows)%2) {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/moved=%v", what, how, moved), func(t *testing.T) {
					t.Parallel()
					if soak || i%2 == 0 {
						s.verifyAndRepair(t, objects[what], how, moved)
					}
					if soak || i%2 == 1 {
						s.buildOn(t, objects[what], how, moved)
					}
				})
			}
		}
	}
}

// damaged is a copy of the cache with the damage done.
func (s *sample) damaged(t *testing.T, o object, how string, moved bool) string {
	t.Helper()
	cache := s.copyOf(t)
	path, other := filepath.Join(cache, o.name), filepath.Join(cache, o.other)
	if err := damages[how](path, other); err != nil {
		t.Fatal(err)
	}
	if moved && how != "delete" {
		now := time.Now()
		if err := errors.Join(os.Chtimes(path, now, now), os.Chtimes(other, now, now)); err != nil {
			t.Fatal(err)
		}
	}
	return cache
}

func (s *sample) verifyAndRepair(t *testing.T, o object, how string, moved bool) {
	t.Helper()
	cache := s.damaged(t, o, how, moved)
	got := s.tinfra(cache, "cache", "verify", "--json")
	if o.closed && o.harmless[how] == "" {
		if got.code != 5 || !strings.Contains(got.errors, filepath.Join(cache, o.name)) && !strings.Contains(got.errors, "format") {
			t.Errorf("verify: %+v", got)
		}
		return
	}
	s.named(t, o, how, got)
	repair := s.tinfra(cache, "cache", "verify", "--repair")
	if repair.code != 0 {
		t.Fatalf("repair: %+v", repair)
	}
	clean := s.tinfra(cache, "cache", "verify")
	if clean.code != 0 {
		t.Fatalf("after the repair\n%s\nverify finds: %+v", repair.out, clean)
	}
	// What cannot be made again is told by the repair and ever after.
	if strings.Contains(repair.out, "\nlost  ") != strings.Contains("\n"+clean.out, "\nlost  ") {
		t.Errorf("the repair says\n%s\nand verify then\n%s", repair.out, clean.out)
	}
	for name := range sampleOutputs {
		if got := s.tinfra(cache, "build", s.recipe(name)); got.code != 0 {
			t.Errorf("building %s after the repair: %+v", name, got)
		}
	}
	s.whole(t, cache)
	if got := s.tinfra(cache, "cache", "verify"); got.code != 0 {
		t.Errorf("after the builds: %+v", got)
	}
}

// named: verify names the object, with the builds that used it; or says that all is well where nothing is wrong.
func (s *sample) named(t *testing.T, o object, how string, got said) {
	t.Helper()
	var found struct {
		Problems []struct {
			Name, Kind, Detail string
			Builds             []string
		}
	}
	if err := json.Unmarshal([]byte(got.out), &found); err != nil {
		t.Fatalf("verify: %v: %+v", err, got)
	}
	if why := o.harmless[how]; why != "" {
		if got.code != 0 || len(found.Problems) > 0 {
			t.Errorf("verify: %+v; it should find nothing: %s", got, why)
		}
		return
	}
	if got.code != 5 {
		t.Errorf("verify: exit %d", got.code)
	}
	name := o.name
	if o.reports != "" {
		name = o.reports
	}
	if o.gone != "" && how == "delete" {
		name = o.gone
	}
	for _, p := range found.Problems {
		if p.Name != name {
			continue
		}
		for _, b := range o.builds {
			if !slices.Contains(p.Builds, s.builds[b].ID) {
				t.Errorf("%s is %s, and build %s, which used it, is not named: %q", name, p.Kind, s.builds[b].ID, p.Builds)
			}
		}
		return
	}
	t.Errorf("verify does not name %s: %+v", name, found.Problems)
}

// buildOn builds on a damaged cache. A verb that meets damage may end with code 5 and say so; the next build then makes it
// again.
func (s *sample) buildOn(t *testing.T, o object, how string, moved bool) {
	t.Helper()
	cache := s.damaged(t, o, how, moved)
	if o.closed && o.harmless[how] == "" {
		if got := s.tinfra(cache, "build", s.recipe("a.hcl")); got.code != 5 {
			t.Errorf("build: %+v", got)
		}
		return
	}
	for name, stages := range sampleOutputs {
		s.build(t, cache, name)
		for _, stage := range stages {
			for _, verb := range []string{"show", "log"} {
				s.answers(t, o, s.tinfra(cache, verb, stage, "--recipe", s.recipe(name)))
			}
			files, got := s.get(t, cache, name, stage)
			if got.code == 5 && len(files) == 0 && strings.Contains(got.errors, "damaged") {
				s.build(t, cache, name)
				files, got = s.get(t, cache, name, stage)
			}
			if want := s.wanted[name+" "+stage]; got.code != 0 || !maps.Equal(files, want) {
				t.Errorf("get %s of %s: %+v: %q, want %q", stage, name, got, files, want)
			}
		}
		s.answers(t, o, s.tinfra(cache, "plan", s.recipe(name)))
		s.answers(t, o, s.tinfra(cache, "runs", "--json"))
		s.answers(t, o, s.tinfra(cache, "lineage", "up", stages[0], "--recipe", s.recipe(name)))
	}
}

// build builds; where damage is met on the way, a second time.
func (s *sample) build(t *testing.T, cache, name string) {
	t.Helper()
	got := s.tinfra(cache, "build", s.recipe(name))
	if got.code == 5 && strings.Contains(got.errors, "damaged") {
		got = s.tinfra(cache, "build", s.recipe(name))
	}
	if got.code != 0 {
		t.Errorf("building %s: %+v", name, got)
	}
}

// answers: a verb answers rightly, or says what is wrong with the cache.
func (s *sample) answers(t *testing.T, o object, got said) {
	t.Helper()
	if got.code != 0 && (got.code != 5 || got.errors == "") {
		t.Errorf("%s: %+v", o.name, got)
	}
	if strings.ContainsAny(got.out, "\x00") {
		t.Errorf("%s: damaged bytes are served: %q", o.name, got.out)
	}
}

// whole: all outputs are there at once, as they were.
func (s *sample) whole(t *testing.T, cache string) {
	t.Helper()
	for name, stages := range sampleOutputs {
		for _, stage := range stages {
			files, got := s.get(t, cache, name, stage)
			if want := s.wanted[name+" "+stage]; got.code != 0 || !maps.Equal(files, want) {
				t.Errorf("get %s of %s: %+v: %q, want %q", stage, name, got, files, want)
			}
		}
	}
}

// TestSoakDamagedIndex damages the files of the lineage index, the database in each of its pages. Where verify finds nothing, all
// answers are as they were; else it names the index, and the repair makes it again. A build never minds.
func TestSoakDamagedIndex(t *testing.T) {
	s := newSample(t)
	question := []string{"sql", "SELECT run, key, kind, params FROM runs ORDER BY run", "--json"}
	want := s.tinfra(s.copyOf(t), question...)
	if want.code != 0 || !strings.Contains(want.out, "hello there") {
		t.Fatalf("the sound index: %+v", want)
	}
	cases := map[string]func(cache string) error{}
	for _, file := range []string{"lineage.sqlite", "lineage.sqlite-wal", "lineage.sqlite-shm"} {
		for how, damage := range damages {
			other := map[bool]string{true: "format", false: "lineage.sqlite"}[file == "lineage.sqlite"]
			cases[file+"/"+how] = func(cache string) error { return damage(filepath.Join(cache, file), filepath.Join(cache, other)) }
		}
	}
	delete(cases, "lineage.sqlite/swap") // that is damage of the format, which the matrix has
	info, err := os.Stat(filepath.Join(s.recipe("cache"), "lineage.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	step := int64(1777) // two or three places in each page
	if !soak {
		step = info.Size() / 5
	}
	for at := int64(1); at < info.Size(); at += step {
		cases[fmt.Sprintf("a bit at %d", at)] = func(cache string) error {
			return rewrite(filepath.Join(cache, "lineage.sqlite"), func(b []byte) []byte { b[at] ^= 4; return b })
		}
	}
	for i, name := range slices.Sorted(maps.Keys(cases)) {
		if !soak && i%3 != 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cache := s.copyOf(t)
			if err := cases[name](cache); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, "/swap") { // the format lies in the index's place
				_ = os.WriteFile(filepath.Join(cache, "format"), []byte("{\"format\":1}\n"), 0o644)
			}
			found := s.tinfra(cache, "cache", "verify")
			switch {
			case found.code == 5 && strings.Contains(found.out, "damaged  lineage.sqlite: "):
				if got := s.tinfra(cache, "cache", "verify", "--repair"); got.code != 0 || !strings.Contains(got.out, "remade  lineage.sqlite\n") {
					t.Errorf("repair: %+v", got)
				}
				if got := s.tinfra(cache, "cache", "verify"); got.code != 0 {
					t.Errorf("after the repair: %+v", got)
				}
			case found.code != 0:
				t.Errorf("verify: %+v", found)
			}
			if got := s.tinfra(cache, question...); got.code != 0 || got.out != want.out {
				t.Errorf("verify says\n%s\nand then the index answers %+v", found.out, got)
			}
			cache = s.copyOf(t)
			if err := cases[name](cache); err != nil {
				t.Fatal(err)
			}
			s.build(t, cache, "a.hcl")
			s.whole(t, cache)
		})
	}
}
