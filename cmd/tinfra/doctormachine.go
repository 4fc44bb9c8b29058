package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/pipeline/run/local"
)

// examineMachine looks at what stages run on.
func (x *examination) examineMachine(ctx context.Context) error {
	facts, err := local.New(local.Options{Facts: limits(x.project.Local)}).Facts(ctx)
	if err != nil {
		return fmt.Errorf("asking this machine for its facts: %w", err)
	}
	x.Facts = facts
	cpus, _ := strconv.ParseFloat(facts["cpu.count"], 64)
	x.note("memory", sound, fmt.Sprintf("%s GiB, %s", facts["memory_gib"], view.Count(int(cpus), "processor")))
	x.examineDisk()
	x.examineGPUs(ctx)
	if nvcc := facts["nvcc"]; nvcc != "" {
		x.note("nvcc", sound, nvcc)
	} else {
		x.note("nvcc", lacks, "none in CUDA_HOME or on PATH; only kernels that are compiled while they run need it")
	}
	return nil
}

// examineDisk adds a fact that is for people only: no key may hold what changes by the minute.
func (x *examination) examineDisk() {
	free, size, err := freeDisk(x.store.Dir())
	if err != nil {
		x.note("disk", lacks, err.Error())
		return
	}
	x.Facts["disk.free_gib"] = strconv.FormatFloat(float64(free)/(1<<30), 'f', 1, 64)
	x.note("disk", sound, fmt.Sprintf("%s free of %s at %s", view.Bytes(free), view.Bytes(size), x.store.Dir()))
}

// freeDisk is what a folder's disk has left for us, and its size, in bytes.
func freeDisk(dir string) (free, size int64, err error) {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return 0, 0, fmt.Errorf("asking for the free space of %s: %w", dir, err)
	}
	block := int64(disk.Bsize)                                         //nolint:unconvert // of another type elsewhere
	return int64(disk.Bavail) * block, int64(disk.Blocks) * block, nil //nolint:gosec // a disk has fewer bytes than int64 counts
}

func (x *examination) examineGPUs(ctx context.Context) {
	n, _ := strconv.Atoi(x.Facts["gpu.count"])
	if n == 0 {
		why := cmp.Or(local.NoGPU(ctx), "no NVIDIA GPU that nvidia-smi shows")
		x.note("gpu", lacks, why+"; stages that take one if there is one run on processors")
		return
	}
	for i := range n {
		at := fmt.Sprintf("gpu.%d.", i)
		x.note(fmt.Sprintf("gpu %d", i), sound, fmt.Sprintf("%s, %s GiB, %s", x.Facts[at+"name"], x.Facts[at+"memory_gib"], x.Facts["gpu.arch"]))
	}
	x.note("driver", sound, fmt.Sprintf("%s, branch %s, CUDA %s", x.Facts["gpu.driver"], x.Facts["gpu.driver.branch"], x.Facts["gpu.cuda"]))
}
