package reading

import (
	"bytes"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// FS is fsys, which stands at dir, with all that is read of it taken down. Files are read whole when they are opened.
func (l *Log) FS(fsys fs.FS, dir string) fs.FS {
	if l == nil {
		return fsys
	}
	return &folder{fsys, dir, l}
}

type folder struct {
	fs  fs.FS
	dir string
	log *Log
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, filepath.FromSlash(name)) }

func (f *folder) Stat(name string) (fs.FileInfo, error) {
	fi, err := fs.Stat(f.fs, name)
	f.log.kindRead(f.path(name), fi, err)
	return fi, err
}

func (f *folder) ReadDir(name string) ([]fs.DirEntry, error) {
	began, before, _ := f.log.begin(f.path(name))
	list, err := fs.ReadDir(f.fs, name)
	f.log.folderRead(f.path(name), before, began, list, err)
	return list, err
}

func (f *folder) ReadFile(name string) ([]byte, error) {
	began, before, _ := f.log.begin(f.path(name))
	b, err := fs.ReadFile(f.fs, name)
	f.log.fileRead(f.path(name), began, before, err, func() artifacts.Digest { return artifacts.Sum(b) })
	return b, err
}

// Open gives a file's bytes as they are now. A folder's entries are ReadDir's to give.
func (f *folder) Open(name string) (fs.File, error) {
	in, err := f.fs.Open(name)
	if err != nil {
		f.log.kindRead(f.path(name), nil, err)
		return nil, err
	}
	fi, err := in.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		f.log.Spoil()
		return in, nil //nolint:nilerr // whoever reads it sees
	}
	defer in.Close()
	began, before, _ := f.log.begin(f.path(name))
	b, err := io.ReadAll(in)
	f.log.fileRead(f.path(name), began, before, err, func() artifacts.Digest { return artifacts.Sum(b) })
	if err != nil {
		return nil, err
	}
	return &opened{bytes.NewReader(b), fi}, nil
}

type opened struct {
	*bytes.Reader
	info fs.FileInfo
}

func (o *opened) Stat() (fs.FileInfo, error) { return o.info, nil }
func (o *opened) Close() error               { return nil }
