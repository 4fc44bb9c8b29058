package reading

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var old = time.Now().Add(-time.Hour)

func put(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o644))
	must(t, os.Chtimes(path, old, old))
}

// later makes a log's clock go ahead, so that what was written just now counts as old.
func later(l *Log) *Log {
	l.now = func() time.Time { return time.Now().Add(time.Hour) }
	return l
}

// TestSame: each change of what was read is noticed, and none that was not read.
func TestSame(t *testing.T) {
	for name, c := range map[string]struct {
		read   func(l *Log, dir string)
		change func(dir string)
		same   bool
		learnt bool
	}{
		"nothing":   {func(l *Log, dir string) { _, _ = l.ReadFile(dir + "/a") }, func(string) {}, true, false},
		"touched":   {func(l *Log, dir string) { _, _ = l.ReadFile(dir + "/a") }, func(dir string) { must(t, os.Chtimes(dir+"/a", time.Now(), time.Now())) }, true, true},
		"another":   {func(l *Log, dir string) { _, _ = l.ReadFile(dir + "/a") }, func(dir string) { put(t, dir+"/b", "2") }, true, false},
		"same look": {func(l *Log, dir string) { _, _ = l.ReadFile(dir + "/a") }, func(dir string) { put(t, dir+"/a", "2") }, false, false},
		"mode":      {func(l *Log, dir string) { _, _ = l.ReadFile(dir + "/a") }, func(dir string) { must(t, os.Chmod(dir+"/a", 0o755)) }, false, false},
		"removed":   {func(l *Log, dir string) { _, _ = l.ReadFile(dir + "/a") }, func(dir string) { must(t, os.Remove(dir+"/a")) }, false, false},
		"appeared":  {func(l *Log, dir string) { _, _ = l.ReadFile(dir + "/none") }, func(dir string) { put(t, dir+"/none", "") }, false, false},
		"a folder":  {func(l *Log, dir string) { _, _ = l.Stat(dir + "/a") }, func(dir string) { must(t, os.Remove(dir+"/a")); must(t, os.Mkdir(dir+"/a", 0o755)) }, false, false},
		"a pipe":    {func(l *Log, dir string) { _, _ = l.ReadFile(dir + "/a") }, func(dir string) { must(t, os.Remove(dir+"/a")); must(t, os.Symlink("/dev/zero", dir+"/a")) }, false, false},
		"listed":    {func(l *Log, dir string) { _, _ = fs.ReadDir(l.FS(os.DirFS(dir), dir), ".") }, func(dir string) { put(t, dir+"/c", "") }, false, false},
		"listed, and back": {func(l *Log, dir string) { _, _ = fs.ReadDir(l.FS(os.DirFS(dir), dir), ".") },
			func(dir string) { put(t, dir+"/c", ""); must(t, os.Remove(dir+"/c")) }, true, true},
		"through a file system": {func(l *Log, dir string) { _, _ = fs.ReadFile(l.FS(os.DirFS(dir), dir), "a") }, func(dir string) { put(t, dir+"/a", "2") }, false, false},
		"opened": {func(l *Log, dir string) {
			f, err := l.FS(os.DirFS(dir), dir).Open("a")
			must(t, err)
			must(t, f.Close())
		}, func(dir string) { put(t, dir+"/a", "2") }, false, false},
		"a variable":         {func(l *Log, _ string) { l.LookupEnv("READING_X") }, func(string) { t.Setenv("READING_X", "1") }, false, false},
		"a variable of many": {func(l *Log, _ string) { l.Environ("READING_P") }, func(string) { t.Setenv("READING_P9", "1") }, false, false},
		"another variable":   {func(l *Log, _ string) { l.Environ("READING_Q") }, func(string) { t.Setenv("READING_R", "1") }, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir+"/a", "1")
			l := later(NewLog())
			c.read(l, dir)
			r, ok := l.Readings()
			if !ok {
				t.Fatal("not all was taken down")
			}
			var p Packer
			r.Pack(&p)
			u := NewUnpacker(string(p.Bytes))
			r = UnpackReadings(u)
			if u.Err != nil || u.Left() > 0 {
				t.Fatalf("unpacked: %v, %d bytes are left", u.Err, u.Left())
			}
			c.change(dir)
			if same, learnt := same(t, &r); same != c.same || same && learnt != c.learnt {
				t.Errorf("same %v, learnt %v; want %v, %v", same, learnt, c.same, c.learnt)
			}
		})
	}
}

