package disk_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

// Many files are flushed together: what holds for each of a few holds for them too.
func TestAdoptManyFiles(t *testing.T) {
	s := open(t, t.TempDir())
	w := work(t, s)
	dir := filepath.Join(w, "out", "model")
	const n = 1000
	for i := range n {
		write(t, filepath.Join(dir, strconv.Itoa(i%7), strconv.Itoa(i)), strconv.Itoa(i/2), 0o644)
	}
	kept := filepath.Join(w, "kept")
	must(t, os.Link(filepath.Join(dir, "0", "0"), kept), os.Chmod(filepath.Join(dir, "1", "1"), 0o311))
	late, err := os.OpenFile(filepath.Join(dir, "2", "2"), os.O_RDWR, 0)
	must(t, err)
	m := adopt(t, s, dir)
	file := func(path string) artifacts.File {
		return m.Files[slices.IndexFunc(m.Files, func(f artifacts.File) bool { return f.Path == path })]
	}
	if len(m.Files) != n || content(t, s, m, "1/995") != "497" || !file("1/1").Exec {
		t.Errorf("stored %d files: %s", len(m.Files), listing(m))
	}
	write(t, kept, "wrong", 0o644)
	if got := content(t, s, m, "0/0"); got != "0" {
		t.Errorf("the worker changed a blob to %q", got)
	}
	_, err = late.WriteAt([]byte("x"), 0)
	must(t, err, late.Close())
	for _, f := range m.Files {
		_, err := s.Stat(t.Context(), f.Digest)
		if f.Digest == file("2/2").Digest {
			assertSoundOrGone(t, s, f) // 3/3 is as good a blob of it
		} else if err != nil {
			t.Errorf("%s: %v", f.Path, err)
		}
	}
}

func TestPresent(t *testing.T) {
	s := open(t, t.TempDir())
	dir := filepath.Join(work(t, s), "out", "model")
	const n = 3000
	for i := range n {
		write(t, filepath.Join(dir, strconv.Itoa(i)), "file "+strconv.Itoa(i), 0o644)
	}
	m := adopt(t, s, dir)
	all := make([]artifacts.Blob, 0, n)
	for _, f := range m.Files {
		all = append(all, f.Blob)
	}
	must(t, s.Present(t.Context(), nil), s.Present(t.Context(), all))
	now := time.Now()
	for what, c := range map[string]struct {
		spoil func(path string) error
		want  error
	}{
		"touched":     {func(p string) error { return os.Chtimes(p, now, now) }, nil},
		"gone":        {os.Remove, artifacts.ErrMissing},
		"short":       {func(p string) error { return errors.Join(os.Truncate(p, 2), os.Chtimes(p, disk.Sealed, disk.Sealed)) }, artifacts.ErrDamaged},
		"written to":  {func(p string) error { return errors.Join(os.Chmod(p, 0o644), os.WriteFile(p, []byte("xxxx 0"), 0o644)) }, artifacts.ErrDamaged},
		"a folder":    {func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o755)) }, artifacts.ErrDamaged},
		"interrupted": {nil, context.Canceled},
	} {
		t.Run(what, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if b := all[len(what)*100]; c.spoil == nil {
				cancel()
			} else {
				must(t, c.spoil(blobPath(s, b.Digest)))
				defer func() {
					must(t, os.RemoveAll(blobPath(s, b.Digest)), s.Put(t.Context(), b, strings.NewReader("file "+m.Files[len(what)*100].Path)))
				}()
			}
			if err := s.Present(ctx, all); !errors.Is(err, c.want) {
				t.Errorf("Present = %v", err)
			}
		})
	}
}

func TestAdoptTells(t *testing.T) {
	s := open(t, t.TempDir())
	w := work(t, s)
	for unit, sizes := range map[string][]int{"files": {1, 2, 3, 4, 5}, "bytes": {1 << 20, 5, 300 << 10}} {
		dir := filepath.Join(w, "out", unit)
		var bytes int64
		for i, n := range sizes {
			write(t, filepath.Join(dir, strconv.Itoa(i)), strings.Repeat("x", n), 0o644)
			bytes += int64(n)
		}
		must(t, os.Link(filepath.Join(dir, "0"), filepath.Join(w, "linked "+unit)))
		var told []artifacts.Progress
		ctx := artifacts.Telling(t.Context(), func(p artifacts.Progress) { told = append(told, p) })
		_, err := s.AdoptTree(ctx, dir, "files", nil)
		must(t, err)
		total := map[string]int64{"files": int64(len(sizes)), "bytes": bytes}[unit]
		for _, want := range []artifacts.Progress{
			{What: "hashing", Done: total, Total: total, Unit: unit},
			{What: "storing", Done: int64(len(sizes)), Total: int64(len(sizes)), Unit: "files"},
		} {
			if !slices.Contains(told, want) {
				t.Errorf("%s: not told %+v but %+v", unit, want, told)
			}
		}
	}
}
