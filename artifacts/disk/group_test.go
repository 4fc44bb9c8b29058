package disk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/artifacts/storetest"
)

// grouped is how many stages end at once in a role "group": one more, whose publication the others wait for.
const grouped = 3

const (
	attemptVar = "TINFRA_TEST_ATTEMPT"
	readVar    = "TINFRA_TEST_READ" // outputs are read into memory
)

// buildGroup is what buildOne does, for several stages that are published together. A workspace goes once its stage's names
// are durable, as it does in a build.
func buildGroup(ctx context.Context, s *disk.Store) error {
	if err := s.SweepWork(ctx); err != nil {
		return err
	}
	c := artifacts.NewCache(s, s)
	if _, err := c.PutManifest(ctx, &artifacts.Manifest{Type: "tinfra/worker"}); err != nil {
		return err
	}
	door := make(chan struct{})
	crash := artifacts.Crash
	var once sync.Once
	artifacts.Crash = func(step string) {
		if step == artifacts.StepRecord { // the first one holds the door until all others wait
			once.Do(func() {
				close(door)
				for storetest.Waiting() < grouped {
					runtime.Gosched()
				}
			})
		}
		if crash != nil {
			crash(step)
		}
	}
	errs := make([]error, grouped+1)
	var all, made sync.WaitGroup
	made.Add(len(errs))
	for i := range errs {
		all.Go(func() { errs[i] = groupOne(ctx, s, c, i, &made, door) })
	}
	all.Wait()
	return errors.Join(append(errs, s.Close())...)
}

// groupedAction is that of one stage of a group.
func groupedAction(i int) (artifacts.Part, artifacts.Key, error) {
	worker, err := (&artifacts.Manifest{Type: "tinfra/worker"}).Part()
	if err != nil {
		return artifacts.Part{}, artifacts.Key{}, err
	}
	return (&artifacts.Action{
		Format: artifacts.ActionFormat, Kind: "test", Params: json.RawMessage("{}"), Worker: worker.Digest,
		Outputs: map[string]string{"model": "files"}, Salt: strconv.Itoa(i),
	}).Part()
}

// groupOne makes an output, waits for the others to have made theirs, and publishes it.
func groupOne(ctx context.Context, s *disk.Store, c *artifacts.Cache, i int, made *sync.WaitGroup, door chan struct{}) error {
	action, key, err := groupedAction(i)
	if err != nil {
		return err
	}
	number, _ := strconv.Atoi(os.Getenv(attemptVar)) // each of two builds has workspaces of its own
	w, err := s.Workspace(key, max(1, number))
	if err != nil {
		return err
	}
	dir := filepath.Join(w.Dir, "out", "model")
	text := fmt.Sprint("output ", i, os.Getenv(textVar))
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "weights"), []byte(text), 0o644)); err != nil {
		return err
	}
	m, files, err := groupedOutput(ctx, s, dir)
	if err != nil {
		return err
	}
	out, err := m.Part()
	if err != nil {
		return err
	}
	made.Done()
	made.Wait()
	if i > 0 {
		<-door
	}
	log := artifacts.LogPart([]byte("log of " + text))
	at := time.Date(2026, 5, 6, 7, 8, i, 0, time.UTC)
	won, d, err := c.Publish(ctx, &artifacts.Record{
		Key: key, Outputs: map[string]artifacts.Digest{"model": out.Digest}, Log: log.Digest, Builder: "test", Started: at, Ended: at,
	}, append(files, out, action, log)...)
	if err != nil {
		return err
	}
	fmt.Println(won.Key, d)
	return w.Close()
}

// groupedOutput is moved into the store, or read into memory.
func groupedOutput(ctx context.Context, s *disk.Store, dir string) (*artifacts.Manifest, []artifacts.Part, error) {
	if os.Getenv(readVar) != "" {
		return readAsParts(ctx, s, dir)
	}
	m, err := s.AdoptTree(ctx, dir, "files", nil)
	return m, nil, err
}