func same(t *testing.T, r *Readings) (same, learnt bool) {
	t.Helper()
	c, err := r.Compare(t.Context())
	must(t, err)
	return len(c.Changed) == 0, c.Learnt
}

// TestCompareNamesWhatChanged: of files, kinds, folders and variables; and a large file that only looks written to is read where nothing
// else has changed, and not where something has.
func TestCompareNamesWhatChanged(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		put(t, dir+"/"+name, name)
	}
	put(t, dir+"/b", strings.Repeat("b", maxSmall+1))
	l := later(NewLog())
	for _, name := range []string{"a", "b", "c", "none"} {
		_, _ = l.ReadFile(dir + "/" + name)
	}
	_, _ = fs.ReadDir(l.FS(os.DirFS(dir), dir), ".")
	l.LookupEnv("READING_X")
	r, ok := l.Readings()
	if !ok {
		t.Fatal("not all was taken down")
	}
	changed := func(names ...string) {
		t.Helper()
		c, err := r.Compare(t.Context())
		must(t, err)
		want := map[string]bool{}
		for _, name := range names {
			want[name] = true
		}
		if !maps.Equal(c.Changed, want) {
			t.Errorf("changed: %v; want %v", c.Changed, want)
		}
	}
	touch := func() {
		must(t, os.Chtimes(dir+"/b", time.Now(), time.Now()))
		must(t, os.Chtimes(dir+"/c", time.Now(), time.Now()))
	}
	touch()
	changed()
	touch()
	put(t, dir+"/a", "longer")
	changed(dir+"/a", dir+"/b")
	must(t, os.Remove(dir+"/a"))
	changed(dir, dir+"/a", dir+"/b")
	must(t, os.Mkdir(dir+"/none", 0o755))
	t.Setenv("READING_X", "1")
	changed(dir, dir+"/a", dir+"/b", dir+"/none", "READING_X")
}

// TestYoungFileIsReadAgain: a file that was written to while it was read, or just before, may change once more within one tick
// of its times, so its bytes are compared.
func TestYoungFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	must(t, os.WriteFile(path, []byte("1"), 0o644))
	l := NewLog()
	_, err := l.ReadFile(path)
	must(t, err)
	r, _ := l.Readings()
	if !r.Files[0].Young {
		t.Fatal("a file of this moment is believed by its times")
	}
	if same, learnt := same(t, &r); !same || !learnt {
		t.Errorf("the same bytes: same %v, read %v", same, learnt)
	}
	look := r.Files[0].Look
	must(t, os.WriteFile(path, []byte("2"), 0o644))
	r.Files[0].Look, _ = lookAt(path) // as if the times had not moved
	if same, _ := same(t, &r); same {
		t.Errorf("other bytes behind the look %v are taken for the same", look)
	}
}

// TestReadTwice: who reads a file twice and finds two texts has a plan of neither.
func TestReadTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	put(t, path, "1")
	l := later(NewLog())
	_, err := l.ReadFile(path)
	must(t, err)
	if _, ok := l.Readings(); !ok {
		t.Fatal("spoilt by one reading")
	}
	put(t, path, "2")
	_, err = l.ReadFile(path)
	must(t, err)
	if _, ok := l.Readings(); ok {
		t.Error("two texts of one file are taken for one")
	}
}

