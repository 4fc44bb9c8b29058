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

// probeTimeout bounds nvidia-smi, which hangs when a driver is broken, and nvcc. On a loaded machine whose driver was asleep the
// first answer takes seconds; one that came too late would make a machine without a GPU of it.
const probeTimeout = 10 * time.Second

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
		gpus = x.say(ctx, "nvidia-smi", "--query-gpu=index,uuid,name,memory.total,compute_cap,driver_version", "--format=csv,noheader,nounits")
	})
	asked.Go(func() { driver = x.say(ctx, "nvidia-smi", "--version") })
	asked.Go(func() { compiler = x.say(ctx, nvcc(os.Getenv), "--version") })
	asked.Wait()
	if err := gpuFacts(facts, gpus, os.Getenv, x.options.Facts); err != nil {
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
func (x *Executor) say(ctx context.Context, program string, args ...string) string {
	path, err := exec.LookPath(program)
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, x.patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// device is one line of nvidia-smi.
type device struct{ id, uuid, name, memoryGiB, arch, driver string }

// gpuFacts reads nvidia-smi's lines. A CUDA_VISIBLE_DEVICES of ours bounds what we may hand on, and so does what is declared.
func gpuFacts(facts map[string]string, csvText string, env func(string) string, declared map[string]string) error {
	all, err := devices(csvText, env)
	if err != nil {
		return err
	}
	var archs []string
	if all, err = chosen(all, declared); err != nil {
		return err
	}
	for i, d := range all {
		at := "gpu." + strconv.Itoa(i) + "."
		facts[at+"id"] = d.id
		if d.arch == "" {
			continue // declared, and not known to the driver
		}
		facts[at+"name"], facts[at+"memory_gib"] = d.name, d.memoryGiB
		facts["gpu.driver"] = d.driver
		facts["gpu.driver.branch"], _, _ = strings.Cut(d.driver, ".")
		archs = append(archs, d.arch)
	}
	facts["gpu.count"] = strconv.Itoa(len(all))
	if len(archs) > 0 {
		slices.Sort(archs)
		facts["gpu.arch"] = strings.Join(slices.Compact(archs), ",")
	}
	return nil
}

func devices(csvText string, env func(string) string) ([]device, error) {
	r := csv.NewReader(strings.NewReader(csvText))
	r.TrimLeadingSpace = true
	rows, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("reading what nvidia-smi says: %w", err)
	}
	var all []device
	for _, row := range rows {
		if len(row) != 6 || !visible(env("CUDA_VISIBLE_DEVICES"), row[0], row[1]) {
			continue
		}
		mib, err := strconv.ParseInt(strings.TrimSpace(row[3]), 10, 64)
		if err != nil {
			mib = 0 // "[N/A]": memory that it shares with the machine
		}
		all = append(all, device{row[0], row[1], row[2], gib(mib << 20), "sm_" + strings.ReplaceAll(row[4], ".", ""), row[5]})
	}
	return all, nil
}

// chosen are the devices whose ids are declared, in that order: what is told of the others would be in keys that they have no part in.
func chosen(all []device, declared map[string]string) ([]device, error) {
	if declared["gpu.count"] != "0" && declared["gpu.0.id"] == "" {
		return all, nil
	}
	names := map[string]string{}
	var some []device
	for i := 0; declared[fmt.Sprintf("gpu.%d.id", i)] != ""; i++ {
		id := declared[fmt.Sprintf("gpu.%d.id", i)]
		at := slices.IndexFunc(all, func(d device) bool { return visible(id, d.id, d.uuid) })
		if at < 0 {
			some = append(some, device{id: id})
			continue
		}
		if other := names[all[at].id]; other != "" { // each would be given to a stage that has it alone
			return nil, fmt.Errorf("gpus of tinfra.hcl: %s and %s are one device", other, id)
		}
		names[all[at].id] = id
		some = append(some, all[at])
	}
	return some, nil
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
