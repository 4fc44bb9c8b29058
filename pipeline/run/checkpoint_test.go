package run_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// folderOf reads the request's checkpoint, or fails; a run notes in <dir>/saw what it found in there.
const folderOf = `
at=$(sed -n 's/.*"checkpoint":"\([^"]*\)".*/\1/p' request.json)
test -d "$at" || { echo "no folder: $at" >&2; exit 9; }
`

// layered is a worker of two layers, each a piece. It dies between them as long as <dir>/die has a line left: as that
// line says.
func layered(dir string) kind {
	return kind{"", folderOf + `
echo "saw:$(ls "$at" | tr '\n' ' ')" >> ` + dir + `/saw
if [ -e "$at/layer-0" ]; then cp "$at/layer-0" tmp/layer-0; else
  echo zero > tmp/layer-0; echo made >> ` + dir + `/made
  mkdir "$at/.part"; cp tmp/layer-0 "$at/.part/x"; mv "$at/.part/x" "$at/layer-0"
fi
if [ -s ` + dir + `/die ]; then
  how=$(head -n 1 ` + dir + `/die); sed -i 1d ` + dir + `/die
  eval "$how"
fi
cat tmp/layer-0 > out/files/greeting
` + done}
}

func (b *bench) kept() []string {
	b.t.Helper()
	all, err := filepath.Glob(filepath.Join(b.store.Dir(), "checkpoints", "*", "*", "[^.]*"))
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// resumes checks a stage that was made of what an earlier attempt had kept.
func (b *bench) resumes(s artifacts.Step, want string) {
	b.t.Helper()
	rec := b.record(s)
	if rec.Observed["resumed"] != want {
		b.t.Errorf("observed %v; want resumed %q", rec.Observed, want)
	}
	m, err := b.cache.Manifest(b.t.Context(), rec.Outputs["files"])
	if err != nil {
		b.t.Fatal(err)
	}
	if text, err := b.cache.GetBytes(b.t.Context(), m.Files[0].Digest); err != nil || string(text) != "zero\n" {
		b.t.Errorf("made %q, %v", text, err)
	}
	if left, err := os.ReadDir(filepath.Join(b.store.Dir(), "checkpoints")); err != nil || len(left) > 0 {
		b.t.Errorf("%d folders are left, %v", len(left), err)
	}
}

func TestARetryGetsWhatWasKept(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"deep": layered(dir)}, `stage "deep" "a" {}`)
	b.options.Clock = &instant{}
	b.write("die", "exit 14\nexit 14\n")
	got := b.ok()
	b.resumes(got["deep.a"], "true")
	if saw := b.read("saw"); saw != "saw:\nsaw:layer-0 \nsaw:layer-0 \n" || b.read("made") != "made\n" {
		t.Errorf("attempts found %q and made %q", saw, b.read("made"))
	}
	if !strings.Contains(b.log(got["deep.a"]), "goes on from what an earlier attempt finished") {
		t.Errorf("log %s", b.log(got["deep.a"]))
	}
	key := got["deep.a"].Key
	// Nothing of it is in the key, and a stage that needs none has none.
	b.force = []string{"deep.a"}
	if again := b.ok()["deep.a"]; again.Key != key {
		t.Errorf("key %v, was %v", again.Key, key)
	}
	if b.read("made") != "made\nmade\n" {
		t.Errorf("made %q", b.read("made"))
	}
}

func TestALaterBuildGetsWhatWasKept(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"deep": layered(dir)}, `stage "deep" "a" {}`)
	b.write("die", "exit 5\nkill -KILL $$\n")
	for _, says := range []string{"exit code 5", "SIGKILL"} {
		got := b.fails(run.ExitStage, says)
		b.noRecord(got["deep.a"].Key)
		if len(b.kept()) != 1 {
			t.Errorf("kept %v", b.kept())
		}
		if err := b.store.SweepWork(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.resumes(b.ok()["deep.a"], "true")
	if b.read("made") != "made\n" {
		t.Errorf("made %q", b.read("made"))
	}
}

func TestAForcedBuildBeginsAnew(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"deep": layered(dir)}, `stage "deep" "a" {}`)
	b.options.Clock = &instant{}
	b.write("die", "exit 5\nexit 14\n")
	b.fails(run.ExitStage, "exit code 5")
	b.force = []string{"deep.a"}
	b.resumes(b.ok()["deep.a"], "true") // a retry within the build goes on
	if saw := b.read("saw"); saw != "saw:\nsaw:\nsaw:layer-0 \n" {
		t.Errorf("attempts found %q", saw)
	}
}

