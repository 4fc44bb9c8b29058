package local

import (
	"bytes"
	"errors"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// oomCount is how often the kernel has killed for memory, as far as it says.
type oomCount struct{ own, machine counter }

// counter is one of the kernel's, where it has it.
type counter struct {
	n     int64
	known bool
}

func (before counter) rose(after counter) bool {
	return before.known && after.known && after.n > before.n
}

// tells whether, between two readings, the worker was killed for memory. The count of our own control group says so, even
// where only a child of the worker was hit. The machine's count, or none at all, is evidence only together with a SIGKILL
// that we did not send: the worker may have moved to a group of its own, and others on this machine are killed, too.
func (before oomCount) tells(after oomCount, shot bool) bool {
	switch {
	case before.own.rose(after.own):
		return true
	case after.machine.known:
		return before.machine.rose(after.machine) && shot
	default:
		return shot && !after.own.known
	}
}

func readOOM() oomCount {
	return oomIn("/sys/fs/cgroup", string(kernelText("/proc/self/cgroup")), "/proc/vmstat")
}

// oomIn looks into the files of our control group, of version 2 or 1, and at the machine's count.
func oomIn(root, groups, vmstat string) oomCount {
	var c oomCount
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
			c.own = counter{n, true}
			break
		}
	}
	c.machine.n, c.machine.known = field(vmstat, "oom_kill")
	return c
}

// field reads the number after name, from a file of such lines; a unit may follow.
func field(file, name string) (int64, bool) {
	text := kernelText(file)
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		if !bytes.HasPrefix(line, []byte(name)) {
			continue
		}
		if f := strings.Fields(string(line)); len(f) >= 2 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// kernelText is what a file of the kernel's says, as much of it as fits; nothing where it cannot be read. It is read at each
// job, so by the fewest system calls: os.ReadFile makes a dozen of it.
func kernelText(name string) []byte {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	b := make([]byte, 16<<10)
	n := 0
	for n < len(b) {
		more, err := unix.Read(fd, b[n:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || more == 0 {
			break
		}
		n += more
	}
	return b[:n]
}
