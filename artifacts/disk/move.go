package disk

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// inDir is the folder of a workspace that inputs are laid into. Package run gives it to Lay.
const inDir = "in"

// trackedSize is the size from which on it costs more to read a file than to know why its time of change has moved, bytes.
const trackedSize = 64 << 20

// longestStep is a tick of the kernel's clock. What else happened to a file in one step is not told from the step, so it must be as short
// as what two writes are told apart by.
const longestStep = 4 * time.Millisecond

// moves knows which steps of a large blob's time of change this process made itself, by linking the blob for a stage or unlinking it
// after one. Once another has moved the time, be it a worker that writes or a process that links, nothing is known of that inode for good:
// pages of it that are still mapped may take writes that no time tells of until the kernel has written them out.
type moves struct {
	least   int64         // bytes of a file that is tracked
	longest time.Duration // that a step may take

	mu   sync.Mutex               // guards rows, and is held through each step
	rows map[inode]map[int64]bool // times of change, as in change; empty: nothing is known
}

// newMoves tracks nothing on a file system whose times have not been seen to move by every write.
func newMoves(dir string) *moves {
	m := &moves{least: math.MaxInt64, longest: longestStep, rows: map[inode]map[int64]bool{}}
	if tellsChanges(dir) {
		m.least = trackedSize
	}
	return m
}

// step does what moves the time of f's inode, and nothing else to it.
func (m *moves) step(f *os.File, do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, err := f.Stat()
	if err != nil {
		return errors.Join(err, do())
	}
	began := time.Now()
	err = do()
	took := time.Since(began)
	after, lost := f.Stat()
	from := changeOf(before)
	row, known := m.rows[from.inode]
	if !known {
		row = map[int64]bool{from.at: true}
		m.rows[from.inode] = row
	}
	if lost != nil || took > m.longest || !row[from.at] || !plain(before) || !plain(after) || before.Size() != after.Size() {
		clear(row)
		return err
	}
	row[changeTime(after)] = true
	return err
}

// plain: it is as a blob is, and its file system counts more than seconds.
func plain(fi fs.FileInfo) bool {
	return fi.ModTime().Equal(sealed) && changeTime(fi)%int64(time.Second) != 0
}

// joined says that nothing but steps lies between two looks at a file.
func (m *moves) joined(a, b change) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	row := m.rows[a.inode]
	return a.inode == b.inode && row[a.at] && row[b.at]
}

func (m *moves) none() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.rows) == 0
}

// unlinkInputs takes the large files of a workspace's inputs away by steps. What it leaves is removed with the workspace.
func (w *Workspace) unlinkInputs() {
	if w.store.moves.none() {
		return
	}
	root := filepath.Join(w.Dir, inDir)
	_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir
		}
		if d.IsDir() {
			return ignoreMissing(os.Chmod(p, 0o700)) // inputs are read-only
		}
		fi, err := d.Info()
		if err != nil || !fi.Mode().IsRegular() || fi.Size() < w.store.moves.least || links(fi) < 2 {
			return ignoreMissing(err)
		}
		f, err := os.OpenFile(p, os.O_RDONLY|noFollow, 0)
		if err != nil {
			return ignoreMissing(err)
		}
		return errors.Join(w.store.moves.step(f, func() error { return os.Remove(p) }), f.Close())
	})
}
