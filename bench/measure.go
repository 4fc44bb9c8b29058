package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// sample is one run of a command, as the kernel counts it. CPU is that of the process and of all descendants that were waited
// for, so the work of a server is not in it; Memory is that of the largest single process, in bytes.
type sample struct {
	Wall, CPU time.Duration
	Memory    int64
}

// limit ends a tool that hangs.
const limit = 30 * time.Minute

// measure runs a command in dir with an environment of its own.
func measure(ctx context.Context, dir string, argv, environ []string) (sample, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %v", limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C.UTF-8"}, environ...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	begun := time.Now()
	err := cmd.Run()
	wall := time.Since(begun)
	if err != nil {
		text := said.Bytes()
		return sample{}, fmt.Errorf("%v in %s: %w\n%s", argv, dir, err, text[max(0, len(text)-2000):])
	}
	s := sample{Wall: wall, CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.Memory = usage.Maxrss << 10 // the kernel gives KiB
	}
	return s, nil
}

// spread of a figure over the rounds.
type spread[T int64 | time.Duration] struct{ Min, Median, Max T }

func spreadOf[T int64 | time.Duration](samples []sample, figure func(sample) T) spread[T] {
	all := make([]T, 0, len(samples))
	for _, s := range samples {
		all = append(all, figure(s))
	}
	slices.Sort(all)
	return spread[T]{all[0], all[len(all)/2], all[len(all)-1]}
}
