package run_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// claiming kinds hold a file for each of their devices while they run, and note every clash.
func claiming(dir, needs string) kind {
	return kind{"needs {\n" + needs + "\n}\n", `
n=$(ls ` + dir + `/running | wc -l); echo $n >> ` + dir + `/beside
touch ` + dir + `/running/$$
for id in $(echo $CUDA_VISIBLE_DEVICES | tr , ' '); do
  mkdir ` + dir + `/held/$id || echo "$id held twice" >> ` + dir + `/clashes
done
echo "$CUDA_VISIBLE_DEVICES" >> ` + dir + `/used
sleep 0.05
for id in $(echo $CUDA_VISIBLE_DEVICES | tr , ' '); do rmdir ` + dir + `/held/$id; done
rm ` + dir + `/running/$$
` + hello}
}

func claimBench(t *testing.T, needs string, n int) *bench {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"held", "running"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "stage \"claim\" \"s%02d\" { salt = %q }\n", i, fmt.Sprint(i))
	}
	b := benchAt(t, dir, kinds{"claim": claiming(dir, needs)}, text.String())
	b.facts["cpu.count"] = "64"
	return b
}

func (b *bench) beside() []string { return strings.Fields(b.read("beside")) }

func TestADeviceHasOneHolder(t *testing.T) {
	b := claimBench(t, `gpus = 1`, 24)
	b.facts["gpu.count"], b.facts["gpu.2.id"] = "4", "GPU-c2"
	b.ok()
	if clashes := b.read("clashes"); clashes != "" {
		t.Error(clashes)
	}
	used := strings.Fields(b.read("used"))
	if len(used) != 24 {
		t.Errorf("%d stages ran", len(used))
	}
	slices.Sort(used)
	if used = slices.Compact(used); fmt.Sprint(used) != "[0 1 3 GPU-c2]" {
		t.Errorf("used %v", used)
	}
}

// What a GPU's memory holds runs there at once, and all of it does.
func TestStagesOnOneDevice(t *testing.T) {
	for of, most := range map[string]string{"26.5": "2", "40": "0", "0": "0"} {
		b := claimBench(t, "gpus = 1", 6)
		b.facts["gpu.count"], b.facts["gpu.0.memory_gib"] = "1", "79.6"
		shared := b.kinds["claim"]
		shared.worker = strings.NewReplacer("mkdir ", "mkdir -p ", "rmdir ", "true ").Replace(shared.worker)
		b.kinds["claim"] = shared
		b.recipe = strings.NewReplacer("{ ", "{\n", " }", "\nneeds { gpu_memory_gib = "+of+" }\n}").Replace(b.recipe)
		b.ok()
		if beside := b.beside(); len(beside) != 6 || slices.Max(beside) > most {
			t.Errorf("of %s GiB each, beside one ran %v others", of, beside)
		}
	}
}

func TestPairsOfDevices(t *testing.T) {
	b := claimBench(t, `gpus = 2`, 8)
	b.facts["gpu.count"] = "3"
	b.ok()
	if b.read("clashes") != "" || slices.Max(b.beside()) != "0" {
		t.Errorf("clashes %q, beside %v", b.read("clashes"), b.beside())
	}
}

// While what a stage has made is stored, the next one has its device, and need not mind that it was exclusive.
func TestStoringHoldsNoDevice(t *testing.T) {
	for _, more := range []string{"", "\nexclusive = true"} {
		b := claimBench(t, "cpus = 63\nmemory_gib = 7\ngpus = 1", 1)
		first := b.kinds["claim"]
		first.head = strings.Replace(first.head, "gpus = 1", "gpus = 1"+more, 1)
		b.kinds["first"] = first
		b.recipe = `stage "first" "a" {}` + "\n" + b.recipe
		b.facts["gpu.count"] = "1"
		b.options.Adopter = afterwards{b.options.Adopter, sync.OnceFunc(func() {
			err := b.seen.await(t.Context(), func(e event.Event) bool { return e.Type == event.Started && e.Stage == "claim.s00" })
			if err != nil {
				t.Error(err)
			}
		})}
		got := b.ok()
		if clashes := b.read("clashes"); clashes != "" {
			t.Error(clashes)
		}
		for address, s := range got {
			if n := b.record(s).Observed["gpus"]; n != "1" {
				t.Errorf("%s had %q devices", address, n)
			}
		}
	}
}

