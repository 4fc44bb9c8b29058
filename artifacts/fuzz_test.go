package artifacts_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
)

// fuzzDecode: what is accepted is exactly what Encode writes, what is refused is ErrDamaged, and neither takes more
// memory than the text is worth.
func fuzzDecode[T any](f *testing.F, name string, decode func([]byte) (T, error), encode func(T) ([]byte, error)) {
	f.Add(encoded(f)[name].bytes)
	f.Add([]byte(`{}`))
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	f.Fuzz(func(t *testing.T, b []byte) {
		metrics.Read(sample)
		before := sample[0].Value.Uint64()
		v, err := decode(b)
		metrics.Read(sample)
		if took := sample[0].Value.Uint64() - before; took > 4<<20+1000*uint64(len(b)) {
			t.Fatalf("%d bytes were allocated for %d", took, len(b))
		}
		if err != nil {
			if !errors.Is(err, artifacts.ErrDamaged) {
				t.Fatalf("%v is not ErrDamaged", err)
			}
			return
		}
		again, err := encode(v)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("accepted %q, which is encoded as %q, %v", b, again, err)
		}
	})
}

func FuzzDecodeManifest(f *testing.F) {
	fuzzDecode(f, "manifest", artifacts.DecodeManifest, func(m *artifacts.Manifest) ([]byte, error) {
		for _, x := range m.Files {
			if err := artifacts.CheckPath(x.Path); err != nil {
				return nil, err
			}
		}
		b, _, err := m.Encode()
		return b, err
	})
}

func FuzzDecodeAction(f *testing.F) {
	fuzzDecode(f, "action", artifacts.DecodeAction, func(a *artifacts.Action) ([]byte, error) {
		b, _, err := a.Encode()
		return b, err
	})
}

func FuzzDecodeRecord(f *testing.F) {
	fuzzDecode(f, "record", artifacts.DecodeRecord, func(r *artifacts.Record) ([]byte, error) {
		b, _, err := r.Encode()
		return b, err
	})
}

func FuzzDecodeBuild(f *testing.F) {
	fuzzDecode(f, "build", artifacts.DecodeBuild, func(x *artifacts.Build) ([]byte, error) {
		b, _, err := x.Encode()
		return b, err
	})
}

// FuzzDigest: a digest has one spelling.
func FuzzDigest(f *testing.F) {
	d := digest("x")
	for _, s := range []string{d.String(), d.Hex(), strings.ToUpper(d.String()), "sha256:", "sha512:" + d.Hex(), d.String() + "0", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := artifacts.ParseDigest(s); err == nil && d.String() != s {
			t.Fatalf("%q is read as %s", s, d)
		}
		if d, err := artifacts.ParseHex(s); err == nil && d.Hex() != s {
			t.Fatalf("%q is read as %s", s, d.Hex())
		}
	})
}

// FuzzFiles: a list of names that is accepted can be laid out below a folder, each as a file of its own, also by a system
// that knows no letter case.
func FuzzFiles(f *testing.F) {
	for _, s := range []string{"a\nb/c", "../a", "/etc/passwd", "a/../../b", `a\b`, "C:/a", "a\nA", "a\na/b", "é\ne\u0301", "straße\nSTRASSE", "CON\naux.txt", "\u212a\nk", "ſ\ns", "İ\ni̇"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var files []artifacts.File
		for _, name := range strings.Split(s, "\n") {
			files = append(files, artifacts.File{Path: name})
		}
		artifacts.SortFiles(files)
		if err := artifacts.CheckFiles(files); err != nil {
			if !errors.Is(err, artifacts.ErrPath) {
				t.Fatal(err)
			}
			return
		}
		dir := t.TempDir()
		for i, x := range files {
			for _, z := range files[:i] {
				if strings.EqualFold(x.Path, z.Path) {
					t.Fatalf("%q and %q differ by letter case only", x.Path, z.Path)
				}
			}
			if !filepath.IsLocal(x.Path) || filepath.ToSlash(filepath.Clean(x.Path)) != x.Path {
				t.Fatalf("%q leads elsewhere", x.Path)
			}
			full := filepath.Join(dir, x.Path)
			if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
				t.Fatal(err)
			}
			out, err := os.OpenFile(full, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			out.Close()
		}
	})
}

// FuzzPointer: whatever a pointer of a key says, it is that key's complete record or a miss.
func FuzzPointer(f *testing.F) {
	place := mem.New()
	c := artifacts.NewCache(place, place)
	mine, other := result(f, c, "mine", 1, "a=b"), result(f, c, "other", 2, "a=b")
	_, d, err := c.Publish(f.Context(), mine)
	if err != nil {
		f.Fatal(err)
	}
	_, theirs, err := c.Publish(f.Context(), other)
	if err != nil {
		f.Fatal(err)
	}
	for _, val := range []string{d.String(), theirs.String(), mine.Key.String(), mine.Outputs["out"].String(), d.Hex(), d.String() + "\n", "sha256:", ""} {
		f.Add(val)
	}
	name := "keys/" + mine.Key.Hex()
	f.Fuzz(func(t *testing.T, val string) {
		place := mem.New()
		here := artifacts.NewCache(c.Store, place)
		if _, err := here.Set(t.Context(), name, []byte(val), artifacts.Absent); err != nil {
			t.Fatal(err)
		}
		rec, got, err := here.Lookup(t.Context(), mine.Key)
		if err != nil {
			if !errors.Is(err, artifacts.ErrMissing) {
				t.Fatalf("%q: %v is no miss", val, err)
			}
			return
		}
		if val != d.String() || got != d || rec.Key != mine.Key {
			t.Fatalf("%q leads to %s of key %s", val, got, rec.Key)
		}
	})
}
