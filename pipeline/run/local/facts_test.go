package local

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func fakeSMI(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "nvidia-smi"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("CUDA_VISIBLE_DEVICES", "")
}

const twoGPUs = `cat <<END
0, GPU-aa11, NVIDIA H100 80GB HBM3, 81559, 9.0, 580.65.06
1, GPU-bb22, NVIDIA GB10, [N/A], 12.1, 580.65.06
END
`

func facts(t *testing.T, o Options) map[string]string {
	t.Helper()
	f, err := New(o).Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFactsOfThisMachine(t *testing.T) {
	f := facts(t, Options{})
	for _, name := range []string{"os", "arch", "cpu.model", "cpu.count", "memory_gib", "gpu.count"} {
		if f[name] == "" {
			t.Errorf("no fact %s", name)
		}
	}
	if g, err := strconv.ParseFloat(f["memory_gib"], 64); err != nil || g <= 0 {
		t.Errorf("memory %q", f["memory_gib"])
	}
}

func TestFactsOfGPUs(t *testing.T) {
	fakeSMI(t, twoGPUs)
	f := facts(t, Options{})
	for name, want := range map[string]string{
		"gpu.count": "2", "gpu.arch": "sm_121,sm_90", "gpu.driver": "580.65.06", "gpu.0.id": "0", "gpu.1.id": "1",
		"gpu.0.name": "NVIDIA H100 80GB HBM3", "gpu.0.memory_gib": "79.6", "gpu.1.memory_gib": "0.0",
	} {
		if f[name] != want {
			t.Errorf("%s = %q, want %q", name, f[name], want)
		}
	}
}

// h100 answers the two questions that are asked of it as driver 580 does.
const h100 = `case "$1" in
--version) echo "NVIDIA-SMI version  : 580.65.06"; echo "DRIVER version      : 580.65.06"; echo "CUDA Version        : 13.0" ;;
*) echo "0, GPU-aa11, NVIDIA H100 80GB HBM3, 81559, 9.0, 580.65.06" ;;
esac
`

func TestFactsOfTheDriver(t *testing.T) {
	fakeSMI(t, h100)
	if f := facts(t, Options{}); f["gpu.driver"] != "580.65.06" || f["gpu.driver.branch"] != "580" || f["gpu.cuda"] != "13.0" {
		t.Errorf("%v", f)
	}
	fakeSMI(t, twoGPUs) // an old one that knows no --version
	f := facts(t, Options{})
	if cuda, ok := f["gpu.cuda"]; ok || f["gpu.driver.branch"] != "580" {
		t.Errorf("CUDA %q of %v", cuda, f)
	}
}

func TestTheCompilerIsFoundWhereTorchLooksForIt(t *testing.T) {
	nvcc := func(release string) string {
		home := t.TempDir()
		if err := os.Mkdir(filepath.Join(home, "bin"), 0o755); err != nil {
			t.Fatal(err)
		}
		script := "#!/bin/sh\necho 'nvcc: NVIDIA (R) Cuda compiler driver'\necho 'Cuda compilation tools, release " + release[:4] + ", V" + release + "'\n"
		if err := os.WriteFile(filepath.Join(home, "bin", "nvcc"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		return home
	}
	t.Setenv("CUDA_HOME", "")
	t.Setenv("CUDA_PATH", "")
	t.Setenv("PATH", filepath.Join(nvcc("12.4.99"), "bin")+":"+os.Getenv("PATH"))
	if f := facts(t, Options{}); f["nvcc"] != "12.4.99" {
		t.Errorf("on PATH: %q", f["nvcc"])
	}
	t.Setenv("CUDA_HOME", nvcc("13.0.88"))
	if f := facts(t, Options{}); f["nvcc"] != "13.0.88" {
		t.Errorf("in CUDA_HOME: %q", f["nvcc"])
	}
}

func TestOnlyVisibleGPUsAreOurs(t *testing.T) {
	fakeSMI(t, twoGPUs)
	for list, id := range map[string]string{"1": "1", "GPU-bb": "1", " 0 ": "0"} {
		t.Setenv("CUDA_VISIBLE_DEVICES", list)
		if f := facts(t, Options{}); f["gpu.count"] != "1" || f["gpu.0.id"] != id {
			t.Errorf("%q: %v", list, f)
		}
	}
}

// Keys hold what is told of the GPUs that stages are given, and of no other.
func TestFactsAreThoseOfTheDeclaredGPUs(t *testing.T) {
	fakeSMI(t, twoGPUs)
	for name, c := range map[string]struct{ declared, want map[string]string }{
		"the second":  {map[string]string{"gpu.count": "1", "gpu.0.id": "1"}, map[string]string{"gpu.0.name": "NVIDIA GB10", "gpu.arch": "sm_121", "gpu.1.name": ""}},
		"by its UUID": {map[string]string{"gpu.count": "1", "gpu.0.id": "GPU-bb22"}, map[string]string{"gpu.0.name": "NVIDIA GB10", "gpu.arch": "sm_121"}},
		"turned round": {map[string]string{"gpu.count": "2", "gpu.0.id": "1", "gpu.1.id": "0"},
			map[string]string{"gpu.0.name": "NVIDIA GB10", "gpu.1.name": "NVIDIA H100 80GB HBM3", "gpu.arch": "sm_121,sm_90"}},
		"none":    {map[string]string{"gpu.count": "0"}, map[string]string{"gpu.0.name": "", "gpu.arch": "", "gpu.count": "0"}},
		"unknown": {map[string]string{"gpu.count": "1", "gpu.0.id": "7"}, map[string]string{"gpu.0.name": "", "gpu.arch": "", "gpu.0.id": "7", "gpu.count": "1"}},
	} {
		f := facts(t, Options{Facts: c.declared})
		for fact, want := range c.want {
			if f[fact] != want {
				t.Errorf("%s: %s = %q, want %q", name, fact, f[fact], want)
			}
		}
	}
}

func TestADeviceUnderTwoNamesIsRefused(t *testing.T) {
	fakeSMI(t, twoGPUs)
	_, err := New(Options{Facts: map[string]string{"gpu.count": "2", "gpu.0.id": "1", "gpu.1.id": "GPU-bb22"}}).Facts(t.Context())
	if err == nil || !strings.Contains(err.Error(), "1 and GPU-bb22 are one device") {
		t.Errorf("%v", err)
	}
}

func TestABrokenDriverIsNoGPU(t *testing.T) {
	fakeSMI(t, "echo 'NVIDIA-SMI has failed'; exit 9")
	if f := facts(t, Options{}); f["gpu.count"] != "0" {
		t.Errorf("%v", f)
	}
	fakeSMI(t, "sleep 100")
	x := New(Options{})
	x.patience = 100 * time.Millisecond
	if f, err := x.Facts(t.Context()); err != nil || f["gpu.count"] != "0" {
		t.Errorf("%v, %v", f, err)
	}
}

func TestDeclaredFactsStandInPlaceOfProbedOnes(t *testing.T) {
	if f := facts(t, Options{Facts: map[string]string{"gpu.count": "4", "rack": "7"}}); f["gpu.count"] != "4" || f["rack"] != "7" || f["os"] == "" {
		t.Errorf("%v", f)
	}
}

func TestOOMCounts(t *testing.T) {
	root := t.TempDir()
	write := func(text string, elem ...string) {
		t.Helper()
		p := filepath.Join(append([]string{root}, elem...)...)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	vmstat := filepath.Join(root, "vmstat")
	write("pgfault 9\noom_kill 5\n", "vmstat")
	write("oom 9\noom_kill 2\n", "a/b", "memory.events")
	write("oom_kill_disable 0\noom_kill 3\n", "memory/job", "memory.oom_control")
	machine := counter{5, true}
	for groups, want := range map[string]oomCount{
		"0::/a/b\n":             {counter{2, true}, machine},
		"9:memory:/job\n0::/\n": {counter{3, true}, machine},
		"0::/elsewhere\n":       {counter{}, machine},
	} {
		if got := oomIn(root, groups, vmstat); got != want {
			t.Errorf("%q: %+v, want %+v", groups, got, want)
		}
	}
	if got := oomIn(root, "", filepath.Join(root, "none")); got != (oomCount{}) {
		t.Errorf("%+v out of nothing", got)
	}
}

func TestWhatTheCountsOfKillsTell(t *testing.T) {
	count := func(own, machine int64) oomCount { // negative: not known
		return oomCount{counter{own, own >= 0}, counter{machine, machine >= 0}}
	}
	for name, c := range map[string]struct {
		before, after oomCount
		shot, want    bool
	}{
		"in our group":                        {count(1, 7), count(2, 8), true, true},
		"a child, in our group":               {count(1, 7), count(2, 8), false, true},
		"shot by a person":                    {count(1, 7), count(1, 7), true, false},
		"in a group of its own":               {count(1, 7), count(1, 8), true, true},
		"another one of this machine":         {count(1, 7), count(1, 8), false, false},
		"no group":                            {count(-1, 7), count(-1, 8), true, true},
		"no group, another one":               {count(-1, 7), count(-1, 8), false, false},
		"no group, shot by a person":          {count(-1, 7), count(-1, 7), true, false},
		"nothing is known, shot":              {count(-1, -1), count(-1, -1), true, true},
		"nothing is known":                    {count(-1, -1), count(-1, -1), false, false},
		"only our group, shot by a person":    {count(1, -1), count(1, -1), true, false},
		"only our group":                      {count(1, -1), count(2, -1), true, true},
		"the group is gone, by another count": {count(1, 7), count(-1, 8), true, true},
	} {
		if got := c.before.tells(c.after, c.shot); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
