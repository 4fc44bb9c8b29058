package main

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// refuseLocks makes the kernel answer this process, and what it starts, as a file system without locks does: flock and
// the locks of fcntl end with ENOLCK.
func refuseLocks() {
	const (
		number   = 0  // of the system call, in what the filter is shown
		argument = 24 // the low half of the second one, on a little-endian machine
		refusal  = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOLCK)
	)
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	equal := func(value uint32, then, otherwise uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jt: then, Jf: otherwise}
	}
	answer := func(value uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: value} }
	program := []unix.SockFilter{
		load(number),
		equal(unix.SYS_FLOCK, 6, 0),
		equal(unix.SYS_FCNTL, 0, 4),
		load(argument),
		equal(unix.F_SETLK, 3, 0),
		equal(unix.F_SETLKW, 2, 0),
		equal(unix.F_OFD_SETLK, 1, 0),
		answer(unix.SECCOMP_RET_ALLOW),
		answer(refusal),
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	// All threads at once: the runtime has started some.
	_, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		panic(errno)
	}
	runtime.KeepAlive(program)
}
