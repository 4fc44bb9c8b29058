package run_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// doomed is what a builder in a process of its own is told.
type doomed struct {
	Kinds  map[string][2]string
	Recipe string
	Step   string // of artifacts.Steps: it dies there; "" where the test kills it
}

const doomedVariable = "TINFRA_TEST_DOOMED"

// TestDoomedBuilder is no test: it is the builder that the tests below start in another process.
func TestDoomedBuilder(t *testing.T) {
	dir := os.Getenv(doomedVariable)
	if dir == "" {
		return
	}
	text, err := os.ReadFile(filepath.Join(dir, "doomed.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d doomed
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	artifacts.Crash = func(step string) {
		if step == d.Step {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		}
	}
	ks := kinds{}
	for name, k := range d.Kinds {
		ks[name] = kind{k[0], k[1]}
	}
	benchAt(t, dir, ks, d.Recipe).ok()
}

// startDoomed starts such a builder for the bench's own recipe and cache.
func (b *bench) startDoomed(step string) *exec.Cmd {
	b.t.Helper()
	d := doomed{Kinds: map[string][2]string{}, Recipe: b.recipe, Step: step}
	for name, k := range b.kinds {
		d.Kinds[name] = [2]string{k.head, k.worker}
	}
	text, err := json.Marshal(d)
	if err != nil {
		b.t.Fatal(err)
	}
	b.write("doomed.json", string(text))
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestDoomedBuilder$", "-test.v")
	cmd.Env = append(os.Environ(), doomedVariable+"="+b.dir)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	return cmd
}

func (b *bench) killed(cmd *exec.Cmd) {
	b.t.Helper()
	err := cmd.Wait()
	if died, ok := errors.AsType[*exec.ExitError](err); !ok || died.ExitCode() != -1 {
		b.t.Fatalf("the builder was to be killed: %v", err)
	}
}

// slow waits until the test says go.
func slow(dir string) kind {
	return kind{"", `echo ran >> ` + dir + `/ran
echo '{"type":"progress","time":1,"done":3,"total":7,"unit":"layers"}' >> events.jsonl
echo said early
while ! [ -e ` + dir + `/go ]; do sleep 0.01; done
` + hello}
}

func TestAKilledBuildersWorkerIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"slow": slow(dir)}, `stage "slow" "a" {}`)
	cmd := b.startDoomed("")
	eventually(t, "the worker's start", func() bool { return b.read("ran") != "" })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.killed(cmd)

	b.options.Executor = watched{b.options.Executor, func() { b.write("go", "") }}
	got := b.ok()
	b.states(map[string]artifacts.State{"slow.a": "ran"}, got)
	if b.read("ran") != "ran\n" {
		t.Errorf("ran %q", b.read("ran"))
	}
	if rec := b.record(got["slow.a"]); rec.Observed["reattached"] != "true" {
		t.Errorf("observed %v", rec.Observed)
	}
	if log := b.log(got["slow.a"]); !strings.Contains(log, "said early") {
		t.Errorf("the log begins late: %s", log)
	}
}

func TestAResultThatNobodyCollectedIsCollected(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"slow": slow(dir)}, `stage "slow" "a" {}`)
	cmd := b.startDoomed("")
	eventually(t, "the worker's start", func() bool { return b.read("ran") != "" })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.killed(cmd)
	b.write("go", "")
	eventually(t, "the worker's end", func() bool {
		ends, err := filepath.Glob(filepath.Join(b.store.Dir(), "work", "*", "*", "exit.json"))
		return err == nil && len(ends) == 1
	})
	ends, err := filepath.Glob(filepath.Join(b.store.Dir(), "work", "*", "*", "handle.json"))
	if err != nil || len(ends) != 1 {
		t.Fatal(ends, err)
	}
	if err := os.WriteFile(ends[0]+".part", []byte("half of a ha"), 0o600); err != nil { // as if it had died there
		t.Fatal(err)
	}
	b.states(map[string]artifacts.State{"slow.a": "ran"}, b.ok())
	if b.read("ran") != "ran\n" {
		t.Errorf("ran %q", b.read("ran"))
	}
}

