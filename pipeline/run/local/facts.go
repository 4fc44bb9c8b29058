package local

import (
	"context"
	"encoding/csv"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// probeTimeout bounds nvidia-smi, which hangs when a driver is broken, and nvcc.
const probeTimeout = 2 * time.Second

// Facts implements run.Executor: os, arch, cpu.model, cpu.count, memory_gib, gpu.count; where there are GPUs also
// gpu.arch, gpu.driver, its branch (its first number), gpu.cuda (the newest that the driver runs) and, for each,
// gpu.<i>.id, .name and .memory_gib; nvcc where there is one. Facts of the options stand in their place.
func (x *Executor) Facts(ctx context.Context) (map[string]string, error) {
	facts := map[string]string{
		"os":         runtime.GOOS,
		"arch":       runtime.GOARCH,
		"cpu.model":  cpuModel(),
		"cpu.count":  strconv.Itoa(runtime.NumCPU()),
		"memory_gib": gib(memoryBytes()),
		"gpu.count":  "0",
	}
	var gpus, driver, compiler string
	var asked sync.WaitGroup
	asked.Go(func() {
		gpus = say(ctx, "nvidia-smi", "--query-gpu=index,uuid,name,memory.total,compute_cap,driver_version", "--format=csv,noheader,nounits")
	})
	asked.Go(func() { driver = say(ctx, "nvidia-smi", "--version") })
	asked.Go(func() { compiler = say(ctx, nvcc(os.Getenv), "--version") })
	asked.Wait()
	if err := gpuFacts(facts, gpus, os.Getenv); err != nil {
		return nil, err
	}
	if found := cudaVersion().FindStringSubmatch(driver); found != nil && facts["gpu.count"] != "0" {
		facts["gpu.cuda"] = found[1]
	}
	if found := nvccVersion().FindStringSubmatch(compiler); found != nil {
		facts["nvcc"] = found[1]
	}
	maps.Copy(facts, x.options.Facts)
	return facts, nil
}

var (
	cudaVersion = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?m)^CUDA (?:UMD )?Version\s*:\s*([0-9]+(?:\.[0-9]+)*)`)
	})
	nvccVersion = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?m)^Cuda compilation tools,.* V([0-9]+(?:\.[0-9]+)*)`)
	})
)

// nvcc is the compiler that PyTorch's extensions take: of CUDA_HOME or CUDA_PATH, else on PATH, else where CUDA installs itself.
func nvcc(env func(string) string) string {
	for _, name := range []string{"CUDA_HOME", "CUDA_PATH"} {
		if home := env(name); home != "" {
			return filepath.Join(home, "bin", "nvcc")
		}
	}
	if path, err := exec.LookPath("nvcc"); err == nil {
		return path
	}
	return "/usr/local/cuda/bin/nvcc"
}

// say is what a program of the driver or the toolkit answers. It is empty on a machine without it, or where it fails: then
// there is nothing that could be used.
func say(ctx context.Context, program string, args ...string) string {
	path, err := exec.LookPath(program)
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// gpuFacts reads nvidia-smi's lines. A CUDA_VISIBLE_DEVICES of ours bounds what we may hand on.
func gpuFacts(facts map[string]string, csvText string, env func(string) string) error {
	r := csv.NewReader(strings.NewReader(csvText))
	r.TrimLeadingSpace = true
	rows, err := r.ReadAll()
	if err != nil {
		return fmt.Errorf("reading what nvidia-smi says: %w", err)
	}
	var archs []string
	n := 0
	for _, row := range rows {
		if len(row) != 6 || !visible(env("CUDA_VISIBLE_DEVICES"), row[0], row[1]) {
			continue
		}
		mib, err := strconv.ParseInt(strings.TrimSpace(row[3]), 10, 64)
		if err != nil {
			mib = 0 // "[N/A]": memory that it shares with the machine
		}
		at := "gpu." + strconv.Itoa(n) + "."
		facts[at+"id"], facts[at+"name"], facts[at+"memory_gib"] = row[0], row[2], gib(mib<<20)
		facts["gpu.driver"] = row[5]
		facts["gpu.driver.branch"], _, _ = strings.Cut(row[5], ".")
		archs = append(archs, "sm_"+strings.ReplaceAll(row[4], ".", ""))
		n++
	}
	facts["gpu.count"] = strconv.Itoa(n)
	if n > 0 {
		slices.Sort(archs)
		facts["gpu.arch"] = strings.Join(slices.Compact(archs), ",")
	}
	return nil
}

func visible(list, index, uuid string) bool {
	if list == "" {
		return true
	}
	for id := range strings.SplitSeq(list, ",") {
		id = strings.TrimSpace(id)
		if id == index || (strings.HasPrefix(id, "GPU-") && strings.HasPrefix(uuid, id)) {
			return true
		}
	}
	return false
}

func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// memoryBytes is the machine's memory, or less where a control group says so.
func memoryBytes() int64 {
	kib, _ := field("/proc/meminfo", "MemTotal:")
	all := kib << 10
	groups, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		for _, limit := range []string{
			filepath.Join("/sys/fs/cgroup", f[2], "memory.max"),
			filepath.Join("/sys/fs/cgroup/memory", f[2], "memory.limit_in_bytes"),
		} {
			b, err := os.ReadFile(limit)
			if n, bad := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && bad == nil && n > 0 && n < all {
				all = n
			}
		}
	}
	return all
}

// gib has one decimal: the same machine says the same after a change of kernel.
func gib(n int64) string { return strconv.FormatFloat(float64(n)/(1<<30), 'f', 1, 64) }
