package env

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// cut writes a text as a pack of parts of 64 KiB, and gives their names.
func cut(t *testing.T, text []byte, most int64) []string {
	t.Helper()
	w := &partWriter{name: filepath.Join(t.TempDir(), "pack"), most: most}
	if _, err := io.Copy(w, bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range w.paths {
		if info, err := os.Stat(name); err != nil || most > 0 && info.Size() > most {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	return w.paths
}

func whole(t *testing.T, names []string) ([]byte, error) {
	t.Helper()
	w, err := openParts(t.Context(), names)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	text, err := io.ReadAll(w)
	if err != nil {
		t.Fatal(err)
	}
	return text, nil
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{})
	_, _ = r.Read(b)
	return b
}

func TestSplitPartsInAnyOrder(t *testing.T) {
	for _, size := range []int{1, leastPart - 1, leastPart, leastPart + 1, 3*leastPart - 10, 5 * leastPart} {
		text := noise(size)
		names := cut(t, text, leastPart)
		if want := (size + leastPart - 1) / leastPart; len(names) < want || len(names) > want+1 {
			t.Errorf("%d bytes make %d parts", size, len(names))
		}
		slices.Reverse(names)
		if got, err := whole(t, names); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes: %d, %v", size, len(got), err)
		}
		renamed := filepath.Join(t.TempDir(), "x")
		if err := os.Rename(names[0], renamed); err != nil {
			t.Fatal(err)
		}
		names[0] = renamed
		if got, err := whole(t, names); err != nil || !bytes.Equal(got, text) {
			t.Errorf("renamed, %d bytes: %d, %v", size, len(got), err)
		}
	}
}

// Whoever carries parts may join them, as other tools have it done.
func TestPartsThatWereJoinedAreAPack(t *testing.T) {
	for _, size := range []int{leastPart, 3*leastPart - 10, 5*leastPart + 1} {
		text := noise(size)
		var all []byte
		for _, name := range cut(t, text, leastPart) {
			part, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, part...)
		}
		file := filepath.Join(t.TempDir(), "joined")
		if err := os.WriteFile(file, all, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := whole(t, []string{file}); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes: %d, %v", size, len(got), err)
		}
		all[leastPart-1] ^= 1
		if err := os.WriteFile(file, all, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := whole(t, []string{file}); err == nil || !strings.Contains(err.Error(), "part pack.000 is not there, or was damaged") {
			t.Errorf("damaged, %d bytes: %v", size, err)
		}
	}
}

func TestAPackIsOneFileUnlessItIsCut(t *testing.T) {
	names := cut(t, noise(1<<20), 0)
	if len(names) != 1 || filepath.Base(names[0]) != "pack" {
		t.Fatalf("%q", names)
	}
	if got, err := whole(t, names); err != nil || len(got) != 1<<20 {
		t.Errorf("%d, %v", len(got), err)
	}
}

func TestWrongPartsAreNamed(t *testing.T) {
	names := cut(t, noise(4*leastPart+5), leastPart)
	other := cut(t, noise(100), leastPart)
	damaged := filepath.Join(t.TempDir(), "pack.002")
	text, err := os.ReadFile(names[2])
	if err != nil {
		t.Fatal(err)
	}
	text[77] ^= 1
	if err := os.WriteFile(damaged, text, 0o644); err != nil {
		t.Fatal(err)
	}
	for want, given := range map[string][]string{
		"part pack.001 is not there": {names[0], names[2], names[3], names[4]},
		"the last part is missing":   names[:4],
		"is no part of this pack":    append([]string{other[0]}, names...),
		damaged + " is no part":      {names[0], names[1], damaged, names[3], names[4]},
	} {
		if _, err := whole(t, given); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

// TestOtherToolsReadParts: one after the other they are what was compressed.
func TestOtherToolsReadParts(t *testing.T) {
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	text := noise(3 * leastPart)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, name := range cut(t, packed.Bytes(), leastPart) {
		part, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, part...)
	}
	r, err := zstd.NewReader(bytes.NewReader(all))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
