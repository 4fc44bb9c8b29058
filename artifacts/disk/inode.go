package disk

import (
	"io/fs"
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
