package local

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// oomCount is how often the kernel has killed for memory, as far as it says: in our own control group (version 2, then
// 1), else on the whole machine.
type oomCount struct {
	n     int64
	known bool
	own   bool // of our own control group
}

// tells whether, between two readings, the worker was killed for memory. The machine's count, or none at all, is
// evidence only together with a SIGKILL that we did not send.
func (before oomCount) tells(after oomCount, shot bool) bool {
	rose := before.known && after.known && after.n > before.n
	switch {
	case rose && after.own:
		return true
	case after.known:
		return rose && shot
	default:
		return shot
	}
}

func readOOM() oomCount {
	groups, _ := os.ReadFile("/proc/self/cgroup")
	return oomIn("/sys/fs/cgroup", string(groups), "/proc/vmstat")
}

func oomIn(root, groups, vmstat string) oomCount {
	for line := range strings.Lines(groups) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		file := ""
		switch {
		case f[0] == "0" && f[1] == "":
			file = filepath.Join(root, f[2], "memory.events")
		case f[1] == "memory":
			file = filepath.Join(root, "memory", f[2], "memory.oom_control")
		default:
			continue
		}
		if n, ok := field(file, "oom_kill"); ok {
			return oomCount{n: n, known: true, own: true}
		}
	}
	n, ok := field(vmstat, "oom_kill")
	return oomCount{n: n, known: ok}
}

// field reads the number after name, from a file of such lines; a unit may follow.
func field(file, name string) (int64, bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
