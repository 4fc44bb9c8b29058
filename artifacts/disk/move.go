package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// inDir is the folder of a workspace that inputs are laid into. Package run gives it to Lay.
const inDir = "in"

// trackedSize is the size from which on it costs more to read a file than to know why its time of change has moved, bytes.
const trackedSize = 64 << 20

// moves knows which steps of a large blob's time of change this process made itself, by linking the blob for a stage or unlinking it
// after one. A step that another made, a worker that writes or another process that links, begins the row anew, so what was laid
// before it and what comes after are not of one row.
type moves struct {
	least int64 // bytes of a file that is tracked

	mu   sync.Mutex               // guards rows, and is held through each step
	rows map[inode]map[int64]bool // times of change, as in change
}

// step does what moves the time of f's inode, and nothing else to it.
func (m *moves) step(f *os.File, do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, noBefore := f.Stat()
	err := do()
	after, noAfter := f.Stat()
	if noBefore != nil || noAfter != nil || before.Size() < m.least || before.Size() != after.Size() || !before.ModTime().Equal(sealed) || !after.ModTime().Equal(sealed) {
		return err
	}
	from, to := changeOf(before), changeOf(after)
	row := m.rows[from.inode]
	if !row[from.at] {
		row = map[int64]bool{from.at: true}
		m.rows[from.inode] = row
	}
	row[to.at] = true
	return err
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
