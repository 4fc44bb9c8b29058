package disk

import (
	"io/fs"
	"syscall"
)

// changeTime is when the file or its inode last changed, in Unix nanoseconds; no one can set it.
func changeTime(fi fs.FileInfo) int64 {
	st := fi.Sys().(*syscall.Stat_t)
	return st.Ctimespec.Nano()
}
