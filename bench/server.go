package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// server is a process that outlives the command and does its work, as the kernel counts it since it was started.
type server struct {
	pid    int
	cpu    time.Duration // its own, and that of the children that it waited for
	memory int64         // the most that it held, in bytes
}

// tick is the unit of /proc/PID/stat: USER_HZ is 100 on all that Go runs on.
const tick = 10 * time.Millisecond

// findServer reads the process whose id is in a file. There is none where the file or the process is not there.
func findServer(pidFile string) (server, bool) {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return server{}, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return server{}, false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return server{}, false
	}
	s := server{pid: pid}
	_, after, _ := strings.Cut(string(stat), ") ") // a name may hold spaces
	fields := strings.Fields(after)
	for i := 11; i < 15 && i < len(fields); i++ { // utime, stime, cutime, cstime
		ticks, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return server{}, false
		}
		s.cpu += time.Duration(ticks) * tick
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return server{}, false
	}
	if _, line, ok := strings.Cut(string(status), "VmHWM:"); ok {
		kib, err := strconv.ParseInt(strings.Fields(line)[0], 10, 64)
		if err != nil {
			return server{}, false
		}
		s.memory = kib << 10
	}
	return s, true
}

// around adds to what a command cost what its server did meanwhile.
func (s sample) around(before, after server) sample {
	s.CPU += after.cpu
	if before.pid == after.pid {
		s.CPU -= before.cpu
	}
	s.Memory = max(s.Memory, after.memory)
	return s
}

// serverOf finds the server of the Bazel workspace in dir.
func serverOf(dir string) server {
	found, err := filepath.Glob(filepath.Join(dir, ".bazel", "*", "server", "server.pid.txt"))
	if err != nil || len(found) != 1 {
		return server{}
	}
	s, _ := findServer(found[0])
	return s
}
