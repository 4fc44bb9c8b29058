package run_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
	"github.com/Ruihan11/tiny-infra/pipeline/run/local"
)

const badPorts = `
param "bits" {
  type = number
  default = 4
  doc = "x"
}
input "files" {
  type = "files"
  doc = "x"
}
output "files" {
  type = "files"
  doc = "x"
}
output "maybe" {
  type = "files"
  optional = true
  doc = "x"
}
metric "loss" {
  unit = "nat"
  doc = "x"
}
`

const badRecipe = `
stage "good" "in" {}
stage "bad" "x" {
  files = good.in.files
  bits  = 3
}
`

// Every way in which a worker can fail: what the person is told, and that nothing is published.
func TestBadWorkers(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		says   []string
	}{
		"no result":               {`echo x > out/files/x`, []string{"left no usable result", "result.json"}},
		"rubbish result":          {`echo x > out/files/x; echo '{"protocol":1' > result.json`, []string{"left no usable result", "result.json: not JSON"}},
		"result of later version": {`echo x > out/files/x; echo '{"protocol":9}' > result.json`, []string{"version 9"}},
		"NaN":                     {`echo x > out/files/x; echo '{"protocol":1,"metrics":{"loss":NaN}}' > result.json`, []string{"metrics.loss", "NaN"}},
		"infinite":                {`echo x > out/files/x; echo '{"protocol":1,"metrics":{"loss":1e999}}' > result.json`, []string{"metrics.loss"}},
		"undeclared metric":       {`echo x > out/files/x; echo '{"protocol":1,"metrics":{"los":1}}' > result.json`, []string{`"los"`, "does not declare"}},
		"no output":               {done, []string{"made no files", "out/files is empty"}},
		"undeclared output":       {`mkdir out/other; echo x > out/other/x` + "\n" + hello, []string{"out/other", "does not declare"}},
		"file for a folder":       {`rm -r out/files; echo x > out/files` + "\n" + done, []string{"out/files a file"}},
		"file beside":             {`echo x > out/x` + "\n" + hello, []string{"out/x", "does not declare"}},
		"writes outside":          {`echo x > scratch; mkdir more` + "\n" + hello, []string{"wrote outside its outputs: more, scratch"}},
		"plays builder":           {`echo '{"files":"sha256:` + strings.Repeat("0", 64) + `"}' > adopted.json` + "\n" + hello, []string{"wrote outside its outputs: adopted.json"}},
		"changes its input":       {`chmod -R u+w in; echo more >> in/files/greeting` + "\n" + hello, []string{"a file of its input files was changed while it ran, by its worker or by that of another stage", "greeting"}},
		"adds to its input":       {`chmod -R u+w in; echo more >> in/files/more` + "\n" + hello, []string{"changed its input files", "more"}},
		"changes its sources":     {`chmod -R u+w worker; echo exit 0 > worker/bad/worker.sh` + "\n" + hello, []string{"a file of its sources was changed while it ran", "worker.sh"}},
		"link out of the output":  {`ln -s /etc/hostname out/files/x` + "\n" + done, []string{"bad.x: ", "(storing output files)"}},
		"pipe in the output":      {`mkfifo out/files/x` + "\n" + done, []string{"bad.x: ", "(storing output files)"}},
		"result is a link":        {`echo x > out/files/x; ln -s /dev/zero result.json`, []string{"result.json is a link"}},
		"result before the exit":  {hello + "exit 3", []string{"crashed with exit code 3"}},
		"crash":                   {`exit 77`, []string{"bad.x: the worker crashed with exit code 77"}},
		"signal":                  {`kill -SEGV $$`, []string{"ended by SIGSEGV"}},
		"machine":                 {`exit 12`, []string{"this machine is not what its facts say"}},
		"resources":               {`exit 13`, []string{"ran out of memory or disk"}},
		"bad param": {
			`echo '{"type":"problem","time":1,"message":"3 bits need group_size 32","param":"bits","hint":"say 4"}' >> events.jsonl; exit 10`,
			[]string{"r.hcl:5: Worker refused a param: bad.x refuses bits: 3 bits need group_size 32 (say 4)"},
		},
		"bad param, unnamed": {`exit 10`, []string{"r.hcl:3: Worker refused its params"}},
		"bad input": {
			`echo '{"type":"problem","time":1,"message":"empty file","input":"files"}' >> events.jsonl; exit 11`,
			[]string{"r.hcl:4: Worker refused an input: bad.x cannot use its input files: empty file"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, kinds{"good": {"", hello}, "bad": {badPorts, c.script}}, badRecipe)
			got := b.fails(run.ExitStage, c.says...)
			b.states(map[string]artifacts.State{"good.in": "ran", "bad.x": "failed"}, got)
			b.noRecord(got["bad.x"].Key)
			if log := b.log(got["bad.x"]); !strings.Contains(log, `"failed"`) {
				t.Errorf("the log does not end with the failure: %s", log)
			}
			if !strings.Contains(name, "input") {
				return
			}
			// What the worker did to its input harms nobody: the cache is sound, or heals.
			b.kinds["bad"] = kind{badPorts, `cat in/files/greeting; test "$(cat in/files/greeting)" = hello || exit 5` + "\n" + hello}
			b.ok()
		})
	}
}

