package main

import (
	"bufio"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// tooFull says that a row has no room: it is left out.
type tooFull struct{ need, free int64 }

func (e tooFull) Error() string {
	return fmt.Sprintf("it takes up to %s, and of %s that are free %s shall stay", humanize.IBytes(uint64(e.need)), humanize.IBytes(uint64(e.free)), humanize.IBytes(spare))
}

func freeBytes(dir string) (int64, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}

func writeFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// remove takes a folder away, what a tool has made read-only too.
func remove(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o755)
		}
		return nil
	})
	os.RemoveAll(dir)
}

// fresh gives an empty folder.
func fresh(dir string) error {
	remove(dir)
	return os.MkdirAll(dir, 0o755)
}

// wastePrefix begins the names of what is to be removed when all has been measured.
const wastePrefix = ".waste-"

// replaced gives an empty folder and leaves what was there beside it: ext4 gives no inode out again that was freed in the last
// minutes, looks at each of them for every new file, and so made whoever creates many files just then take three times as long.
func replaced(dir string) error {
	err := os.Rename(dir, filepath.Join(filepath.Dir(dir), wastePrefix+crand.Text()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.MkdirAll(dir, 0o755)
}

// noise writes a file that nothing can compress and no two seeds share, through to the disk: what a tool waits for is then
// its own.
func noise(path string, size int64, seed byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err := io.CopyN(w, rand.NewChaCha8([32]byte{seed}), size); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// largeFiles are those of a folder that have at least so many bytes.
func largeFiles(dir string, size int64) ([]string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() >= size {
			found = append(found, path)
		}
		return err
	})
	return found, err
}
