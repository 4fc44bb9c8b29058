package disk_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

// scale multiplies what the benchmarks of large outputs work on: 32 makes one file of 2 GiB, 100 makes 200,000 files.
func scale(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv("TINFRA_BENCH_SCALE"))
	if err != nil || n < 1 {
		return 1
	}
	b.Logf("scale %d", n)
	return n
}

// processorTime is what this process has used; what the kernel does on its behalf in threads of its own is not in it.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// repeat reports processor time beside the benchmark's own wall time; prepare is in neither.
func repeat(b *testing.B, prepare, do func()) {
	b.Helper()
	var used time.Duration
	for b.Loop() {
		b.StopTimer()
		prepare()
		before := processorTime(b)
		b.StartTimer()
		do()
		used += processorTime(b) - before
	}
	b.ReportMetric(used.Seconds()/float64(b.N), "cpu-s/op")
}

// fill writes n random bytes without holding them.
func fill(b *testing.B, path string, n int64) {
	b.Helper()
	must(b, os.MkdirAll(filepath.Dir(path), 0o755))
	f, err := os.Create(path)
	must(b, err)
	piece := random(b, 1<<20)
	for at := int64(0); at < n; at += int64(len(piece)) {
		copy(piece, strconv.FormatInt(at, 16)+path)
		_, err := f.Write(piece[:min(n-at, int64(len(piece)))])
		must(b, err)
	}
	must(b, f.Close())
}

func BenchmarkAdoptLarge(b *testing.B) {
	size := int64(scale(b)) * large
	for _, files := range []int64{1, 4} {
		b.Run(fmt.Sprintf("files=%d", files), func(b *testing.B) {
			s := open(b, b.TempDir())
			dir := filepath.Join(work(b, s), "out", "model")
			b.SetBytes(size)
			repeat(b, func() {
				for i := range files {
					fill(b, filepath.Join(dir, strconv.FormatInt(i, 10)), size/files)
				}
			}, func() {
				_, err := s.AdoptTree(b.Context(), dir, "files", nil)
				must(b, err)
			})
		})
	}
}

// smallFiles is a tree of many small files, a thousand a folder.
func smallFiles(b *testing.B, dir string, n int) {
	b.Helper()
	for i := range n {
		folder := filepath.Join(dir, fmt.Sprintf("%04d", i/1000))
		if i%1000 == 0 {
			must(b, os.MkdirAll(folder, 0o755))
		}
		must(b, os.WriteFile(filepath.Join(folder, fmt.Sprintf("%04d.txt", i%1000)), fmt.Appendf(nil, "file %d\n", i), 0o644))
	}
}

func BenchmarkAdoptManyFiles(b *testing.B) {
	n := 2000 * scale(b)
	s := open(b, b.TempDir())
	dir := filepath.Join(work(b, s), "out", "model")
	repeat(b, func() { smallFiles(b, dir, n) }, func() {
		_, err := s.AdoptTree(b.Context(), dir, "files", nil)
		must(b, err)
	})
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N*n)*1e6, "µs/file")
}

// BenchmarkHashFiles is what a plan does with people's own large files of which nothing is remembered.
func BenchmarkHashFiles(b *testing.B) {
	const files = 4
	size := int64(scale(b)) * large
	s := open(b, b.TempDir())
	dir := b.TempDir()
	var paths []string
	for i := range files {
		paths = append(paths, strconv.Itoa(i))
		fill(b, filepath.Join(dir, paths[i]), size/files)
	}
	b.SetBytes(size)
	repeat(b, func() { must(b, os.RemoveAll(filepath.Join(s.Dir(), "hash"))) }, func() {
		_, err := s.Files().Manifest(b.Context(), dir, paths)
		must(b, err)
	})
}

// BenchmarkExtract is beside copying alone: that is the floor of a copy that is also looked at.
func BenchmarkExtract(b *testing.B) {
	size := int64(scale(b)) * large
	cache := b.TempDir()
	s := open(b, cache)
	from := filepath.Join(work(b, s), "out", "model")
	fill(b, from, size)
	m, err := s.AdoptTree(b.Context(), from, "files", nil)
	must(b, err)
	to := filepath.Join(b.TempDir(), "copy")
	clear := func() { must(b, os.RemoveAll(to)) }
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(size)
		repeat(b, clear, func() {
			must(b, os.MkdirAll(to, 0o755))
			src, err := os.Open(blobPath(s, m.Files[0].Digest))
			must(b, err)
			dst, err := os.Create(filepath.Join(to, "model"))
			must(b, err)
			_, err = io.Copy(dst, src)
			must(b, err, src.Close(), dst.Close())
		})
	})
	b.Run("extract", func(b *testing.B) {
		b.SetBytes(size)
		repeat(b, clear, func() {
			fresh, err := disk.Open(cache) // which has hashed nothing yet
			must(b, err)
			must(b, fresh.Extract(b.Context(), m, to), fresh.Close())
		})
	})
}

// BenchmarkPresent is what a hit on an output of many files costs; Stat of each is beside it.
func BenchmarkPresent(b *testing.B) {
	n := 2000 * scale(b)
	s := open(b, b.TempDir())
	dir := filepath.Join(work(b, s), "out", "model")
	smallFiles(b, dir, n)
	m, err := s.AdoptTree(b.Context(), dir, "files", nil)
	must(b, err)
	blobs := make([]artifacts.Blob, 0, n)
	for _, f := range m.Files {
		blobs = append(blobs, f.Blob)
	}
	b.Run("present", func(b *testing.B) {
		for b.Loop() {
			must(b, s.Present(b.Context(), blobs))
		}
	})
	b.Run("stat", func(b *testing.B) {
		for b.Loop() {
			for _, f := range blobs {
				_, err := s.Stat(b.Context(), f.Digest)
				must(b, err)
			}
		}
	})
}

// BenchmarkCheckBesideAnother is what a stage's inputs cost after it, while another stage of the same model began and ended.
func BenchmarkCheckBesideAnother(b *testing.B) {
	size := int64(scale(b)) * 64 << 20
	for name, least := range map[string]int64{"read": size + 1, "tracked": size} {
		b.Run(name, func(b *testing.B) {
			s := open(b, b.TempDir())
			s.TrackFrom(least)
			w, err := s.Workspace(testKey, 1)
			must(b, err)
			fill(b, filepath.Join(w.Dir, "out", "model", "weights"), size)
			m, err := s.AdoptTree(b.Context(), filepath.Join(w.Dir, "out", "model"), "model/hf", nil)
			must(b, err)
			l, err := s.Lay(b.Context(), m, filepath.Join(w.Dir, "in"))
			must(b, err)
			another := artifacts.Key(artifacts.Sum([]byte("another")))
			beside := func() {
				w, err := s.Workspace(another, 1)
				must(b, err)
				_, err = s.Lay(b.Context(), m, filepath.Join(w.Dir, "in"))
				must(b, err, w.Close())
			}
			repeat(b, beside, func() { must(b, l.Check()) })
		})
	}
}