func TestAnOptionalOutputMayBeAbsent(t *testing.T) {
	b := newBench(t, kinds{"good": {"", hello}, "bad": {badPorts, hello}}, badRecipe)
	if out := b.record(b.ok()["bad.x"]).Outputs; sortedText(out) != "[files]" {
		t.Errorf("outputs %v", out)
	}
}

func TestRubbishAmongTheEventsIsSaidAndHarmless(t *testing.T) {
	b := newBench(t, kinds{"good": {"", `echo '{"type":"metric","time":1,"name":"x","value":NaN}' > events.jsonl
echo 'not json' >> events.jsonl; printf '{"type":"log","time":1,"message":"cut' >> events.jsonl
` + hello}}, `stage "good" "a" {}`)
	b.ok()
	for _, text := range []string{"value", "not json", "no end"} {
		if !strings.Contains(b.seen.text(), text) {
			t.Errorf("nobody said %q: %s", text, b.seen.text())
		}
	}
}

func TestAFloodOfRubbishIsCounted(t *testing.T) {
	b := newBench(t, kinds{"good": {"", `yes rubbish | head -1000 > events.jsonl` + "\n" + hello}}, `stage "good" "a" {}`)
	b.ok()
	if n := strings.Count(b.seen.text(), "no event"); n != 21 || !strings.Contains(b.seen.text(), "980 more lines") {
		t.Errorf("said %d times: %s", n, b.seen.text())
	}
}

func TestATransientFailureIsTriedAgain(t *testing.T) {
	dir := t.TempDir()
	script := `echo ran >> ` + dir + `/ran; test $(wc -l < ` + dir + `/ran) -ge 3 || exit 14` + "\n" + hello
	b := benchAt(t, dir, kinds{"flaky": {"", script}}, `stage "flaky" "a" {}`)
	clock := &instant{}
	b.options.Clock = clock
	got := b.ok()
	if rec := b.record(got["flaky.a"]); rec.Observed["attempts"] != "3" {
		t.Errorf("observed %v", rec.Observed)
	}
	if fmt.Sprint(clock.waits) != "[1s 2s]" {
		t.Errorf("waited %v", clock.waits)
	}
}

func TestRetriesAreBounded(t *testing.T) {
	dir := t.TempDir()
	script := `echo ran >> ` + dir + `/ran; echo '{"type":"problem","time":1,"message":"hub is down"}' >> events.jsonl; exit 14`
	b := benchAt(t, dir, kinds{"flaky": {"", script}}, `stage "flaky" "a" { retries = 1 }`)
	b.options.Clock = &instant{}
	got := b.fails(run.ExitStage, "a passing trouble: hub is down")
	if b.read("ran") != "ran\nran\n" {
		t.Errorf("ran %q", b.read("ran"))
	}
	if log := b.log(got["flaky.a"]); strings.Count(log, "hub is down") < 3 || !strings.Contains(log, `"attempt":2`) {
		t.Errorf("the log lacks an attempt: %s", log)
	}
}

func TestATimeoutEndsAHangingWorkerAndAllItStarted(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"hang": {"", escape(dir) + `while :; do sleep 0.01; done`}}, `stage "hang" "a" { timeout = "700ms" }`)
	b.options.Retries = 5 // a timeout is no passing trouble
	got := b.fails(run.ExitStage, "hang.a: it was ended after its timeout of 700ms")
	b.noRecord(got["hang.a"].Key)
	if !gone(t, b.read("pids")) || b.read("pids") == "" {
		t.Errorf("left running: %q", b.read("pids"))
	}
}

// swift is a clock on which ten minutes pass in a fifth of a second.
type swift struct {
	instant
	began time.Time
}

func (c *swift) Now() time.Time { return c.began.Add(time.Since(c.began) * 3000) }

