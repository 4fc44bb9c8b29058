package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// noFollow: opening a symlink itself is an error.
const noFollow = syscall.O_NOFOLLOW

// openOnce opens a file that is read once: to write down when that was would be a change to each of many files. Only
// its owner may leave it out.
func openOnce(path string) (*os.File, error) {
	const flags = os.O_RDONLY | noFollow | syscall.O_NONBLOCK // a named pipe would wait for its other end
	f, err := os.OpenFile(path, flags|noAccessTime, 0)
	if noAccessTime != 0 && errors.Is(err, fs.ErrPermission) {
		f, err = os.OpenFile(path, flags, 0)
	}
	return f, err
}

// inode is the identity of a file, whatever its names.
type inode struct{ dev, ino uint64 }

func inodeOf(fi fs.FileInfo) inode {
	st := fi.Sys().(*syscall.Stat_t)
	return inode{uint64(st.Dev), st.Ino} //nolint:unconvert // Dev is signed on other systems
}

func links(fi fs.FileInfo) uint64 {
	return uint64(fi.Sys().(*syscall.Stat_t).Nlink) //nolint:unconvert // narrower on other systems
}

// nodeAt is what the name in an open folder is, through no link.
func nodeAt(dir *os.File, name string) (node, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return node{}, &fs.PathError{Op: "lstat", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	mode := fs.FileMode(st.Mode & 0o777) //nolint:unconvert // narrower on other systems
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFCHR, unix.S_IFBLK:
		mode |= fs.ModeDevice
	default:
		mode |= fs.ModeIrregular
	}
	return node{inode{uint64(st.Dev), st.Ino}, mode, uint64(st.Nlink), st.Size}, nil //nolint:unconvert // as above
}

// sealAt gives a file the time of a blob.
func sealAt(dir int, name string) error {
	at := unix.NsecToTimespec(sealed.UnixNano())
	err := unix.UtimesNanoAt(dir, name, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return &fs.PathError{Op: "chtimes", Path: name, Err: err}
	}
	return nil
}

// othersFolder tells a folder that another user of a shared cache made, and this one may not clear away.
func othersFolder(path string) bool {
	fi, err := os.Lstat(path)
	if err != nil || os.Geteuid() == 0 {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) != os.Geteuid()
}