// groupSteps are the steps that a group passes.
var groupSteps = []string{
	artifacts.StepPutWritten, artifacts.StepPutRenamed, artifacts.StepManifest, artifacts.StepAction, artifacts.StepRecord,
	artifacts.StepPointer, artifacts.StepRuns, artifacts.StepRecords, artifacts.StepKeys,
}

// Killed at any step of any stage of a group, it leaves no name that dangles, and no stage whose workspace is gone and whose
// key is not there. Run again, it leaves what an uninterrupted one does.
func TestAGroupIsKilledAtEachStep(t *testing.T) { killGroups(t, groupSteps) }

// The same where the outputs are in memory, and are stored with what names them.
func TestAGroupOfSmallOutputsIsKilledAtEachStep(t *testing.T) {
	killGroups(t, slices.Concat([]string{
		artifacts.StepAdoptTaken, artifacts.StepAdoptHashed, artifacts.StepAdoptNamed, artifacts.StepAdoptKept,
	}, groupSteps), readVar+"=1")
}

func killGroups(t *testing.T, steps []string, env ...string) {
	whole := t.TempDir()
	must(t, child(t, "group", whole, env...).Run())
	want := snapshot(t, whole)
	if p := problems(t, open(t, whole)); len(p) > 0 || len(keyFiles(t, whole)) != grouped+1 {
		t.Fatalf("%+v, %v", p, keyFiles(t, whole))
	}
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			for nth := 1; ; nth++ {
				top := t.TempDir()
				dir, again := filepath.Join(top, "cache"), filepath.Join(top, "again")
				if !killGroup(t, dir, fmt.Sprintf("%s:%d", step, nth), env...) {
					if nth == 1 {
						t.Error("it was never reached")
					}
					return
				}
				must(t, os.Rename(dir, again))
				must(t, child(t, "group", again, env...).Run())
				diff(t, snapshot(t, again), want)
			}
		})
	}
}

// killGroup is false where the step was not reached so many times.
func killGroup(t *testing.T, dir, at string, env ...string) bool {
	t.Helper()
	cmd := child(t, "group", dir, append(env, crashVar+"="+at)...)
	err := cmd.Run()
	if err == nil {
		return false
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("it did not die at %s: %v", at, err)
	}
	if p := problems(t, open(t, dir)); len(p) > 0 {
		t.Errorf("killed at %s: %+v", at, p)
	}
	for i := range grouped + 1 {
		_, key, err := groupedAction(i)
		must(t, err)
		_, unnamed := os.Lstat(filepath.Join(dir, "keys", key.Hex()))
		ws := filepath.Join(dir, "work", key.Hex(), "1")
		kept, err := filepath.Glob(filepath.Join(ws, "taken-*"))
		must(t, err)
		if len(env) > 0 { // then they stay where they are
			kept, err = filepath.Glob(filepath.Join(ws, "out", "model", "weights"))
			must(t, err)
		}
		// The first time may be that of the worker, before there is any stage; and while outputs are read, some are not made yet.
		early := strings.HasSuffix(at, ":1") || strings.HasPrefix(at, artifacts.StepAdoptTaken) || strings.HasPrefix(at, artifacts.StepAdoptHashed)
		if unnamed != nil && len(kept) == 0 && !early {
			t.Errorf("killed at %s: stage %d is lost", at, i)
		}
	}
	return true
}

// blobsOf is a batch for each.
func blobsOf(payloads []artifacts.Payload) []artifacts.Batch {
	var all []artifacts.Batch
	for _, p := range payloads {
		all = append(all, artifacts.Batch{Blobs: []artifacts.Payload{p}})
	}
	return all
}

func keyFiles(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "keys", "*"))
	must(t, err)
	return all
}