func TestASilentWorkerIsSpokenOfAndLeftAlone(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(dir+"/gate", 0o600); err != nil {
		t.Fatal(err)
	}
	b := benchAt(t, dir, kinds{"mute": {"", `read x < ` + dir + `/gate` + "\n" + hello}}, `stage "mute" "a" {}`)
	executor := local.New(local.Options{})
	b.options.Executor, b.options.Meter, b.options.Clock = executor, executor, &swift{began: time.Now()}
	p := b.makePlan()
	ended := make(chan error, 1)
	go func() { _, err := b.execute(t.Context(), p); ended <- err }()
	err := b.seen.await(t.Context(), func(e event.Event) bool {
		return e.Type == event.Problem && e.Level == "warning" && e.Stage == "mute.a" &&
			strings.HasPrefix(e.Message, "it has said nothing for ") && strings.Contains(e.Message, "used next to no CPU: it may hang")
	})
	if err != nil {
		t.Error(err)
	}
	gate, err := os.OpenFile(dir+"/gate", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	gate.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// escape leaves a double-forked process in a session of its own that does not hear SIGTERM; the script neither.
func escape(dir string) string {
	return `trap '' TERM
(setsid sh -c 'trap "" TERM HUP; echo $$ >> ` + dir + `/pids; while :; do sleep 1000; done' >/dev/null 2>&1 &)
while ! [ -s ` + dir + `/pids ]; do sleep 0.01; done
echo $$ >> ` + dir + `/pids
`
}

func TestCancelLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"good": {"", hello}, "hang": {"", escape(dir) + `
echo '{"type":"progress","time":1,"done":1}' >> events.jsonl
while :; do sleep 0.01; done`}}, `
stage "good" "a" {}
stage "hang" "b" {}
stage "good" "never" { salt = "x" }
`)
	b.options.Jobs = 2
	b.facts["cpu.count"] = "1" // so the third waits for the second
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	p := b.makePlan()
	type end struct {
		build *artifacts.Build
		err   error
	}
	ended := make(chan end, 1)
	go func() { made, err := b.execute(ctx, p); ended <- end{made, err} }()
	if err := b.seen.await(ctx, func(e event.Event) bool { return e.Type == event.Progress }); err != nil {
		t.Fatal(err)
	}
	cancel(run.ErrInterrupted)
	e := <-ended
	if failed, ok := errors.AsType[*run.Error](e.err); !ok || failed.Exit != run.ExitInterrupted {
		t.Errorf("ended with %v", e.err)
	}
	if !errors.Is(e.err, run.ErrInterrupted) {
		t.Errorf("the cause is lost: %v", e.err)
	}
	stored, err := b.cache.Build(t.Context(), e.build.ID)
	if err != nil || stored.Exit != run.ExitInterrupted {
		t.Errorf("stored %+v, %v", stored, err)
	}
	b.states(map[string]artifacts.State{"good.a": "ran", "hang.b": "failed", "good.never": "blocked"}, steps(stored))
	if busy, _ := stored.Step("hang.b"); busy.Reason != event.Interrupted {
		t.Errorf("the reason of what was interrupted is %q", busy.Reason)
	}
	if !gone(t, b.read("pids")) {
		t.Errorf("left running: %q", b.read("pids"))
	}
	b.nothingLeft()
}

func TestAnInterruptAfterTheLastStageIsNone(t *testing.T) {
	b := newBench(t, kinds{"good": {"", hello}}, `stage "good" "a" {}`)
	ctx, cancel := context.WithCancelCause(t.Context())
	b.options.Adopter = afterwards{b.options.Adopter, func() { cancel(run.ErrInterrupted) }}
	made, err := b.build(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.states(map[string]artifacts.State{"good.a": "ran"}, steps(made))
}

func TestTheSecondInterruptEndsWorkersAtOnce(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"hang": {"", escape(dir) + `while :; do sleep 0.01; done`}}, `stage "hang" "b" {}`)
	kill := make(chan struct{})
	b.options.Grace, b.options.Kill = time.Hour, kill
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	p := b.makePlan()
	ended := make(chan error, 1)
	go func() { _, err := b.execute(ctx, p); ended <- err }()
	eventually(t, "the worker's start", func() bool { return strings.Count(b.read("pids"), "\n") == 2 })
	cancel(run.ErrInterrupted)
	close(kill)
	if err := <-ended; !errors.Is(err, run.ErrInterrupted) {
		t.Errorf("ended with %v", err)
	}
	if !gone(t, b.read("pids")) {
		t.Errorf("left running: %q", b.read("pids"))
	}
}