func TestAKilledBuildsPiecesAreNotLost(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"deep": layered(dir)}, `stage "deep" "a" {}`)
	b.write("die", `while ! [ -e `+dir+`/go ]; do sleep 0.01; done; kill -KILL $$`+"\n")
	cmd := b.startDoomed("")
	eventually(t, "the first piece", func() bool { return b.read("made") != "" && len(b.kept()) > 0 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.killed(cmd)
	b.write("go", "")
	eventually(t, "the worker's end", func() bool {
		ends, err := filepath.Glob(filepath.Join(b.store.Dir(), "work", "*", "*", "exit.json"))
		return err == nil && len(ends) == 1
	})
	b.resumes(b.ok()["deep.a"], "true")
	if saw := b.read("saw"); saw != "saw:\nsaw:layer-0 \n" || b.read("made") != "made\n" {
		t.Errorf("attempts found %q and made %q", saw, b.read("made"))
	}
}

// A worker that was handed something says so in its record, also when another build collects its result.
func TestAReattachedWorkerThatResumed(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"deep": layered(dir)}, `stage "deep" "a" {}`)
	b.write("die", "exit 5\n"+`while ! [ -e `+dir+`/go ]; do sleep 0.01; done`+"\n")
	b.fails(run.ExitStage, "exit code 5")
	cmd := b.startDoomed("")
	eventually(t, "the second attempt", func() bool { return strings.Count(b.read("saw"), "saw:") == 2 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.killed(cmd)
	if err := b.store.SweepWork(t.Context()); err != nil { // of a build of something else
		t.Fatal(err)
	}
	b.write("go", "")
	got := b.ok()
	b.resumes(got["deep.a"], "true")
	if rec := b.record(got["deep.a"]); rec.Observed["reattached"] != "true" {
		t.Errorf("observed %v", rec.Observed)
	}
}

func TestPiecesOfABuildThatDiedWhilePublishingAreSwept(t *testing.T) {
	for _, step := range []string{artifacts.StepAction, artifacts.StepKeys, artifacts.StepBuilds} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			b := benchAt(t, dir, kinds{"deep": layered(dir)}, `stage "deep" "a" {}`)
			b.killed(b.startDoomed(step))
			got := b.ok()
			if err := b.store.SweepWork(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.resumes(got["deep.a"], "")
			if b.read("made") != "made\n" {
				t.Errorf("made %q", b.read("made"))
			}
		})
	}
}

func TestOnlyTheCoreSaysResumed(t *testing.T) {
	b := newBench(t, kinds{"liar": {"", `echo zero > out/files/greeting
echo '{"protocol":1,"observed":{"resumed":"yes"}}' > tmp/r; mv tmp/r result.json
`}}, `stage "liar" "a" {}`)
	b.resumes(b.ok()["liar.a"], "")
}