func TestAnEarlierFailureIsTriedAgain(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"slow": {"", `if [ -e ` + dir + `/again ]; then again=1; fi
echo ran >> ` + dir + `/ran
if [ -z "$again" ]; then while ! [ -e ` + dir + `/go ]; do sleep 0.01; done; exit 5; fi
` + hello}}, `stage "slow" "a" {}`)
	cmd := b.startDoomed("")
	eventually(t, "the worker's start", func() bool { return b.read("ran") != "" })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.killed(cmd)
	b.write("again", "")
	b.write("go", "")
	eventually(t, "the worker's end", func() bool {
		ends, err := filepath.Glob(filepath.Join(b.store.Dir(), "work", "*", "*", "exit.json"))
		return err == nil && len(ends) == 1
	})
	b.states(map[string]artifacts.State{"slow.a": "ran"}, b.ok())
	if b.read("ran") != "ran\nran\n" {
		t.Errorf("ran %q", b.read("ran"))
	}
}

func TestAReattachedWorkerMayNotChangeItsInputEither(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"good": {"", hello}, "slow": {`
input "files" {
  type = "files"
  doc = "x"
}
`, `echo ran >> ` + dir + `/ran
while ! [ -e ` + dir + `/go ]; do sleep 0.01; done
chmod -R u+w in; echo more > in/files/greeting
` + hello}}, `
stage "good" "g" {}
stage "slow" "a" { files = good.g.files }
`)
	cmd := b.startDoomed("")
	eventually(t, "the worker's start", func() bool { return b.read("ran") != "" })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.killed(cmd)
	b.write("go", "")
	// The blob may be whole again by then: this build looks at it too.
	got := b.fails(3, "slow.a: ", "changed", "its input files", "greeting")
	b.noRecord(got["slow.a"].Key)
}

func TestABuildThatDiesWhilePublishingIsMended(t *testing.T) {
	for _, step := range artifacts.Steps {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			b := benchAt(t, dir, kinds{"two": {filesOut + `
output "more" {
  type = "files"
  doc = "x"
}
`, `echo ran >> ` + dir + `/ran; echo x > out/more/x` + "\n" + hello}}, `stage "two" "a" {}`)
			b.killed(b.startDoomed(step))
			got := b.ok()
			if s := got["two.a"].State; s != artifacts.Ran && s != artifacts.Hit {
				t.Errorf("state %s", s)
			}
			for port, d := range b.record(got["two.a"]).Outputs {
				m, err := b.cache.Manifest(t.Context(), d)
				if err != nil || len(m.Files) != 1 {
					t.Fatalf("output %s: %v %v", port, m, err)
				}
				if _, err := b.cache.GetBytes(t.Context(), m.Files[0].Digest); err != nil {
					t.Errorf("output %s: %v", port, err)
				}
			}
			b.states(map[string]artifacts.State{"two.a": "hit"}, b.ok())
			if ran := strings.Count(b.read("ran"), "ran"); ran != 1 {
				t.Errorf("the worker ran %d times", ran)
			}
		})
	}
}

func TestTwoBuildsRunAStageOnce(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"slow": slow(dir)}, `stage "slow" "a" {}`)
	other := benchAt(t, dir, b.kinds, b.recipe)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	first := make(chan error, 1)
	p, q := b.makePlan(), other.makePlan()
	go func() { _, err := b.execute(ctx, p); first <- err }()
	eventually(t, "the worker's start", func() bool { return b.read("ran") != "" })
	second := make(chan error, 1)
	go func() { _, err := other.execute(ctx, q); second <- err }()
	err := other.seen.await(ctx, func(e event.Event) bool { return e.Type == event.Progress && e.Done == 3 && e.Total == 7 })
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(other.seen.text(), "waits for build ") {
		t.Errorf("nobody said why: %s", other.seen.text())
	}
	b.write("go", "")
	for _, end := range []chan error{first, second} {
		if err := <-end; err != nil {
			t.Error(err)
		}
	}
	if b.read("ran") != "ran\n" {
		t.Errorf("ran %q", b.read("ran"))
	}
}