func TestASecretReachesTheWorkerAndNothingElse(t *testing.T) {
	const canary = "hf_C4n4ry/+secret=="
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"hub": {`
secret "token" {
  env = "HF_TOKEN"
  doc = "x"
}
metric "m" {
  unit = "1"
  doc = "x"
}
`, `test "$HF_TOKEN" = "$(cat ` + dir + `/token)" && echo yes >> ` + dir + `/ran
! grep -r "$HF_TOKEN" request.json supervisor.log handle.json || exit 1
echo "token $HF_TOKEN"; echo "header $(printf 'user:%s' "$HF_TOKEN" | base64)" >&2; env
printf '{"type":"log","time":1,"message":"with %s"}\n' "$HF_TOKEN" >> events.jsonl
printf '{"type":"problem","time":1,"message":"also %s","hint":"%s"}\n' "$HF_TOKEN" "$HF_TOKEN" >> events.jsonl
echo x > out/files/x
printf '{"protocol":1,"observed":{"a":"%s"},"labels":{"b":"%s"}}' "$HF_TOKEN" "$HF_TOKEN" > result.json
test -e ` + dir + `/fail && { echo "$HF_TOKEN" > "stray-$(printf %s "$HF_TOKEN" | tr / _)"; exit 14; }
exit 0
`}}, `stage "hub" "a" { token = secret("MY_TOKEN") }`)
	b.write("token", canary)
	b.options.Environ = append(os.Environ(), "MY_TOKEN="+canary)
	b.options.Clock = &instant{}
	got := b.ok()
	b.write("fail", "")
	b.force = []string{"hub.a"}
	b.fails(run.ExitStage)
	if !strings.HasPrefix(b.read("ran"), "yes\n") {
		t.Error("the worker did not get it")
	}
	for _, text := range []string{"token ***", "header dXNlcjp***", "with ***", "also *** (***)"} {
		if !strings.Contains(b.log(got["hub.a"]), text) {
			t.Errorf("%q is not in the log: %s", text, b.log(got["hub.a"]))
		}
	}
	inside := base64.StdEncoding.EncodeToString([]byte("user:" + canary))[10:20]
	b.searchCache(canary, "C4n4ry", inside)
	for _, s := range []string{"C4n4ry", inside} {
		if strings.Contains(b.seen.text(), s) {
			t.Errorf("an event holds %s: %s", s, b.seen.text())
		}
	}
}

func TestAMissingSecretIsADiagnostic(t *testing.T) {
	b := newBench(t, kinds{"hub": {`
secret "token" {
  env = "HF_TOKEN"
  doc = "x"
}
`, hello}, "make": {"", hello}}, `stage "hub" "a" { token = secret("NO_SUCH_TOKEN_HERE") }
stage "make" "b" {}`)
	b.fails(run.ExitRecipe, "r.hcl:1: Secret is not set", "NO_SUCH_TOKEN_HERE")
	if strings.Contains(b.seen.text(), string(event.Started)) {
		t.Errorf("something ran all the same: %s", b.seen.text())
	}
}

func TestTheEnvironmentOfAWorker(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"show": {"", `env > ` + dir + `/offline` + "\n" + hello}, "net": {"network = true\n", `env > ` + dir + `/online` + "\n" + hello}}, `
stage "show" "a" {}
stage "net" "b" {}
`)
	b.options.Environ = []string{"PATH=/usr/bin:/bin", "PIP_INDEX_URL=i", "https_proxy=p", "SECRET=s", "UV_CACHE_DIR=u",
		"HF_TOKEN=SECRET", "HF_ENDPOINT=e", "HF_XET_HIGH_PERFORMANCE=1", "HF_HUB_DISABLE_XET=1"}
	b.ok()
	offline, online := b.read("offline"), b.read("online")
	for _, want := range []string{"HF_HUB_OFFLINE=1", "PYTHONHASHSEED=0", "OMP_NUM_THREADS=1", "CUDA_VISIBLE_DEVICES=\n", "CUDA_DEVICE_ORDER=PCI_BUS_ID\n", "LANG=C.UTF-8"} {
		if !strings.Contains(offline, want) {
			t.Errorf("%q is not in %s", want, offline)
		}
	}
	for _, want := range []string{"PIP_INDEX_URL=i", "https_proxy=p", "UV_CACHE_DIR=u", "HF_ENDPOINT=e", "HF_XET_HIGH_PERFORMANCE=1", "HF_HUB_DISABLE_XET=1"} {
		if strings.Contains(offline, want) || !strings.Contains(online, want) {
			t.Errorf("%q: offline %s, online %s", want, offline, online)
		}
	}
	if strings.Contains(offline+online, "SECRET") || strings.Contains(online, "OFFLINE") {
		t.Errorf("offline %s, online %s", offline, online)
	}
}

func TestALostSupervisorCostsAnAttempt(t *testing.T) {
	dir := t.TempDir()
	script := `echo $$ >> ` + dir + `/pids; test $(wc -l < ` + dir + `/pids) -ge 2 || { kill -KILL $PPID; sleep 1000; }` + "\n" + hello
	b := benchAt(t, dir, kinds{"doom": {"", script}}, `stage "doom" "a" {}`)
	b.options.Clock = &instant{}
	got := b.ok()
	if rec := b.record(got["doom.a"]); rec.Observed["attempts"] != "2" {
		t.Errorf("observed %v", rec.Observed)
	}
	eventually(t, "the end of the first worker", func() bool { return gone(t, b.read("pids")) })
}
