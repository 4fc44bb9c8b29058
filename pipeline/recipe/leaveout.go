package recipe

import (
	"io/fs"
	"os"
	"path"
	"slices"
)

// leftOut is a file system without some folders. They are told by what they are and not by their names, since links lead to
// folders too.
type leftOut struct {
	fs.FS
	folders []fs.FileInfo
	known   map[string]bool // folder → whether it is one of those, or below one
}

// leaveOut is nil where none of the folders is there.
func leaveOut(fsys fs.FS, folders []string) fs.FS {
	l := &leftOut{FS: fsys, known: map[string]bool{".": false}}
	for _, dir := range folders {
		if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
			l.folders = append(l.folders, fi)
		}
	}
	if len(l.folders) == 0 {
		return nil
	}
	return l
}

// hides is whether name is one of the folders, or below one. The recipe's own folder is never one.
func (l *leftOut) hides(name string) bool {
	if name == "." {
		return false
	}
	hidden, ok := l.known[name]
	if !ok {
		hidden = l.hides(path.Dir(name)) || l.isOne(name)
		l.known[name] = hidden
	}
	return hidden
}

func (l *leftOut) isOne(name string) bool {
	fi, err := fs.Stat(l.FS, name)
	return err == nil && fi.IsDir() && slices.ContainsFunc(l.folders, func(f fs.FileInfo) bool { return os.SameFile(f, fi) })
}

func (l *leftOut) Open(name string) (fs.File, error) {
	if l.hides(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return l.FS.Open(name)
}

func (l *leftOut) Stat(name string) (fs.FileInfo, error) {
	if l.hides(name) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return fs.Stat(l.FS, name)
}

func (l *leftOut) ReadDir(name string) ([]fs.DirEntry, error) {
	if l.hides(name) {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	list, err := fs.ReadDir(l.FS, name)
	return slices.DeleteFunc(list, func(e fs.DirEntry) bool {
		return !e.Type().IsRegular() && l.hides(path.Join(name, e.Name()))
	}), err
}
