package disk

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/text/unicode/norm"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// maxEntries bounds what symlinks to folders can multiply a tree to.
const maxEntries = 1 << 20

// tree is an output on its way into the store: which names it has, and which file each leads to. Symlinks are
// followed as long as they stay inside; a file that several names lead to is stored once.
type tree struct {
	root    *os.Root
	entries []entry          // sorted by path once start has returned
	real    map[inode]string // path below root of each regular file, through no symlink
}

type entry struct {
	path string // as the manifest lists it
	exec bool
	inode
}

// start reads the tree called name below the root: a folder, or a single file, which keeps its name.
func (t *tree) start(name string) error {
	fi, err := t.root.Lstat(name)
	if err != nil {
		return err
	}
	switch {
	case fi.Mode().IsRegular():
		t.file(name, name, fi, false)
	case fi.IsDir():
		// Below the output's own folder, so that a link to its sibling does not lead anywhere.
		home := t.root
		if t.root, err = home.OpenRoot(name); err != nil {
			return err
		}
		defer t.root.Close()
		if err := t.folder("", fi, nil, false); err != nil {
			return err
		}
		for id, p := range t.real {
			t.real[id] = path.Join(name, p)
		}
		t.root = home
	default:
		return unfitFor("it is %s, not a folder or a file", kindOf(fi.Mode()))
	}
	slices.SortFunc(t.entries, func(a, b entry) int { return cmp.Compare(a.path, b.path) })
	for _, e := range t.entries {
		if _, ok := t.real[e.inode]; !ok {
			return unfitFor("%s changed while it was read", e.path)
		}
	}
	return nil
}

// folder reads dir; above are the folders that led here, against links that lead in circles.
func (t *tree) folder(dir string, fi fs.FileInfo, above []inode, viaLink bool) error {
	id := inodeOf(fi)
	if slices.Contains(above, id) {
		return unfitFor("the symlink %s leads in a circle", dir)
	}
	above = append(above, id)
	at := dir
	if at == "" {
		at = "."
	}
	if err := t.root.Chmod(at, 0o700); err != nil {
		return err
	}
	f, err := t.root.Open(at)
	if err != nil {
		return err
	}
	list, err := f.ReadDir(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, e := range list {
		if err := t.entry(path.Join(dir, e.Name()), above, viaLink); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) entry(p string, above []inode, viaLink bool) error {
	fi, err := t.root.Lstat(p)
	if err != nil {
		return err
	}
	link := fi.Mode()&fs.ModeSymlink != 0
	if link {
		if fi, err = t.root.Stat(p); err != nil {
			return unfitFor("the symlink %s leads out of the output or nowhere: %w", p, err)
		}
	}
	switch {
	case fi.IsDir():
		return t.folder(p, fi, above, viaLink || link)
	case !fi.Mode().IsRegular():
		return unfitFor("%s is %s", p, kindOf(fi.Mode()))
	case len(t.entries) == maxEntries:
		return unfitFor("more than %d files", maxEntries)
	}
	t.file(norm.NFC.String(p), p, fi, viaLink || link)
	return nil
}

func (t *tree) file(name, p string, fi fs.FileInfo, viaLink bool) {
	id := inodeOf(fi)
	t.entries = append(t.entries, entry{name, fi.Mode()&0o111 != 0, id})
	if !viaLink {
		t.real[id] = p
	}
}

func (t *tree) manifestFiles() []artifacts.File {
	files := make([]artifacts.File, len(t.entries))
	for i, e := range t.entries {
		files[i] = artifacts.File{Path: e.path, Exec: e.exec}
	}
	return files
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symlink"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "neither a file nor a folder"
}