// Gigabytes come before a download has a key: what came must not be lost with the attempt.
func TestAnUnlockedDownloadKeepsToo(t *testing.T) {
	dir := t.TempDir()
	ks := fetching(dir)
	fetch := ks["fetch"]
	ks["fetch"] = kind{fetch.head, folderOf + `
echo "saw:$(ls "$at" | tr '\n' ' ')" >> ` + dir + `/saw
if ! [ -e "$at/half" ]; then echo half > "$at/half"; exit 5; fi
` + fetch.worker}
	b := benchAt(t, dir, ks, fetchRecipe)
	lock := &lockFile{entries: map[string]*recipe.Source{}}
	b.options.Lock = lock
	b.write("remote", "bytes")
	b.fails(run.ExitStage, "exit code 5")
	if err := b.store.SweepWork(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := b.ok()
	if rec := b.record(got["fetch.a"]); rec.Observed["resumed"] != "true" || b.read("saw") != "saw:\nsaw:half \n" {
		t.Errorf("observed %v, attempts found %q", rec.Observed, b.read("saw"))
	}
	if len(b.kept()) != 0 {
		t.Errorf("kept %v", b.kept())
	}
	if err := recipe.WriteLock(&recipe.Lock{Path: recipe.LockPath(b.path("r.hcl")), Sources: lock.entries}); err != nil {
		t.Fatal(err)
	}
	b.force = []string{"fetch.a"}
	b.fails(run.ExitStage, "exit code 5") // locked, it has a key, and begins anew
}

// What another build has locked meanwhile is fetched under its key: nobody comes back for what was kept without one.
func TestPiecesOfADownloadThatIsLockedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	ks := fetching(dir)
	fetch := ks["fetch"]
	ks["fetch"] = kind{fetch.head, folderOf + `
if ! [ -e ` + dir + `/go ]; then echo half > "$at/half"; exit 5; fi
` + fetch.worker}
	b := benchAt(t, dir, ks, fetchRecipe)
	lock := &lockFile{entries: map[string]*recipe.Source{}}
	b.options.Lock = lock
	b.write("remote", "bytes")
	b.fails(run.ExitStage, "exit code 5")
	if len(b.kept()) != 1 {
		t.Fatalf("kept %v", b.kept())
	}
	sum := sha256.Sum256([]byte("bytes"))
	source := "https://example.org/data"
	lock.entries[source] = &recipe.Source{
		Source: source, Files: []recipe.Pin{{Path: "data", SHA256: hex.EncodeToString(sum[:]), Size: 5}},
	}
	b.write("go", "")
	leased := &noting{Leaser: b.store}
	b.options.Leaser = leased
	got := b.ok()
	if len(b.kept()) != 0 {
		t.Errorf("kept %v", b.kept())
	}
	if !slices.Contains(leased.keys, got["fetch.a"].Key) {
		t.Errorf("leases were taken of %v: another build may fetch %s at the same time", leased.keys, got["fetch.a"].Key)
	}
}

// noting remembers the keys whose leases were had.
type noting struct {
	run.Leaser
	mu   sync.Mutex
	keys []artifacts.Key
}

func (n *noting) Lease(ctx context.Context, key artifacts.Key, holder []byte, waiting func([]byte)) (func() error, error) {
	release, err := n.Leaser.Lease(ctx, key, holder, waiting)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keys = append(n.keys, key)
	return release, err
}

// brokenCheckpoints is a disk on which none can be kept.
type brokenCheckpoints struct{ run.Checkpoints }

func (brokenCheckpoints) Checkpoint(artifacts.Key, int) (string, bool, error) {
	return "", false, errors.New("no folder today")
}

func TestAStageDoesNotFailForWantOfCheckpoints(t *testing.T) {
	b := newBench(t, kinds{"good": {"", `grep checkpoint request.json && exit 9` + "\n" + hello}}, `stage "good" "a" {}`)
	b.options.Checkpoints = brokenCheckpoints{b.store}
	b.ok()
	all, _ := b.seen.all()
	said := false
	for _, e := range all {
		said = said || strings.Contains(e.Message, "no folder today")
	}
	if !said {
		t.Errorf("nobody said why: %s", b.seen.text())
	}
}

func TestAPieceOfAWorkerInPython(t *testing.T) {
	b := newBench(t, kinds{"deep": {"env = \"python\"\n" + filesOut, `
from tinfra_worker import Job, Transient, run

def main(job: Job) -> None:
    piece = job.restored("layer-0")
    if piece is None:
        weights = job.workspace / "tmp" / "w"
        weights.write_text("zero\n")
        job.checkpoint("layer-0", [weights])
        raise Transient("the power is gone")
    (job.output("files") / "greeting").write_text((piece / "w").read_text())

if __name__ == "__main__":
    run(main)
`}}, `stage "deep" "a" {}`)
	b.options.Clock = &instant{}
	got := b.ok()
	b.resumes(got["deep.a"], "true")
	if rec := b.record(got["deep.a"]); rec.Observed["restored"] != "layer-0" || rec.Observed["attempts"] != "2" {
		t.Errorf("observed %v", rec.Observed)
	}
}
