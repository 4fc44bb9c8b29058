//go:build !linux || !(amd64 || arm64)

package glance

import "golang.org/x/sys/unix"

func at(folder int, name []byte, flags int, st *unix.Stat_t) error {
	return unix.Fstatat(folder, string(name[:len(name)-1]), st, flags)
}
