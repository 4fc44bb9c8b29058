package env

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// packable is a set with the environment "tiny" of wheels made here: six, and one for another system.
func packable(t *testing.T, cache string, offline bool) *Set {
	t.Helper()
	return packableWith(t, cache, offline, "")
}

func packableWith(t *testing.T, cache string, offline bool, block string) *Set {
	t.Helper()
	links := t.TempDir()
	whl := wheel(t)
	if err := os.WriteFile(filepath.Join(links, "six-1.17.0-py3-none-any.whl"), whl, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PIP_NO_INDEX", "1")
	t.Setenv("PIP_FIND_LINKS", links)
	s := NewSet(os.DirFS("."), cache, offline)
	err := s.Add(fstest.MapFS{
		"tiny/env.hcl": {Data: []byte("doc = \"x\"\npython = [\"3.11\", \"3.12\", \"3.13\", \"3.14\"]\n" + block)},
		"tiny/requirements.lock": {Data: fmt.Appendf(nil, "six==1.17.0 --hash=sha256:%x\nelsewhere==1.0 ; sys_platform == 'win32' --hash=sha256:%x\n",
			sha256.Sum256(whl), sha256.Sum256(nil))},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func pack(t *testing.T, s *Set, o PackOptions) *Packed {
	t.Helper()
	o.Name, o.Out = "tiny", filepath.Join(t.TempDir(), "tiny.tar.zst")
	made, err := s.Pack(t.Context(), o, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func described(t *testing.T, s *Set) *Machine {
	t.Helper()
	m, err := s.Describe(t.Context(), []string{"tiny"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if h := m.Environments["tiny"]; h.Lacks != "" {
		t.Fatal(h.Lacks)
	}
	return m
}

// packingCache has the environment fetch, which tests of packs install once. TestMain removes it.
var packingCache = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "packs-")
	if err != nil {
		panic(err)
	}
	return dir
})

func TestPackAndUnpackGiveTheSameDigest(t *testing.T) {
	cache := packingCache()
	made := pack(t, packable(t, cache, false), PackOptions{})
	if made.Packages != 1 || made.LeftOut != 0 {
		t.Errorf("%+v", made)
	}
	again := pack(t, packable(t, cache, false), PackOptions{})
	first, err := os.ReadFile(made.Files[0])
	if err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(again.Files[0]); err != nil || !bytes.Equal(first, second) {
		t.Errorf("two packs of the same differ: %d and %d bytes, %v", len(first), len(second), err)
	}
	there := packable(t, t.TempDir(), true)
	t.Setenv("PIP_FIND_LINKS", "")
	u, err := there.Unpack(t.Context(), made.Files, Onto{}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	works(t, u.Python)
	blob, err := there.Blob(t.Context(), "tiny")
	if err != nil {
		t.Fatal(err)
	}
	all, err := there.List(t.Context())
	if err != nil || len(all) != 1 || !all[0].Current || all[0].Problem != "" || !strings.Contains(u.Python, all[0].Digest.Hex()) {
		t.Errorf("%+v, %v, of %s", all, err, blob)
	}
	onlyEnvironments(t, there.cache)
	if _, err := packable(t, there.cache, true).Install(t.Context(), "tiny", nil); err != nil {
		t.Errorf("offline, after it was unpacked: %v", err)
	}
}

func TestPackForAMachineLeavesOutWhatItHas(t *testing.T) {
	s := packable(t, packingCache(), false)
	m := described(t, s)
	h := m.Environments["tiny"]
	h.Own, h.Has = true, []string{"Six==1.17.0+cu130", "numpy==1.0"}
	m.Environments["tiny"] = h
	made := pack(t, s, PackOptions{For: m})
	if made.Packages != 0 || made.LeftOut != 1 {
		t.Errorf("%+v", made)
	}
	_, err := packable(t, t.TempDir(), true).Unpack(t.Context(), made.Files, Onto{}, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "such as six==1.17.0: unpack it with --overlay") {
		t.Errorf("%v", err)
	}
	h.Has = []string{"six==1.16.0"}
	m.Environments["tiny"] = h
	if made := pack(t, s, PackOptions{For: m, Only: []string{"s?x"}}); made.Packages != 1 || made.LeftOut != 0 {
		t.Errorf("another version: %+v", made)
	}
	for words, o := range map[string]PackOptions{
		`no package or native part of it is called "nosuch*"`: {For: m, Only: []string{"six", "nosuch*"}},
		"description is of  and not of tiny":                  {For: &Machine{Format: machineFormat}},
		"a part has 64 KiB at least":                          {For: m, Most: 10},
	} {
		o.Name, o.Out = "tiny", filepath.Join(t.TempDir(), "x")
		if _, err := s.Pack(t.Context(), o, func(string) {}); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v", words, err)
		}
	}
}

// TestPackForAnotherKindOfMachine: conditions and wheels are those of the machine described, not of this one.
func TestPackForAnotherKindOfMachine(t *testing.T) {
	s := packable(t, packingCache(), false)
	m := described(t, s)
	h := m.Environments["tiny"]
	h.OS, h.Libc, h.Platforms = "win32", "", []string{"win_amd64"}
	h.Markers["sys_platform"] = "win32"
	m.Environments["tiny"] = h
	_, err := s.Pack(t.Context(), PackOptions{Name: "tiny", For: m, Out: filepath.Join(t.TempDir(), "x")}, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "elsewhere==1.0") {
		t.Errorf("the lock's package for that system was not asked for: %v", err)
	}
}

func TestPackOfNativePartsForAnotherProcessor(t *testing.T) {
	jar := jarOf(t)
	s := packableWith(t, packingCache(), false, nativeBlock(t, jar))
	s.Use(Local{Maven: repository(t, jar)})
	m := described(t, s)
	h := m.Environments["tiny"]
	h.Arch = "riscv64"
	m.Environments["tiny"] = h
	_, err := s.Pack(t.Context(), PackOptions{Name: "tiny", For: m, Out: filepath.Join(t.TempDir(), "x")}, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "on that machine, which is linux on riscv64: its native part thing is for linux") {
		t.Errorf("%v", err)
	}
}

func TestOverlayIsAFolderOfPackages(t *testing.T) {
	made := pack(t, packable(t, packingCache(), false), PackOptions{})
	overlay := filepath.Join(t.TempDir(), "overlay")
	s := packable(t, t.TempDir(), true)
	for range 2 { // again is no trouble
		u, err := s.Unpack(t.Context(), made.Files, Onto{Overlay: overlay}, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(u.Overlay, "six.py")); err != nil || u.Native != "" || u.Packages != 1 || !executable(u.Python) {
			t.Errorf("%+v, %v", u, err)
		}
		if found, err := filepath.Glob(filepath.Join(overlay, "__pycache__", "six.*.pyc")); err != nil || len(found) != 1 {
			t.Errorf("each worker would parse it anew: %q, %v", found, err)
		}
	}
	if all, err := s.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("installed besides: %v, %v", all, err)
	}
}

func TestNativePartsTravelWithAPack(t *testing.T) {
	jar := jarOf(t)
	block := nativeBlock(t, jar)
	s := packableWith(t, packingCache(), false, block)
	s.Use(Local{Maven: repository(t, jar)})
	made := pack(t, s, PackOptions{})
	t.Setenv("HOME", t.TempDir()) // no repository of the user's, and no mvn's
	there := packableWith(t, t.TempDir(), true, block)
	there.Use(Local{Maven: t.TempDir()})
	u, err := there.Unpack(t.Context(), made.Files, Onto{}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	ready, err := there.Install(t.Context(), "tiny", nil)
	if err != nil || len(ready.Libraries) != 1 || ready.Python != u.Python {
		t.Fatalf("%+v, %v", ready, err)
	}
	overlay := filepath.Join(t.TempDir(), "overlay")
	if u, err = there.Unpack(t.Context(), made.Files, Onto{Overlay: overlay}, func(string) {}); err != nil || u.Native != filepath.Join(overlay, nativeDir) {
		t.Fatalf("%+v, %v", u, err)
	}
	stale := filepath.Join(u.Native, "lib", "lib.so.1")
	if err := os.WriteFile(stale, []byte("of an older version"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err = there.Unpack(t.Context(), made.Files, Onto{Overlay: overlay}, func(string) {}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(ready.Libraries[0], "lib.so.1"), stale} {
		if text, err := os.ReadFile(name); err != nil || string(text) != libraryText {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	some := pack(t, s, PackOptions{Only: []string{"six"}})
	if u, err = there.Unpack(t.Context(), some.Files, Onto{Overlay: filepath.Join(t.TempDir(), "some")}, func(string) {}); err != nil || u.Native != "" || some.LeftOut != 1 {
		t.Errorf("without the native part: %+v, %+v, %v", some, u, err)
	}
	some = pack(t, s, PackOptions{Only: []string{"th*"}})
	if u, err = there.Unpack(t.Context(), some.Files, Onto{Overlay: filepath.Join(t.TempDir(), "native")}, func(string) {}); err != nil || u.Native == "" || u.Packages != 0 {
		t.Errorf("the native part alone: %+v, %+v, %v", some, u, err)
	}
	err = there.Verify(t.Context(), func(d artifacts.Digest, why error) error { return why })
	if err != nil {
		t.Error(err)
	}
}

// packed is a member of a pack made by hand.
type packed struct {
	name, text string
	kind       byte
	size       int64 // 0: the text's
}

func packOf(t *testing.T, list any, members ...packed) []string {
	t.Helper()
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, m := range append([]packed{{name: packName, text: string(text)}}, members...) {
		if m.kind == 0 {
			m.kind = tar.TypeReg
		}
		size := max(m.size, int64(len(m.text)))
		if m.kind != tar.TypeReg {
			size = 0
		}
		if err := w.WriteHeader(&tar.Header{Name: m.name, Linkname: "/etc/passwd", Typeflag: m.kind, Size: size, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if size > 0 {
			if _, err := io.WriteString(w, m.text); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = w.Flush() // which complains of a member that is cut short
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return cut(t, b.Bytes(), 0)
}

func TestHostilePacks(t *testing.T) {
	s := packable(t, t.TempDir(), true)
	d, err := s.declaration("tiny")
	if err != nil {
		t.Fatal(err)
	}
	six := requirements(d.lock)[1]
	whl := string(wheel(t))
	ok := packMember{"wheels/six-1.17.0-py3-none-any.whl", int64(len(whl)), six.Hashes[0]}
	list := func(members ...packMember) packList {
		return packList{Format: packFormat, Name: "tiny", Members: members}
	}
	named := func(name string) packMember { m := ok; m.Path = name; return m }
	other := ok
	other.SHA256 = strings.Repeat("0", 64)
	good := packed{name: ok.Path, text: whl}
	for name, c := range map[string]struct {
		words string
		parts []string
	}{
		"up":             {"no name of a member", packOf(t, list(named("wheels/../../x.whl")), good)},
		"absolute":       {"no name of a member", packOf(t, list(named("/wheels/x.whl")), good)},
		"elsewhere":      {"not in the lock", packOf(t, list(named("bin/x.whl")), good)},
		"deep":           {"not in the lock", packOf(t, list(named("wheels/a/b.whl")), good)},
		"no wheel":       {"not in the lock", packOf(t, list(named("wheels/six.py")), good)},
		"native":         {"not in the lock", packOf(t, list(named("native/lib.so")), good)},
		"as uv":          {"not in the lock", packOf(t, list(named("uv/uv.whl")), good)},
		"other bytes":    {"not in the lock", packOf(t, list(other), good)},
		"twice":          {"no name of a member", packOf(t, list(ok, ok), good, good)},
		"changed":        {"its sha256 is", packOf(t, list(ok), packed{name: ok.Path, text: strings.Replace(whl, "six", "sax", 1)})},
		"longer":         {"not there as it is listed", packOf(t, list(ok), packed{name: ok.Path, text: whl + "x"})},
		"shorter":        {"EOF", packOf(t, list(ok), packed{name: ok.Path, text: whl[:9], size: int64(len(whl))})},
		"a link":         {"not there as it is listed", packOf(t, list(ok), packed{name: ok.Path, kind: tar.TypeSymlink})},
		"a hard link":    {"not there as it is listed", packOf(t, list(ok), packed{name: ok.Path, kind: tar.TypeLink})},
		"a device":       {"not there as it is listed", packOf(t, list(ok), packed{name: ok.Path, kind: tar.TypeChar})},
		"more than said": {"goes on behind", packOf(t, list(ok), good, packed{name: "wheels/more.whl", text: "x"})},
		"less than said": {"EOF", packOf(t, list(ok))},
		"another format": {"format 9", packOf(t, packList{Format: 9, Name: "tiny"})},
		"no such":        {`no environment "../tiny"`, packOf(t, packList{Format: packFormat, Name: "../tiny"})},
		"no list":        {"not readable", packOf(t, "x")},
		"no pack":        {"does not begin", cut(t, []byte("something"), 0)},
	} {
		_, err := s.Unpack(t.Context(), c.parts, Onto{}, func(string) {})
		if err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want %q", name, err, c.words)
		}
	}
	onlyEnvironments(t, s.cache)
	if _, err := s.Unpack(t.Context(), packOf(t, list(ok), good), Onto{}, func(string) {}); err == nil || !strings.Contains(err.Error(), "it was packed for the") {
		t.Errorf("a list without a machine: %v", err)
	}
}

func TestAPackThatNeedsTooMuchMemoryIsRefused(t *testing.T) {
	// A frame that says of itself that it looks back by 2 GiB.
	frame := []byte{0x28, 0xB5, 0x2F, 0xFD, 0x00, 21 << 3, 0x01, 0x00, 0x00}
	s := packable(t, t.TempDir(), true)
	if _, err := s.Unpack(t.Context(), cut(t, frame, 0), Onto{}, func(string) {}); !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("%v", err)
	}
}

func TestPackingEndsWhenItIsTold(t *testing.T) {
	s := packable(t, packingCache(), false)
	m := described(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	out := filepath.Join(t.TempDir(), "x")
	_, err := s.Pack(ctx, PackOptions{Name: "tiny", For: m, Out: out}, func(line string) {
		if strings.HasPrefix(line, "writing") {
			cancel()
		}
	})
	if _, stat := os.Lstat(out); !errors.Is(err, context.Canceled) || !errors.Is(stat, os.ErrNotExist) {
		t.Errorf("%v; the file: %v", err, stat)
	}
	left, err := filepath.Glob(filepath.Join(s.cache, "env", packPrefix+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

func TestRequirementsAreReadWhole(t *testing.T) {
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	lock, err := normalise("X_y[extra]==1.0+cpu ; python_version < '3.12' --hash=sha256:" + b + " --hash=sha256:" + a + "\nz==2 --hash=sha256:" + a)
	if err != nil {
		t.Fatal(err)
	}
	got := requirements(lock)
	if len(got) != 2 || got[0].Name != "x-y" || got[0].Version != "1.0+cpu" || got[0].Marker != "python_version < '3.12'" ||
		!slices.Equal(got[0].Hashes, []string{a, b}) || got[0].Line != "x-y[extra]==1.0+cpu --hash=sha256:"+a+" --hash=sha256:"+b ||
		got[1].Marker != "" || got[1].Line != lock[1] {
		t.Errorf("%+v", got)
	}
}
