package disk

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// processLives errs towards yes: a start time that cannot be compared with the kernel's count of clock ticks (field 22
// of /proc/PID/stat) does not make a running process a stranger.
func processLives(pid int, started string) bool {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return false
	}
	want, err := strconv.ParseUint(started, 10, 64)
	if err != nil {
		return true
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	// The second field is the program's name in brackets and may hold anything; the third begins after the last one.
	_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	const startTime = 22 - 3
	f := strings.Fields(rest)
	if len(f) <= startTime {
		return true
	}
	if f[0] == "Z" || f[0] == "X" {
		return false
	}
	got, err := strconv.ParseUint(f[startTime], 10, 64)
	return err != nil || got == want
}