// TestPackKeepsAll, whatever a file's name is made of.
func TestPackKeepsAll(t *testing.T) {
	dir := t.TempDir()
	l := later(NewLog())
	own, other := artifacts.Sum([]byte("1")), artifacts.Sum([]byte("2"))
	for _, name := range []string{"a", "b/" + own.Hex(), "b/" + other.Hex(), "b/" + strings.ToUpper(own.Hex()), "c/" + own.Hex()[1:], "c/" + strings.Repeat("n", 255)} {
		put(t, filepath.Join(dir, name), "1")
		_, err := l.ReadFile(filepath.Join(dir, name))
		must(t, err)
	}
	for _, name := range []string{".", "b"} {
		_, err := fs.ReadDir(l.FS(os.DirFS(dir), dir), name)
		must(t, err)
	}
	_, _ = l.Stat(dir)
	l.LookupEnv("READING_X")
	want, ok := l.Readings()
	var p Packer
	want.Pack(&p)
	u := NewUnpacker(string(p.Bytes))
	if got := UnpackReadings(u); !ok || u.Err != nil || u.Left() > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v, %d bytes are left\n%+v, want\n%+v", ok, u.Err, u.Left(), got, want)
	}
	paths := map[string]bool{}
	for i := range want.Files {
		path := want.Files[i].path()
		paths[path] = true
		if f := &want.Files[i]; f.Name == "" {
			in := want.In(f.Folder)
			if n := Named(in, f.Hex); n < 0 || in[n] != *f {
				t.Errorf("%s is not found", path)
			}
		}
	}
	if in := want.In(dir + "/b/"); len(in) != 2 || Named(in, artifacts.Sum([]byte("3"))) >= 0 || len(want.In(dir+"/")) > 0 || len(want.In(dir+"/z/")) > 0 {
		t.Errorf("of %s/b are %v", dir, in)
	}
	if len(paths) != 6 || !paths[filepath.Join(dir, "b", own.Hex())] {
		t.Error(paths)
	}
}

// TestAddedReadings: those of others come among one's own as if both had been taken down together, unless they say otherwise.
func TestAddedReadings(t *testing.T) {
	dir := t.TempDir()
	read := func(names ...string) Readings {
		l := NewLog()
		for _, name := range names {
			_, err := l.ReadFile(filepath.Join(dir, name))
			must(t, err)
		}
		r, _ := l.Readings()
		return r
	}
	hex := artifacts.Sum([]byte("1")).Hex()
	all := []string{"a", "b/" + hex, "b/c", "c", "d"}
	for _, name := range all {
		put(t, filepath.Join(dir, name), name)
	}
	want := read(all...)
	for n := range 1 << len(all) {
		var some, rest []string
		for i, name := range all {
			if n>>i&1 == 0 {
				some = append(some, name)
			} else {
				rest = append(rest, name)
			}
		}
		for _, more := range [][]string{rest, all} {
			got := read(some...)
			if !got.Add(read(more...).Files) || !slices.Equal(got.Files, want.Files) {
				t.Errorf("%v and %v are %+v", some, more, got.Files)
			}
		}
	}
	other := read("c")
	other.Files[0].Digest = artifacts.Sum([]byte("other"))
	if before := slices.Clone(want.Files); want.Add(other.Files) || !slices.Equal(want.Files, before) {
		t.Error("two readings of one file do not say the same, and nobody minds")
	}
}

// TestCutPack: what is cut anywhere is refused, and makes nothing large.
func TestCutPack(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/a", "1")
	l := NewLog()
	_, _ = l.ReadFile(dir + "/a")
	_, _ = l.ReadFile(dir + "/b")
	for _, text := range []string{"1", "2"} {
		put(t, dir+"/c/"+artifacts.Sum([]byte(text)).Hex(), "1")
		_, _ = l.ReadFile(dir + "/c/" + artifacts.Sum([]byte(text)).Hex())
	}
	_, _ = fs.ReadDir(l.FS(os.DirFS(dir), dir), ".")
	l.LookupEnv("READING_X")
	r, _ := l.Readings()
	var p Packer
	r.Pack(&p)
	for n := range p.Bytes {
		u := NewUnpacker(string(p.Bytes[:n]))
		if UnpackReadings(u); u.Err == nil {
			t.Errorf("%d of %d bytes are taken for whole", n, len(p.Bytes))
		}
	}
}

// TestNilLog reads as os does.
func TestNilLog(t *testing.T) {
	var l *Log
	path := filepath.Join(t.TempDir(), "a")
	put(t, path, "1")
	b, err := l.ReadFile(path)
	_, serr := l.Stat(path)
	l.FileRead(path, old, [32]byte{})
	l.TextRead(path, old, b)
	l.Failed(path, fs.ErrNotExist)
	l.Spoil()
	l.LookupEnv("X")
	if string(b) != "1" || err != nil || serr != nil || len(l.Environ("X")) == 0 {
		t.Error(string(b), err, serr)
	}
}