func TestDevicesAreSharedByBuildsOneHolderAtATime(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"held", "running"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ks := kinds{"one": claiming(dir, `gpus = 1`), "two": claiming(dir, `gpus = 2`), "all": claiming(dir, `gpus = 3`)}
	ends := make(chan error, 2)
	for i := range 2 {
		var text strings.Builder
		for j := range 5 {
			for name := range ks {
				fmt.Fprintf(&text, "stage %q \"s%d\" { salt = \"%d %d\" }\n", name, j, i, j)
			}
		}
		own := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(own, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(dir, "cache"), filepath.Join(own, "cache")); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, "cache"), 0o700); err != nil {
			t.Fatal(err)
		}
		b := benchAt(t, own, ks, text.String())
		b.facts["gpu.count"], b.facts["cpu.count"] = "3", "64"
		p := b.makePlan()
		go func() { _, err := b.execute(t.Context(), p); ends <- err }()
	}
	for range 2 {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
	if clashes, err := os.ReadFile(filepath.Join(dir, "clashes")); err == nil {
		t.Errorf("%s", clashes)
	}
	used, err := os.ReadFile(filepath.Join(dir, "used"))
	if err != nil || strings.Count(string(used), "\n") != 30 {
		t.Errorf("%v: used %s", err, used)
	}
}

func TestExclusiveStagesOfTwoBuildsDoNotMeet(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"held", "running"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ks := kinds{"claim": claiming(dir, `exclusive = true`)}
	ends := make(chan error, 2)
	b := benchAt(t, dir, ks, "")
	for i := range 2 {
		var text strings.Builder
		for j := range 4 {
			fmt.Fprintf(&text, "stage \"claim\" \"s%d\" { salt = \"%d %d\" }\n", j, i, j)
		}
		x := benchAt(t, dir, ks, text.String())
		p := x.makePlan()
		go func() { _, err := x.execute(t.Context(), p); ends <- err }()
	}
	for range 2 {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
	if got := b.beside(); len(got) != 8 || slices.Max(got) != "0" {
		t.Errorf("beside each other: %v", got)
	}
}

func TestAnotherBuildsDeviceIsLeftForAFreeOne(t *testing.T) {
	dir := t.TempDir()
	gpu := slow(dir)
	gpu.head, gpu.worker = "needs {\n gpus = 1 \n}\n", `echo "$CUDA_VISIBLE_DEVICES" >> `+dir+`/devices`+"\n"+gpu.worker
	b := benchAt(t, dir, kinds{"gpu": gpu}, `stage "gpu" "a" { salt = "1" }`)
	other := benchAt(t, dir, b.kinds, `stage "gpu" "a" { salt = "2" }`)
	ends := make(chan error, 2)
	for i, x := range []*bench{b, other} {
		x.facts["gpu.count"] = "2"
		p := x.makePlan()
		go func() { _, err := x.execute(t.Context(), p); ends <- err }()
		eventually(t, "a worker's start", func() bool { return strings.Count(b.read("devices"), "\n") == i+1 })
	}
	b.write("go", "")
	for range 2 {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
	if got := b.read("devices"); got != "0\n1\n" {
		t.Errorf("devices %q", got)
	}
}

func TestSecretsOfAReattachedWorkerAreHiddenToo(t *testing.T) {
	const canary = "reattached-c4n4ry"
	const stage = `stage "hub" "a" { token = secret("TINFRA_TEST_TOKEN") }`
	for name, token := range map[string]string{"the same": canary, "another": "something-else", "none": ""} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			hub := slow(dir)
			hub.head = `
secret "token" {
  env = "HF_TOKEN"
  doc = "x"
}
`
			hub.worker = strings.Replace(hub.worker, "echo said early", `echo "said $HF_TOKEN"`, 1)
			b := benchAt(t, dir, kinds{"hub": hub}, stage)
			t.Setenv("TINFRA_TEST_TOKEN", canary)
			cmd := b.startDoomed("")
			eventually(t, "the worker's start", func() bool { return b.read("ran") != "" })
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			b.killed(cmd)
			t.Setenv("TINFRA_TEST_TOKEN", token)
			said := "said ***"
			if token == "" { // secrets are in no key: the same workspace is found
				b.recipe, said = `stage "hub" "a" {}`, "said "
			}
			b.write("go", "")
			got := b.ok()
			if want := strings.Repeat("ran\n", map[string]int{"the same": 1, "another": 2, "none": 2}[name]); b.read("ran") != want {
				t.Errorf("ran %q", b.read("ran"))
			}
			if !strings.Contains(b.log(got["hub.a"]), said) {
				t.Errorf("log %s", b.log(got["hub.a"]))
			}
			b.searchCache(canary)
		})
	}
}
