package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// lifeline tells one process from all others that there are or were: so it can be known of another one that it has died. Only Linux says
// as much; elsewhere it is empty, and nobody is known to be dead.
type lifeline struct {
	Host  string `json:"host"`
	Boot  string `json:"boot"`  // another one each time that the machine is started
	Space string `json:"space"` // in which the number counts: containers have their own
	PID   int    `json:"pid"`
	Start string `json:"start"` // in ticks since the machine was started: numbers are used again
}

func ownLifeline() lifeline {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return lifeline{}
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return lifeline{}
	}
	l := lifeline{Host: hostName(), Boot: strings.TrimSpace(string(boot)), Space: space, PID: os.Getpid()}
	if l.Start, err = startOf(l.PID); err != nil || l.Start == "" || l.Boot == "" || l.Host == "" {
		return lifeline{}
	}
	return l
}

// outlived tells that who holds a lease is a process of this machine, as we see it, that is there no more.
func (l lifeline) outlived(holder []byte) bool {
	var h struct {
		Process lifeline `json:"process"`
	}
	if l == (lifeline{}) || json.Unmarshal(holder, &h) != nil {
		return false
	}
	other := h.Process
	if other.Host != l.Host || other.Boot != l.Boot || other.Space != l.Space || other.PID <= 0 || other.Start == "" {
		return false
	}
	start, err := startOf(other.PID)
	if errors.Is(err, fs.ErrNotExist) { // or it is hidden, being another person's
		return errors.Is(syscall.Kill(other.PID, 0), syscall.ESRCH)
	}
	return err == nil && start != other.Start
}

// startOf gives when a process began; "" of one that has ended and whose parent has not asked yet. A process that is not there is
// fs.ErrNotExist.
func startOf(pid int) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", fmt.Errorf("looking at process %d: %w", pid, err)
	}
	// The second field is the program's name in brackets and may hold anything; the third, its state, begins after the last one.
	const state, started = 0, 22 - 3
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) <= started {
		return "", fmt.Errorf("process %d: its state has %d fields", pid, len(fields))
	}
	if fields[state] == "Z" || fields[state] == "X" {
		return "", nil
	}
	return fields[started], nil
}