func TestAStageThatFailsWhenItIsStoredHoldsNothing(t *testing.T) {
	b := claimBench(t, "cpus = 64\ngpus = 1", 2)
	bad := claiming(b.dir, "cpus = 64\ngpus = 1\nexclusive = true")
	bad.worker = strings.Replace(bad.worker, hello, "echo x > out/files/half.safetensors\n"+done, 1)
	b.kinds["bad"] = bad
	b.recipe = `stage "bad" "a" {}` + "\n" + b.recipe
	b.facts["gpu.count"] = "1"
	b.options.KeepGoing = true
	got := b.fails(run.ExitStage, "half.safetensors")
	b.states(map[string]artifacts.State{"bad.a": "failed", "claim.s00": "ran", "claim.s01": "ran"}, got)
}

func TestMemoryIsBounded(t *testing.T) {
	b := claimBench(t, `memory_gib = 3`, 8)
	b.ok() // of 8 GiB
	if most := slices.Max(b.beside()); most > "1" {
		t.Errorf("%s others ran beside one", most)
	}
}

func TestCPUsAreBoundedAndTooManyAreAllThereAre(t *testing.T) {
	b := claimBench(t, `cpus = 100`, 3)
	b.ok()
	if most := slices.Max(b.beside()); most != "0" {
		t.Errorf("%s others ran beside one", most)
	}
}

func TestJobsAreBounded(t *testing.T) {
	b := claimBench(t, `cpus = 1`, 8)
	b.options.Jobs = 2
	b.ok()
	if most := slices.Max(b.beside()); most > "1" {
		t.Errorf("%s others ran beside one", most)
	}
}

func TestAnExclusiveStageRunsAlone(t *testing.T) {
	b := claimBench(t, `cpus = 1`, 4)
	alone := claiming(b.dir, `exclusive = true`)
	alone.worker = `ls ` + b.dir + `/running > ` + b.dir + `/alone` + alone.worker
	b.kinds["alone"] = alone
	b.recipe = `stage "alone" "a" {}` + "\n" + b.recipe
	b.options.Jobs = 0
	b.ok()
	if b.read("alone") != "" {
		t.Errorf("beside it ran %q", b.read("alone"))
	}
}

func TestWhatCanNeverFitStartsNothing(t *testing.T) {
	b := claimBench(t, `gpus = 2`, 1)
	b.kinds["big"] = claiming(b.dir, `memory_gib = 100`)
	b.recipe += `stage "big" "b" {}`
	got := b.fails(run.ExitRecipe, "claim.s00 needs 2 NVIDIA GPUs (its needs say gpus = 2), and nvidia-smi shows none on this machine", "big.b needs 100 GiB of memory, this machine has 8", "r.hcl:1", "r.hcl:2")
	b.states(map[string]artifacts.State{"claim.s00": "blocked", "big.b": "blocked"}, got)
	if len(b.beside()) > 0 {
		t.Error("something ran")
	}
}

func TestWhatNoDeviceHoldsStartsNothing(t *testing.T) {
	b := claimBench(t, "gpus = 1\ngpu_memory_gib = 80", 1)
	b.kinds["pair"] = claiming(b.dir, "gpus = 2\ngpu_memory_gib = 40")
	b.recipe += `stage "pair" "b" {}`
	b.facts["gpu.count"], b.facts["gpu.0.memory_gib"], b.facts["gpu.1.memory_gib"] = "2", "79.6", "24"
	got := b.fails(run.ExitRecipe, "claim.s00 needs a GPU with 80 GiB of memory", "the largest of this machine has 79.6", "pair.b needs 2 GPUs with 40 GiB of memory each", "r.hcl:1", "r.hcl:2")
	b.states(map[string]artifacts.State{"claim.s00": "blocked", "pair.b": "blocked"}, got)
	if len(b.beside()) > 0 {
		t.Error("something ran")
	}
}

func TestStagesStartInTheGraphsOrder(t *testing.T) {
	b := claimBench(t, `cpus = 1`, 12)
	b.options.Jobs = 1
	b.ok()
	var order []string
	all, _ := b.seen.all()
	for _, e := range all {
		if e.Type == "started" {
			order = append(order, e.Stage)
		}
	}
	if !slices.IsSorted(order) || len(order) != 12 {
		t.Errorf("started %v", order)
	}
}
