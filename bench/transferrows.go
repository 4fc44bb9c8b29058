package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// transferRows bring files to a bucket of MinIO on loopback, and back to a machine that has nothing.
func transferRows(b *bench) []row {
	large, few, small := files{4, int64(b.scaled(1024)) << 20}, files{4, int64(b.scaled(256)) << 20}, b.scaled(20_000)
	size := fmt.Sprintf("%d files of 4 KiB", small)
	of := func(name, doc, size string, rounds int, c cargo, copies int64, entries func(c cargo, b *bench, dir string) []entry, aims ...aim) row {
		return row{Name: name, Doc: doc, Size: size, Rounds: rounds, Disk: copies * c.bytes, Aims: aims,
			Entries: func(b *bench, dir string) []entry { return entries(c, b, dir) }}
	}
	push := func(c cargo, b *bench, dir string) []entry { return c.pushed(b, dir, false, c.tools()...) }
	pull := func(c cargo, b *bench, dir string) []entry { return c.pulled(b, dir, c.tools()...) }
	again := func(c cargo, b *bench, dir string) []entry {
		return c.pushed(b, dir, true, "tinfra", "rclone", "s5cmd", "restic")
	}
	return []row{
		of("push, large", "files that nothing can compress, to an empty bucket on loopback", large.String(), 3, heap(large), 3, push, speedOf(0.9, "minio-go"), memoryBelow(256)),
		of("pull, large", "the same files, to a machine that has none of them", large.String(), 3, heap(large), 4, pull, speedOf(0.9, "minio-go"), memoryBelow(256)),
		of("push, small", "to an empty bucket on loopback; rclone with 32 transfers at once", size, 5, grains(small), 50, push, within(1.5, "restic"), faster(5, "rclone")),
		of("pull, small", "the same files, to a machine that has none of them; rclone with 32 transfers at once", size, 5, grains(small), 30, pull,
			within(1.5, "restic"), faster(5, "rclone")),
		of("push again", "the same once more: nothing has changed", few.String(), 9, heap(few), 5, again, wallBelow(200*time.Millisecond)),
	}
}

// heap is files in which nothing can be compressed.
func heap(f files) cargo {
	c := cargo{folders: []string{"large"}, bytes: int64(f.count) * f.size, write: func(_ *bench, dir string) error { return f.write(filepath.Join(dir, "large")) }}
	for i := range f.count {
		c.files = append(c.files, fmt.Sprintf("f%d.bin", i))
	}
	return c
}

// grains are so many files of 4 KiB.
func grains(n int) cargo {
	return cargo{folders: []string{"small"}, bytes: int64(n) << 12, many: true, rclone: []string{"--transfers", "32", "--checkers", "32"},
		write: func(_ *bench, dir string) error { return writeGrains(filepath.Join(dir, "small"), n) }}
}

// tools are those that bring it; a program that takes each file by its name is for a few.
func (c cargo) tools() []string {
	if c.many {
		return []string{"tinfra", "rclone", "s5cmd", "restic"}
	}
	return []string{"tinfra", "minio-go", "rclone", "s5cmd", "restic"}
}

// writeGrains makes n files of 4 KiB that no two are alike, a thousand in a folder, through to the disk.
func writeGrains(dir string, n int) error {
	random, grain := rand.NewChaCha8([32]byte{1}), make([]byte, 4<<10)
	for i := range n {
		at := filepath.Join(dir, fmt.Sprintf("d%03d", i/1000))
		if i%1000 == 0 {
			if err := os.MkdirAll(at, 0o755); err != nil {
				return err
			}
		}
		random.Read(grain) //nolint:errcheck // it gives none
		if err := os.WriteFile(filepath.Join(at, fmt.Sprintf("%d.bin", i)), grain, 0o644); err != nil {
			return err
		}
	}
	unix.Sync()
	return nil
}
