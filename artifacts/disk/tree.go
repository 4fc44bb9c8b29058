package disk

import (
	"cmp"
	"errors"
	"io"
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
	most    int     // names to look at before it gives up, folders too; 0: maxEntries files
	names   int     // looked at
	entries []entry // sorted by path once start has returned
	files   []file  // each regular file once, by a path through no symlink
	index   map[inode]int
}

type entry struct {
	path string // as the manifest lists it
	exec bool
	inode
}

// file is one that is to become a blob.
type file struct {
	inode
	path   string // below root
	size   int64
	mode   fs.FileMode
	sealed bool // its time tells of every write from now on
}

// node is what is at a name.
type node struct {
	inode
	mode  fs.FileMode
	links uint64
	size  int64
}

// start reads the tree called name below the root: a folder, or a single file, which keeps its name. Files are sealed
// on the way: one with a second name is not, since it may be a blob already, or an input of a stage that runs.
func (t *tree) start(name string) error {
	t.index = make(map[inode]int)
	above, err := t.root.Open(".")
	if err != nil {
		return err
	}
	defer above.Close()
	n, err := nodeAt(above, name)
	if err != nil {
		return err
	}
	switch {
	case n.mode.IsRegular():
		err = t.file(above, name, name, n)
	case n.mode.IsDir():
		err = t.below(name, n)
	default:
		err = unfitFor("it is %s, not a folder or a file", kindOf(n.mode))
	}
	if err != nil {
		return err
	}
	slices.SortFunc(t.entries, func(a, b entry) int { return cmp.Compare(a.path, b.path) })
	for _, e := range t.entries {
		if _, ok := t.index[e.inode]; !ok {
			return unfitFor("%s changed while it was read", e.path)
		}
	}
	return nil
}

// below reads a folder as a root of its own, so that a link to its sibling does not lead anywhere.
func (t *tree) below(name string, n node) error {
	home := t.root
	var err error
	if t.root, err = home.OpenRoot(name); err != nil {
		return err
	}
	defer t.root.Close()
	if err := t.folder("", n, nil, false); err != nil {
		return err
	}
	for i := range t.files {
		t.files[i].path = path.Join(name, t.files[i].path)
	}
	t.root = home
	return nil
}

// folder reads dir; above are the folders that led here, against links that lead in circles.
func (t *tree) folder(dir string, n node, above []inode, viaLink bool) error {
	if slices.Contains(above, n.inode) {
		return unfitFor("the symlink %s leads in a circle", dir)
	}
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
	folders, err := t.list(f, dir, viaLink)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	above = append(above, n.inode)
	for _, sub := range folders {
		if err := t.folder(sub.path, sub.node, above, viaLink || sub.link); err != nil {
			return err
		}
	}
	return nil
}

// subfolder is one below a folder, or what a link there leads to.
type subfolder struct {
	node
	path string
	link bool
}

// list takes the files of an open folder and gives the folders in it.
func (t *tree) list(f *os.File, dir string, viaLink bool) ([]subfolder, error) {
	names, err := t.namesIn(f)
	if err != nil {
		return nil, err
	}
	var folders []subfolder
	for _, name := range names {
		p := path.Join(dir, name)
		n, err := nodeAt(f, name)
		if err != nil {
			return nil, err
		}
		link := n.mode&fs.ModeSymlink != 0
		if link {
			fi, err := t.root.Stat(p)
			if err != nil {
				return nil, unfitFor("the symlink %s leads out of the output or nowhere: %w", p, err)
			}
			n = node{inodeOf(fi), fi.Mode(), links(fi), fi.Size()}
		}
		switch {
		case n.mode.IsDir():
			folders = append(folders, subfolder{n, p, link})
			continue
		case !n.mode.IsRegular():
			return nil, unfitFor("%s is %s", p, kindOf(n.mode))
		case len(t.entries) == maxEntries:
			return nil, unfitFor("more than %d files", maxEntries)
		case viaLink || link:
			t.name(p, n)
		default:
			err = t.file(f, name, p, n)
		}
		if err != nil {
			return nil, err
		}
	}
	return folders, nil
}

// namesIn reads no more of a folder than tells that it has too many.
func (t *tree) namesIn(f *os.File) ([]string, error) {
	if t.most == 0 {
		return f.Readdirnames(-1)
	}
	names, err := f.Readdirnames(t.most + 1 - t.names)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if t.names += len(names); t.names > t.most {
		return nil, errTooMany
	}
	return names, nil
}

// name lists a path that leads to a file.
func (t *tree) name(p string, n node) {
	t.entries = append(t.entries, entry{norm.NFC.String(p), n.mode&0o111 != 0, n.inode})
}

// file takes a file at its own place, which is called name in the folder dir.
func (t *tree) file(dir *os.File, name, p string, n node) error {
	t.name(p, n)
	out := file{inode: n.inode, path: p, size: n.size, mode: n.mode.Perm(), sealed: n.links == 1}
	if out.sealed {
		if err := sealAt(int(dir.Fd()), name); err != nil {
			return err
		}
	}
	if i, ok := t.index[n.inode]; ok {
		t.files[i] = out
		return nil
	}
	t.index[n.inode] = len(t.files)
	t.files = append(t.files, out)
	return nil
}

func (t *tree) size() int64 {
	var n int64
	for _, f := range t.files {
		n += f.size
	}
	return n
}

// manifest lists all names; what their files hold is to be filled in.
func (t *tree) manifest() (*artifacts.Manifest, error) {
	m := &artifacts.Manifest{Files: make([]artifacts.File, len(t.entries))}
	for i, e := range t.entries {
		m.Files[i] = artifacts.File{Path: e.path, Exec: e.exec}
	}
	if err := artifacts.CheckFiles(m.Files); err != nil {
		return nil, unfit{err}
	}
	return m, nil
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
