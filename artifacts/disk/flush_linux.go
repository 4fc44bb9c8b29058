package disk

import (
	"bytes"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// maxDirty bounds, in KiB, what others may have written and the kernel has not, for a flush of the whole file system to be
// cheaper than one of each file: it waits for theirs too. So few files are worth less of a wait, dirtyEach for each.
const (
	maxDirty  = 32 << 10
	dirtyEach = 4 << 10
)

// flushesWhole tells whether the file system of dir is one whose syncfs makes files and folders durable, as fsync does.
func flushesWhole(dir string) func() bool {
	return sync.OnceValue(func() bool {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) != nil {
			return false
		}
		return st.Type == unix.EXT4_SUPER_MAGIC || st.Type == unix.XFS_SUPER_MAGIC || st.Type == unix.BTRFS_SUPER_MAGIC
	})
}

// tellsChanges tells whether a write to a mapped page moves the times of a file there, at the latest with the first write to each page
// that was written out. On tmpfs it may move none.
func tellsChanges(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && (st.Type == unix.EXT4_SUPER_MAGIC || st.Type == unix.XFS_SUPER_MAGIC)
}

// flushWhole flushes the file system of one of so many open files; false: each has to be flushed by itself. That it is true means
// nothing for a file of which written is not nil.
func flushWhole(fd, files int) bool {
	b, err := os.ReadFile("/proc/meminfo")
	return err == nil && kib(b, "Dirty:")+kib(b, "Writeback:") <= min(maxDirty, files*dirtyEach) && unix.Syncfs(fd) == nil
}

func kib(meminfo []byte, field string) int {
	_, rest, ok := bytes.Cut(meminfo, []byte("\n"+field))
	words := bytes.Fields(rest[:min(len(rest), 40)])
	if !ok || len(words) == 0 {
		return maxDirty + 1
	}
	n, err := strconv.Atoi(string(words[0]))
	if err != nil {
		return maxDirty + 1
	}
	return n
}

// written is the error with which a file's bytes could not be written. Kernels before 5.8 tell it to nobody who asks for
// the whole file system.
func written(fd int) error {
	return unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WAIT_BEFORE)
}
