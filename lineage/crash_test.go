package lineage_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"syscall"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/lineage"
)

const (
	cacheVar = "TINFRA_TEST_CACHE"
	crashVar = "TINFRA_TEST_CRASH" // step:signal
)

// TestMain makes the test binary its own victim: with TINFRA_TEST_CACHE set it brings that cache's index up to date, and
// is struck at the step that TINFRA_TEST_CRASH names.
func TestMain(m *testing.M) {
	dir := os.Getenv(cacheVar)
	if dir == "" {
		os.Exit(m.Run())
	}
	var signal syscall.Signal
	var step string
	if n, _ := fmt.Sscanf(os.Getenv(crashVar), "%d %s", &signal, &step); n == 2 {
		artifacts.Crash = func(at string) {
			if at == step {
				_ = syscall.Kill(os.Getpid(), signal)
				select {} // the signal is on its way
			}
		}
	}
	if err := syncOnce(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func syncOnce(ctx context.Context, dir string) error {
	store, err := disk.Open(dir)
	if err != nil {
		return err
	}
	x, err := lineage.Open(ctx, dir+"/"+lineage.FileName)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	return errors.Join(x.Sync(ctx, artifacts.NewCache(store, store)), x.Close(), store.Close())
}

// syncer starts a process that brings the index up to date, and is killed at the step where there is one.
func syncer(t *testing.T, dir, step string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), cacheVar+"="+dir, "GORACE=atexit_sleep_ms=0")
	if step != "" {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d %s", crashVar, syscall.SIGKILL, step))
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// Invariant 9: killed at any step, the index says after the next Sync what one says that nobody disturbed. What is there
// before is nothing, an index of a part of the cache, or one that must be thrown away with a log beside it.
func TestKilledSync(t *testing.T) {
	for _, step := range artifacts.IndexSteps {
		for _, two := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s two %v", step, two), func(t *testing.T) {
				t.Parallel()
				w, store := onDisk(t)
				w.chain()
				w.must(syncOnce(t.Context(), store.Dir()))
				w.chain() // new names
				switch step {
				case artifacts.StepIndexMade:
					for _, suffix := range []string{"", "-wal", "-shm"} {
						_ = os.Remove(w.path + suffix)
					}
				case artifacts.StepIndexDropped:
					w.must(unfolded(w.path))
					w.must(os.WriteFile(w.path, []byte("rubbish"), 0o644))
				}
				killed := syncer(t, store.Dir(), step)
				if two {
					if err := syncer(t, store.Dir(), "").Wait(); err != nil {
						t.Errorf("the other one: %v", err)
					}
				}
				_ = killed.Wait() // how it ended is looked at
				status, ok := killed.ProcessState.Sys().(syscall.WaitStatus)
				// Of two, the other may have left nothing to do that leads to the step.
				if died := ok && status.Signal() == syscall.SIGKILL; !died && (!two || !status.Exited() || status.ExitStatus() != 0) {
					t.Fatalf("it did not die at %s: %v", step, killed.ProcessState)
				}
				got := everything(t, w.index())
				w.path = t.TempDir() + "/fresh"
				if want := everything(t, w.index()); !reflect.DeepEqual(got, want) {
					t.Errorf("the index says\n%v\nwant\n%v", got, want)
				}
			})
		}
	}
}

// unfolded leaves a log with something in it beside the index.
func unfolded(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path+"-wal", text, 0o644)
}
