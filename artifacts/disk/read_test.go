package disk_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

const most = 1000 // bytes

func readAsParts(ctx context.Context, s *disk.Store, dir string) (*artifacts.Manifest, []artifacts.Part, error) {
	m, files, err := s.ReadTree(ctx, dir, "files", nil, most)
	if err == nil && m == nil {
		err = errors.New("it was not read")
	}
	var parts []artifacts.Part
	for _, f := range files {
		parts = append(parts, artifacts.Part{Payload: f})
	}
	return m, parts, err
}

// published is an output that was read into memory, stored under a key of its own.
func published(t *testing.T, s *disk.Store, m *artifacts.Manifest, files []artifacts.Part) *artifacts.Record {
	t.Helper()
	c := artifacts.NewCache(s, s)
	key, err := putAction(t.Context(), c, 1)
	must(t, err)
	out, err := m.Part()
	must(t, err)
	at := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	rec, _, err := c.Publish(t.Context(), &artifacts.Record{
		Key: key, Outputs: map[string]artifacts.Digest{"out": out.Digest}, Builder: "test", Started: at, Ended: at,
	}, append(files, out)...)
	must(t, err)
	return rec
}

func TestReadTree(t *testing.T) {
	s := open(t, t.TempDir())
	dir := filepath.Join(work(t, s), "out", "model")
	writeOdd(t, dir, 0o100)
	for range 2 { // who dies in between finds it as it was
		m, parts, err := readAsParts(t.Context(), s, dir)
		must(t, err)
		if got := listing(m); got != oddFiles {
			t.Errorf("files %q, want %q", got, oddFiles)
		}
		if blobs, err := os.ReadDir(filepath.Join(s.Dir(), "blobs", "sha256")); err != nil || len(blobs) > 0 {
			t.Errorf("%d blobs, %v", len(blobs), err)
		}
		if len(parts) != 4 { // of one that has two names there is one
			t.Errorf("%d parts", len(parts))
		}
	}
	m, parts, err := readAsParts(t.Context(), s, dir)
	must(t, err)
	published(t, s, m, parts)
	for p, want := range map[string]string{"a/closed": "closed", "link": "#!", "shortcut/run.sh": "#!", "z.txt": "b", "again": "b"} {
		if got := content(t, s, m, p); got != want {
			t.Errorf("%s holds %q, want %q", p, got, want)
		}
	}
	for _, f := range m.Files {
		fi, err := os.Stat(blobPath(s, f.Digest))
		must(t, err)
		if fi.Mode() != 0o444 || !fi.ModTime().Equal(disk.Sealed) {
			t.Errorf("blob %s has mode %v and time %v", f.Path, fi.Mode(), fi.ModTime())
		}
	}
	if moved := adopt(t, s, dir); listing(moved) != oddFiles {
		t.Errorf("moved afterwards: %q", listing(moved))
	}
}

func TestReadOneFile(t *testing.T) {
	s := open(t, t.TempDir())
	file := filepath.Join(work(t, s), "out", "result")
	write(t, file, "42", 0o644)
	m, parts, err := readAsParts(t.Context(), s, file)
	must(t, err)
	published(t, s, m, parts)
	if listing(m) != "result" || content(t, s, m, "result") != "42" {
		t.Errorf("files %q", listing(m))
	}
}

func TestReadRefuses(t *testing.T) {
	for name, c := range unstorable {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			w := work(t, s)
			write(t, filepath.Join(w, "out", "other", "f"), "not this port's", 0o644)
			dir := filepath.Join(w, "out", "model")
			must(t, os.Mkdir(dir, 0o755))
			c.make(t, dir)
			m, files, err := s.ReadTree(t.Context(), dir, "files", nil, most)
			if !errors.Is(err, disk.ErrOutput) || !strings.Contains(err.Error(), c.says) || m != nil || files != nil {
				t.Errorf("ReadTree = %v, want one that says %q", err, c.says)
			}
			if _, err := os.Lstat(dir); (err == nil) != (name != "not there") {
				t.Errorf("what was refused is gone: %v", err)
			}
		})
	}
}

// What is at the bounds is read, what is above is left to be moved.
func TestReadBounds(t *testing.T) {
	many := func(files, folders int) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			for i := range folders {
				must(t, os.MkdirAll(filepath.Join(dir, "d"+strconv.Itoa(i)), 0o755))
			}
			for i := range files {
				write(t, filepath.Join(dir, "d0", strconv.Itoa(i)), strconv.Itoa(i), 0o644)
			}
		}
	}
	sized := func(sizes ...int) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			for i, n := range sizes {
				write(t, filepath.Join(dir, strconv.Itoa(i)), strings.Repeat("x", n), 0o644)
			}
		}
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, dir string)
		read bool
	}{
		"as large as may be":     {sized(most), true},
		"a byte more":            {sized(most + 1), false},
		"a byte more in two":     {sized(most, 1), false},
		"as many as may be":      {many(14, 2), true},
		"one more":               {many(15, 2), false},
		"one more folder":        {many(14, 3), false},
		"far more in one folder": {many(100, 1), false},
		"a link that multiplies": {func(t *testing.T, d string) {
			many(8, 1)(t, d)
			must(t, os.Symlink("d0", filepath.Join(d, "d1")))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			dir := filepath.Join(work(t, s), "out", "model")
			c.make(t, dir)
			m, files, err := s.ReadTree(t.Context(), dir, "files", nil, most)
			if err != nil || (m != nil) != c.read || (len(files) > 0) != c.read {
				t.Errorf("read %v, %d files, %v", m != nil, len(files), err)
			}
			want := ""
			if m != nil {
				want = listing(m)
			}
			if moved := adopt(t, s, dir); m != nil && listing(moved) != want {
				t.Errorf("moved %q, read %q", listing(moved), want)
			}
		})
	}
}

