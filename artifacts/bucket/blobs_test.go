package bucket_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
	"github.com/Ruihan11/tiny-infra/artifacts/mem"
)

func blobOf(b []byte) artifacts.Blob {
	return artifacts.Blob{MediaType: artifacts.FileMediaType, Digest: artifacts.Sum(b), Size: int64(len(b))}
}

func damage(t *testing.T, o *mem.Bucket, name, val string) {
	t.Helper()
	if _, err := o.Write(t.Context(), name, artifacts.Text([]byte(val)), nil); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedBlobIsNoticedAtItsEnd(t *testing.T) {
	o := mem.NewBucket()
	p := create(t, o, bucket.Settings{Note: noted(sound())})
	blob := blobOf([]byte("the right bytes"))
	damage(t, o, artifacts.BlobsFolder+blob.Digest.Hex(), "the wrong bytes")
	for _, n := range []int64{-1, blob.Size, blob.Size + 1} {
		r, err := p.Open(t.Context(), blob.Digest, 0, n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); !errors.Is(err, artifacts.ErrDamaged) {
			t.Errorf("reading %d = %v", n, err)
		}
	}
	if err := p.Put(t.Context(), blob, strings.NewReader("the right bytes")); err != nil {
		t.Fatal(err)
	}
	r, err := p.Open(t.Context(), blob.Digest, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "the right bytes" {
		t.Errorf("after it was stored again: %q, %v", got, err)
	}
}

// Blobs that are too large for memory come as files, as pipes, or from the middle of a file.
func TestLargeBlobs(t *testing.T) {
	b := bytes.Repeat([]byte("0123456789abcdef"), 9<<20/16)
	blob := blobOf(b)
	name := filepath.Join(t.TempDir(), "behind a header")
	if err := os.WriteFile(name, append([]byte("header"), b...), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	for kind, open := range map[string]func() io.Reader{
		"file": func() io.Reader { return bytes.NewReader(b) },
		"pipe": func() io.Reader { return io.MultiReader(bytes.NewReader(b)) },
		"middle": func() io.Reader {
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			if _, err := f.Seek(int64(len("header")), io.SeekStart); err != nil {
				t.Fatal(err)
			}
			return f
		},
	} {
		o := mem.NewBucket()
		p := create(t, o, bucket.Settings{Note: noted(sound())})
		if err := p.Put(t.Context(), blob, open()); err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		r, err := p.Open(t.Context(), blob.Digest, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: other bytes came back, %v", kind, err)
		}
		other := artifacts.Blob{Digest: artifacts.Sum(nil), Size: blob.Size}
		if err := p.Put(t.Context(), other, open()); !errors.Is(err, artifacts.ErrDamaged) {
			t.Errorf("%s of another digest: %v", kind, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "tinfra-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// Nothing leaves before it is known to be right.
func TestRefusedBytesAreNotSent(t *testing.T) {
	o := mem.NewBucket()
	p := create(t, o, bucket.Settings{Note: noted(sound())})
	sent := 0
	o.Fault = func(op, _ string) error {
		if op == "write" {
			sent++
		}
		return nil
	}
	for _, size := range []int{100, 9 << 20} {
		want := blobOf(make([]byte, size))
		wrong := make([]byte, size)
		wrong[size-1] = 1
		if err := p.Put(t.Context(), want, bytes.NewReader(wrong)); !errors.Is(err, artifacts.ErrDamaged) {
			t.Errorf("Put = %v", err)
		}
	}
	if sent != 0 {
		t.Errorf("%d writes of wrong bytes", sent)
	}
}

// What others left among our names is no blob and no pointer.
func TestForeignNamesAreNeitherBlobsNorPointers(t *testing.T) {
	o := mem.NewBucket()
	p := create(t, o, bucket.Settings{Note: noted(sound())})
	for _, name := range []string{artifacts.BlobsFolder + "README", "keys-of-old", "unknown/thing"} {
		damage(t, o, name, "x")
	}
	for b, err := range p.All(t.Context()) {
		t.Errorf("blob %v, %v", b, err)
	}
	for n, err := range p.List(t.Context(), "", "") {
		t.Errorf("pointer %v, %v", n, err)
	}
	damage(t, o, "keys/large", strings.Repeat("x", 1<<17))
	if _, _, err := p.Get(t.Context(), "keys/large"); !errors.Is(err, artifacts.ErrDamaged) {
		t.Errorf("a pointer of 128 KiB: %v", err)
	}
}
