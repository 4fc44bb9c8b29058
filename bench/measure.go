package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// meterSource measures from a process of its own, since the peak memory that the kernel tells of a process is never less
// than what its parent held.
//
//go:embed meter/meter.c
var meterSource string

// sample is one run of a command, as the kernel counts it. CPU is that of the process and of all descendants that were waited
// for; Memory is that of the largest single process, in bytes. Where a server does the work, its share is added. Stored and
// Requests are told in some rows only: the bytes that then lie where the tool has brought them, and what it asked of a server.
type sample struct {
	Wall     time.Duration `json:"wall_ns"`
	CPU      time.Duration `json:"cpu_ns"`
	Memory   int64         `json:"memory"`
	Stored   int64         `json:"stored,omitempty"`
	Requests int64         `json:"requests,omitempty"`
}

// limit ends a tool that hangs.
const limit = 30 * time.Minute

// meter is the path of the program that measures.
type meter string

func newMeter(ctx context.Context, dir string) (meter, error) {
	source, program := filepath.Join(dir, "meter.c"), filepath.Join(dir, "meter")
	if err := writeFile(source, meterSource); err != nil {
		return "", err
	}
	return meter(program), quietly(ctx, "cc", "-O2", "-static", "-o", program, source)
}

// measure runs a command in dir with an environment of its own, and gives what it said, too.
func (m meter) measure(ctx context.Context, dir string, argv, environ []string) (sample, string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %v", limit))
	defer cancel()
	read, write, err := os.Pipe()
	if err != nil {
		return sample{}, "", err
	}
	defer read.Close()
	cmd := exec.CommandContext(ctx, string(m), argv...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C.UTF-8"}, environ...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.ExtraFiles = []*os.File{write}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err = cmd.Run()
	write.Close()
	if err != nil {
		text := said.Bytes()
		return sample{}, "", fmt.Errorf("%v in %s: %w\n%s", argv, dir, errors.Join(err, context.Cause(ctx)), text[max(0, len(text)-2000):])
	}
	var wall, cpu, memory int64
	if _, err := fmt.Fscan(read, &wall, &cpu, &memory); err != nil {
		return sample{}, "", fmt.Errorf("what %v cost: %w", argv, err)
	}
	return sample{Wall: time.Duration(wall) * time.Microsecond, CPU: time.Duration(cpu) * time.Microsecond, Memory: memory << 10}, said.String(), nil
}

// spread of a figure over the rounds.
type spread[T int64 | time.Duration] struct{ Min, Median, Max T }

func spreadOf[T int64 | time.Duration](samples []sample, figure func(sample) T) spread[T] {
	all := make([]T, 0, len(samples))
	for _, s := range samples {
		all = append(all, figure(s))
	}
	slices.Sort(all)
	n := len(all)
	return spread[T]{all[0], (all[(n-1)/2] + all[n/2]) / 2, all[n-1]}
}

func wallOf(samples []sample) spread[time.Duration] {
	return spreadOf(samples, func(s sample) time.Duration { return s.Wall })
}

func cpuOf(samples []sample) spread[time.Duration] {
	return spreadOf(samples, func(s sample) time.Duration { return s.CPU })
}

func memoryOf(samples []sample) spread[int64] {
	return spreadOf(samples, func(s sample) int64 { return s.Memory })
}

func storedOf(samples []sample) spread[int64] {
	return spreadOf(samples, func(s sample) int64 { return s.Stored })
}

func requestsOf(samples []sample) spread[int64] {
	return spreadOf(samples, func(s sample) int64 { return s.Requests })
}