// What was read is out of the reach of whoever still has the file open, or has another name for it.
func TestWhatWasReadStaysAsItWas(t *testing.T) {
	s := open(t, t.TempDir())
	w := work(t, s)
	dir := filepath.Join(w, "out", "model")
	write(t, filepath.Join(dir, "open"), "right", 0o644)
	write(t, filepath.Join(dir, "linked"), "right too", 0o644)
	late, err := os.OpenFile(filepath.Join(dir, "open"), os.O_RDWR, 0)
	must(t, err, os.Link(filepath.Join(dir, "linked"), filepath.Join(w, "kept")))
	m, parts, err := readAsParts(t.Context(), s, dir)
	must(t, err)
	_, err = late.WriteAt([]byte("wrong"), 0)
	must(t, err)
	write(t, filepath.Join(w, "kept"), "wrong", 0o644)
	published(t, s, m, parts)
	_, err = late.WriteAt([]byte("worse"), 0)
	must(t, err, late.Close())
	if a, b := content(t, s, m, "open"), content(t, s, m, "linked"); a != "right" || b != "right too" {
		t.Errorf("stored %q and %q", a, b)
	}
}

// A writer that outlives its worker is found out, however often it takes; what is read meanwhile is whole.
func TestReadNoticesAWriter(t *testing.T) {
	s := open(t, t.TempDir())
	dir := filepath.Join(work(t, s), "out", "model")
	write(t, filepath.Join(dir, "x"), "0", 0o644)
	f, err := os.OpenFile(filepath.Join(dir, "x"), os.O_RDWR, 0)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := f.WriteAt([]byte{byte('0' + i%10)}, 0); err != nil {
				t.Error(err)
			}
		}
	})
	for range 100_000 {
		_, _, err = s.ReadTree(t.Context(), dir, "files", nil, most)
		if err != nil {
			break
		}
	}
	cancel()
	writing.Wait()
	must(t, f.Close())
	if !errors.Is(err, disk.ErrOutput) || !strings.Contains(err.Error(), "still writes to it") {
		t.Errorf("ReadTree = %v", err)
	}
}

// A blob that has decayed is replaced by what was read, though it has the name.
func TestReadReplacesADamagedBlob(t *testing.T) {
	made, m, _, _ := laid(t)
	damageEvery(t, made.Dir())
	s := open(t, made.Dir()) // as another process: it has hashed nothing yet
	dir := filepath.Join(s.Dir(), "work", testKey.Hex(), "1", "out", "model")
	write(t, filepath.Join(dir, "deep", "weights"), "right", 0o644)
	write(t, filepath.Join(dir, "run"), "#!", 0o755)
	again, parts, err := readAsParts(t.Context(), s, dir)
	must(t, err)
	published(t, s, again, parts)
	if listing(again) != listing(m) || content(t, s, m, "deep/weights") != "right" || content(t, s, m, "run") != "#!" {
		t.Errorf("read %q, want %q", listing(again), listing(m))
	}
}

// Equal files of one output, and of several that are published at once, are written once; where that fails, all of them fail.
func TestEqualFilesAreStoredOnce(t *testing.T) {
	s := open(t, t.TempDir())
	dir := filepath.Join(work(t, s), "out", "model")
	for i := range 5 {
		write(t, filepath.Join(dir, strconv.Itoa(i)), "the same", 0o644)
	}
	_, files, err := s.ReadTree(t.Context(), dir, "files", nil, most)
	must(t, err)
	torn := errors.New("input/output error")
	written, fails := 0, true
	s.FailSync(func(path string) error {
		if strings.HasPrefix(path, s.Dir()+"/tmp/") {
			if written++; fails {
				return torn
			}
		}
		return nil
	})
	for _, fails = range []bool{true, false} {
		written = 0
		for _, err := range s.StoreAll(t.Context(), []artifacts.Batch{{Blobs: files}, {Blobs: files}}) {
			if errors.Is(err, torn) != fails {
				t.Errorf("StoreAll = %v", err)
			}
		}
		if written != 1 {
			t.Errorf("written %d times", written)
		}
	}
}