// What cannot be flushed fails the one stage whose it is; where a folder cannot be, all that have a name in it fail, and a
// name of the next level is not even tried.
func TestAFailingFlushFailsWhatNeedsIt(t *testing.T) {
	s := open(t, t.TempDir())
	torn := errors.New("input/output error")
	var payloads []artifacts.Payload
	for i := range 3 {
		payloads = append(payloads, artifacts.LogPart([]byte(strconv.Itoa(i))).Payload)
	}
	calls := 0
	s.FailSync(func(path string) error {
		if strings.Contains(path, "/tmp/") {
			if calls++; calls == 2 {
				return torn
			}
		}
		return nil
	})
	errs := s.StoreAll(t.Context(), blobsOf(payloads))
	if errs[0] != nil || !errors.Is(errs[1], torn) || errs[2] != nil {
		t.Errorf("%v", errs)
	}
	for i, p := range payloads {
		if _, err := s.Stat(t.Context(), p.Digest); (err == nil) != (i != 1) {
			t.Errorf("payload %d: %v", i, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(s.Dir(), "tmp", "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}

	s = open(t, t.TempDir())
	s.FailSync(func(path string) error {
		if strings.HasSuffix(path, "/records/2026-01-02") {
			return torn
		}
		return nil
	})
	d := payloads[0].Digest
	chain := func(day string) []artifacts.Change {
		return []artifacts.Change{
			{Name: "runs/" + d.Hex() + "/" + d.Hex(), Value: d.String()},
			{Name: "records/" + day + "/" + d.Hex(), Value: d.String()},
			{Name: "keys/" + artifacts.Sum([]byte(day)).Hex(), Value: d.String()},
		}
	}
	errs = s.StoreAll(t.Context(), []artifacts.Batch{{Names: chain("2026-01-01")}, {Names: chain("2026-01-02")}})
	if errs[0] != nil || !errors.Is(errs[1], torn) {
		t.Errorf("%v", errs)
	}
	if got := keyFiles(t, s.Dir()); len(got) != 1 || filepath.Base(got[0]) != artifacts.Sum([]byte("2026-01-01")).Hex() {
		t.Errorf("keys %v", got)
	}
}

// A chain that finds something else ends there, and no other does; what is there already is no conflict.
func TestChainsOfPointers(t *testing.T) {
	s := open(t, t.TempDir())
	ctx := t.Context()
	v, err := s.Set(ctx, "refs/b", []byte("old"), artifacts.Absent)
	must(t, err)
	_, err = s.Set(ctx, "refs/there", []byte("same"), artifacts.Absent)
	must(t, err)
	errs := s.StoreAll(ctx, []artifacts.Batch{
		{Names: []artifacts.Change{{Name: "refs/a", Value: "1"}, {Name: "refs/b", Value: "2"}, {Name: "refs/c", Value: "3"}}},
		{Names: []artifacts.Change{{Name: "refs/there", Value: "same"}, {Name: "refs/b", Value: "4", Old: v}}},
		{Names: []artifacts.Change{{Name: "../refs/d", Value: "5"}}},
	})
	if !errors.Is(errs[0], artifacts.ErrConflict) || errs[1] != nil || !errors.Is(errs[2], artifacts.ErrPath) {
		t.Errorf("%v", errs)
	}
	for name, want := range map[string]string{"refs/a": "1", "refs/b": "4", "refs/c": "", "refs/there": "same"} {
		if got, _, err := s.Get(ctx, name); string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(s.Dir(), "tmp", "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// Two builds that publish the same stages at once, in groups of their own, are told the same winners.
func TestGroupsOfTwoBuildsAtOnce(t *testing.T) {
	dir := t.TempDir()
	var outs [2]strings.Builder
	var cmds [2]*exec.Cmd
	for i := range cmds {
		cmds[i] = child(t, "group", dir, textVar+"="+strconv.Itoa(i), attemptVar+"="+strconv.Itoa(i+1))
		cmds[i].Stdout = &outs[i]
		must(t, cmds[i].Start())
	}
	for i := range cmds {
		must(t, cmds[i].Wait())
	}
	lines := [2][]string{}
	for i := range outs {
		lines[i] = strings.Split(strings.TrimSpace(outs[i].String()), "\n")
		slices.Sort(lines[i])
	}
	if !slices.Equal(lines[0], lines[1]) || len(lines[0]) != grouped+1 {
		t.Errorf("winners differ:\n%v\n%v", lines[0], lines[1])
	}
	if p := problems(t, open(t, dir)); len(p) > 0 {
		t.Errorf("%+v", p)
	}
}
