package run_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// orphan starts the build in another process, kills it once its worker runs, and gives the workspace.
func (b *bench) orphan() string {
	b.t.Helper()
	cmd := b.startDoomed("")
	eventually(b.t, "the worker's start", func() bool { return b.read("ran") != "" })
	if err := cmd.Process.Kill(); err != nil {
		b.t.Fatal(err)
	}
	b.killed(cmd)
	left, err := filepath.Glob(filepath.Join(b.store.Dir(), "work", "*", "*", run.HandleFile))
	if err != nil || len(left) != 1 {
		b.t.Fatal(left, err)
	}
	return filepath.Dir(left[0])
}

func (b *bench) awaitExit(ws string) {
	b.t.Helper()
	eventually(b.t, "the worker's end", func() bool {
		_, err := os.Stat(filepath.Join(ws, run.ExitFile))
		return err == nil
	})
}

// A machine that shuts down tells every process to end, and a command may take that for a good end.
func TestWhatAWorkerLeftThatWasToldToEndIsNotCollected(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"exec": {`native = true
param "command" {
  type = list(string)
  doc = "x"
}
`, ""}}, `stage "exec" "a" {
  command = ["sh", "-c", "trap 'exit 0' TERM; echo half > out/files/x; echo ran >> `+dir+`/ran; while ! [ -e `+dir+`/go ]; do sleep 0.01; done; echo whole > out/files/x"]
}`)
	ws := b.orphan()
	text, err := os.ReadFile(filepath.Join(ws, run.HandleFile))
	if err != nil {
		t.Fatal(err)
	}
	var h run.Handle
	if err := errors.Join(json.Unmarshal(text, &h), unix.Kill(h.PID, unix.SIGTERM)); err != nil {
		t.Fatal(err)
	}
	b.awaitExit(ws)
	b.write("go", "")
	m, err := b.cache.Manifest(t.Context(), b.record(b.ok()["exec.a"]).Outputs["files"])
	if err != nil {
		t.Fatal(err)
	}
	if x, err := b.cache.GetBytes(t.Context(), m.Files[0].Digest); string(x) != "whole\n" {
		t.Errorf("published %q, %v", x, err)
	}
}

