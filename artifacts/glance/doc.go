// Package glance looks at files by their names in an open folder, as fast as the kernel does: a build that has nothing to do asks for
// thousands, and one output may have hundreds of thousands. It must not know what they are.
package glance

import "golang.org/x/sys/unix"

// Room is enough for a name and the zero byte at its end.
const Room = 255 + 1

// Name is a file's name as the kernel wants it. ok is false for one that no file can have.
func Name(room *[Room]byte, name string) (_ []byte, ok bool) {
	if len(name) >= Room {
		return nil, false
	}
	n := copy(room[:], name)
	room[n] = 0
	return room[:n+1], true
}

// At is fstatat(2): of the file with that name, which ends in a zero byte, in a folder that is open.
func At(folder int, name []byte, flags int, st *unix.Stat_t) error {
	for {
		if err := at(folder, name, flags, st); err != unix.EINTR { //nolint:errorlint // the number itself
			return err
		}
	}
}
