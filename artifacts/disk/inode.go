package disk

import (
	"io/fs"
	"os"
	"syscall"
)

// noFollow: opening a symlink itself is an error.
const noFollow = syscall.O_NOFOLLOW

// inode is the identity of a file, whatever its names.
type inode struct{ dev, ino uint64 }

func inodeOf(fi fs.FileInfo) inode {
	st := fi.Sys().(*syscall.Stat_t)
	return inode{uint64(st.Dev), st.Ino} //nolint:unconvert // Dev is signed on other systems
}

func links(fi fs.FileInfo) uint64 {
	return uint64(fi.Sys().(*syscall.Stat_t).Nlink) //nolint:unconvert // narrower on other systems
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