func TestARecordSaysWhenTheWorkerEndedNotWhenItWasCollected(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, kinds{"slow": slow(dir)}, `stage "slow" "a" {}`)
	ws := b.orphan()
	b.write("go", "")
	b.awaitExit(ws)
	ended := time.Now().Add(-time.Hour).Truncate(time.Second)
	for name, at := range map[string]time.Time{run.HandleFile: ended.Add(-time.Minute), run.ExitFile: ended} {
		if err := os.Chtimes(filepath.Join(ws, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if rec := b.record(b.ok()["slow.a"]); !rec.Ended.Equal(ended) || rec.Ended.Sub(rec.Started) != time.Minute {
		t.Errorf("started %v, ended %v; the worker ended %v", rec.Started, rec.Ended, ended.UTC())
	}
}

func TestWhatEndsAWorkerFromOutsideDoesNotPassForSuccess(t *testing.T) {
	b := newBench(t, kinds{"good": {"", `trap 'exit 0' TERM
echo half > out/files/x
` + done + `
kill -TERM $PPID
while :; do sleep 0.01; done
`}}, `stage "good" "a" {}`)
	got := b.fails(run.ExitStage, "something outside of this build told it to end")
	b.noRecord(got["good.a"].Key)
}

// fullDisk has no room for pointers of some folders.
type fullDisk struct {
	artifacts.Pointers
	folder string
}

func (f fullDisk) Set(ctx context.Context, name string, val []byte, old artifacts.Version) (artifacts.Version, error) {
	if strings.HasPrefix(name, f.folder) {
		return artifacts.Absent, unix.ENOSPC
	}
	return f.Pointers.Set(ctx, name, val, old)
}

func TestAResultThatCouldNotBePublishedIsTakenUp(t *testing.T) {
	for _, folder := range []string{"runs/", "records/", "keys/"} {
		t.Run(strings.TrimSuffix(folder, "/"), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			b := benchAt(t, dir, kinds{"good": {"", `echo ran >> ` + dir + `/ran` + "\n" + hello}}, `stage "good" "a" {}`)
			b.options.Cache = artifacts.NewCache(b.store, fullDisk{b.store, folder})
			made, err := b.execute(t.Context(), b.makePlan())
			if made.Exit != run.ExitCache || !strings.Contains(b.seen.text(), "the next build takes it up") {
				t.Errorf("exit %d, %v; said %s", made.Exit, err, b.seen.text())
			}
			b.options.Cache = b.cache
			b.states(map[string]artifacts.State{"good.a": "ran"}, b.ok())
			if b.read("ran") != "ran\n" {
				t.Errorf("ran %q", b.read("ran"))
			}
		})
	}
}

// noLock cannot be written.
type noLock struct{ lockFile }

func (*noLock) Add(context.Context, *recipe.Source) error { return unix.EROFS }

func TestADownloadWhoseLockCouldNotBeWrittenIsTakenUp(t *testing.T) {
	dir := t.TempDir()
	b := benchAt(t, dir, fetching(dir), fetchRecipe)
	b.write("remote", "bytes")
	b.options.Lock = &noLock{}
	if made, err := b.execute(t.Context(), b.makePlan()); made.Exit != run.ExitStage {
		t.Errorf("exit %d, %v", made.Exit, err)
	}
	lock := &lockFile{entries: map[string]*recipe.Source{}}
	b.options.Lock = lock
	b.ok()
	if b.read("ran") != "ran\n" || len(lock.entries) != 1 {
		t.Errorf("ran %q, locked %v", b.read("ran"), lock.entries)
	}
}

// closedWorkspaces may not be opened.
type closedWorkspaces struct {
	workspaces
	t *testing.T
}

func (c closedWorkspaces) Workspace(key artifacts.Key, attempt int) (run.Workspace, error) {
	c.t.Error("it waits for another build's workspace")
	return c.workspaces.Workspace(key, attempt)
}

func TestAHitDoesNotWaitForABuildThatMakesItAgain(t *testing.T) {
	b := newBench(t, kinds{"good": {"", hello}}, `stage "good" "a" {}`)
	key := b.ok()["good.a"].Key
	release, err := b.store.Lease(t.Context(), key, []byte("forced"), nil)
	if err != nil {
		t.Fatal(err)
	}
	ws, err := b.store.Workspace(key, 1)
	if err != nil {
		t.Fatal(err)
	}
	open := b.options.Workspaces
	b.options.Workspaces = closedWorkspaces{workspaces{b.store}, t}
	if made, err := b.execute(t.Context(), b.makePlan()); err != nil || made.Steps[0].State != artifacts.Hit {
		t.Errorf("%+v, %v", made.Steps, err)
	}

	// It is tidied up once nobody is there.
	if err := errors.Join(ws.Release(), release()); err != nil {
		t.Fatal(err)
	}
	b.options.Workspaces = open
	b.ok()
}

// The action of a hit is stored again where the cache has lost it: the plan knows it.
func TestAHitStoresItsLostAction(t *testing.T) {
	b := newBench(t, kinds{"good": {"", hello}}, `stage "good" "a" {}`)
	key := b.ok()["good.a"].Key
	if err := b.store.Delete(t.Context(), artifacts.BlobsFolder+key.Hex()); err != nil {
		t.Fatal(err)
	}
	if again := b.ok()["good.a"]; again.State != artifacts.Hit {
		t.Fatalf("step %+v", again)
	}
	if _, err := artifacts.NewCache(b.store, b.store).Action(t.Context(), key); err != nil {
		t.Error(err)
	}
}
