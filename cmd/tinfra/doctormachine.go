package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/pipeline/run/local"
	"github.com/Ruihan11/tiny-infra/stages/env"
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
	x.examineGPUs()
	if nvcc := facts["nvcc"]; nvcc != "" {
		x.note("nvcc", sound, nvcc)
	} else {
		x.note("nvcc", lacks, "none in CUDA_HOME or on PATH; only kernels that are compiled while they run need it")
	}
	return nil
}

// examineDisk adds a fact that is for people only: no key may hold what changes by the minute.
func (x *examination) examineDisk() {
	var disk unix.Statfs_t
	if err := unix.Statfs(x.store.Dir(), &disk); err != nil {
		x.note("disk", lacks, fmt.Sprintf("%s: %v", x.store.Dir(), err))
		return
	}
	block := int64(disk.Bsize) //nolint:unconvert // of another type elsewhere
	free := int64(disk.Bavail) * block
	x.Facts["disk.free_gib"] = strconv.FormatFloat(float64(free)/(1<<30), 'f', 1, 64)
	x.note("disk", sound, fmt.Sprintf("%s free of %s at %s", view.Bytes(free), view.Bytes(int64(disk.Blocks)*block), x.store.Dir()))
}

func (x *examination) examineGPUs() {
	n, _ := strconv.Atoi(x.Facts["gpu.count"])
	if n == 0 {
		x.note("gpu", lacks, "no NVIDIA GPU that nvidia-smi shows; stages that take one if there is one run on processors")
		return
	}
	for i := range n {
		at := fmt.Sprintf("gpu.%d.", i)
		x.note(fmt.Sprintf("gpu %d", i), sound, fmt.Sprintf("%s, %s GiB, %s", x.Facts[at+"name"], x.Facts[at+"memory_gib"], x.Facts["gpu.arch"]))
	}
	x.note("driver", sound, fmt.Sprintf("%s, branch %s, CUDA %s", x.Facts["gpu.driver"], x.Facts["gpu.driver.branch"], x.Facts["gpu.cuda"]))
}

// examineEnvironments gives, for each environment that stages cannot run in, what is wrong.
func (x *examination) examineEnvironments(ctx context.Context) (without map[string]string, err error) {
	set, err := x.environments(true)
	if err != nil {
		return nil, err
	}
	all, err := set.List(ctx)
	if err != nil {
		return nil, err
	}
	installed := map[artifacts.Digest]env.Installed{}
	for _, one := range all {
		installed[one.Digest] = one
	}
	without = map[string]string{}
	for _, name := range set.Names() {
		row := "environment " + name
		blob, err := set.Blob(ctx, name)
		one, there := installed[artifacts.Sum(blob)]
		switch {
		case err != nil:
			without[name] = err.Error()
			x.note(row, lacks, err.Error())
		case one.Own:
			if err := x.examineOwn(ctx, set, name, without); err != nil {
				return nil, err
			}
		case there && one.Problem == "":
			x.note(row, sound, fmt.Sprintf("installed, %s, made of %s", view.Bytes(one.Bytes), one.Python))
		case x.offline:
			without[name] = "environment " + name + ": not installed"
			x.note(row, lacks, "not installed")
		case there:
			x.note(row, sound, "damaged ("+one.Problem+"); the next build installs it anew")
		default:
			x.note(row, sound, "not installed yet; this machine has a Python for it")
		}
	}
	return without, nil
}

// examineOwn tells how this machine's own interpreter differs from the environment that it stands in for.
func (x *examination) examineOwn(ctx context.Context, set *env.Set, name string, without map[string]string) error {
	missing, other, err := set.Lacks(ctx, name)
	if err != nil {
		return err
	}
	own, _ := set.Own(name)
	said := "this machine's own " + own.Python
	if len(other) > 0 {
		said += "; of another version than the lock's: " + strings.Join(other, ", ")
	}
	if len(missing) > 0 {
		without[name] = fmt.Sprintf("environment %s: %s has no %s", name, own.Python, strings.Join(missing, ", "))
		x.note("environment "+name, lacks, said+"; it has no "+strings.Join(missing, ", "))
		return nil
	}
	x.note("environment "+name, sound, said)
	return nil
}
