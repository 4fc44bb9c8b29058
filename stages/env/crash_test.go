package env

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// victimVar makes this binary a process that installs the environment tiny, or removes it, and stops where it is told:
// "install env.filled". It says on stdout what it does, and that it stops.
const victimVar = "TINFRA_TEST_VICTIM"

func victim() int {
	what, step, _ := strings.Cut(os.Getenv(victimVar), " ")
	artifacts.Crash = func(at string) {
		if at == step {
			fmt.Println("stands at " + step)
			select {}
		}
	}
	s := tiny(os.Getenv("TINFRA_TEST_CACHE"), false)
	var err error
	if what == "install" {
		_, err = s.Install(context.Background(), "tiny", func(line string) { fmt.Println(line) })
	} else {
		_, err = s.Remove(context.Background(), "tiny")
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("done")
	return 0
}

// begin starts a victim and returns when it has said one of the words.
func begin(t *testing.T, cache, what string, words ...string) *exec.Cmd {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimVar+"="+what, "TINFRA_TEST_CACHE="+cache, "GORACE=atexit_sleep_ms=0")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	patience := time.After(2 * time.Minute)
	for {
		said, err := os.ReadFile(out.Name())
		for _, word := range words {
			if strings.Contains(string(said), word) {
				return cmd
			}
		}
		select {
		case <-tick.C:
		case <-patience:
			t.Fatalf("%s says %q, not one of %q (%v)", what, said, words, err)
		}
	}
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait() // it was killed
}

// damaged puts a folder in the environment's place that is none.
func damaged(t *testing.T, cache string) (dir string) {
	t.Helper()
	blob, err := tiny(cache, true).Blob(t.Context(), "tiny")
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(cache, "env", artifacts.Sum(blob).Hex())
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "bin"), 0o755), os.WriteFile(filepath.Join(dir, "rubbish"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Killed at any step, an installation is taken up by the next one, or by one that waits already: one sound environment,
// nothing beside it, nothing of the damaged one that was in its place.
func TestSoakInstallKilledAtEachStep(t *testing.T) {
	for _, step := range artifacts.EnvSteps {
		for _, two := range []bool{true, false} {
			if !two && os.Getenv("TINFRA_SOAK") == "" {
				continue // that the next one goes on is a part of it
			}
			t.Run(fmt.Sprintf("%s two %v", step, two), func(t *testing.T) {
				t.Parallel()
				cache := t.TempDir()
				dir := damaged(t, cache)
				first := begin(t, cache, "install "+step, "stands at "+step)
				if two {
					second := begin(t, cache, "install", "waiting for it", "done")
					kill(first)
					if err := second.Wait(); err != nil {
						t.Errorf("the other installer: %v", err)
					}
				} else {
					kill(first)
					install(t, tiny(cache, false))
				}
				works(t, pythonIn(dir))
				onlyEnvironments(t, cache)
				if _, err := os.Lstat(filepath.Join(dir, "rubbish")); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("the damaged one is still there: %v", err)
				}
			})
		}
	}
}

// A removal that was killed had taken the name away: whoever installs or removes anything finishes it.
func TestRemovalKilled(t *testing.T) {
	cache := t.TempDir()
	damaged(t, cache)
	if err := writeMarker(damaged(t, cache), marker{Name: "tiny"}); err != nil {
		t.Fatal(err)
	}
	kill(begin(t, cache, "remove "+artifacts.StepEnvDropped, "stands at"))
	if left, _ := filepath.Glob(filepath.Join(cache, "env", asidePrefix+"*")); len(left) != 1 {
		t.Fatalf("%q was left aside", left)
	}
	if _, err := tiny(cache, false).Remove(t.Context(), "another"); err == nil {
		t.Error("removed something that is not there")
	}
	onlyEnvironments(t, cache)
}

// Who removes an environment beside a build that was given it, but has no worker in it yet, is told that it is in use.
func TestRemoveBesideABuildThatIsAboutToUseIt(t *testing.T) {
	cache := t.TempDir()
	build := tiny(cache, false)
	python, _ := install(t, build)
	if _, err := tiny(cache, false).Remove(t.Context(), "tiny"); !errors.Is(err, ErrInUse) {
		t.Errorf("Remove = %v", err)
	}
	works(t, python)
	list, err := build.List(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	build.letGo(list[0].Digest)
	if gone, err := tiny(cache, false).Remove(t.Context(), "tiny"); err != nil || len(gone) != 1 {
		t.Errorf("Remove = %+v, %v", gone, err)
	}
	onlyEnvironments(t, cache)
}

// A tinfra that dies while it brings uv leaves nothing for ever either.
func TestToolThatWasNotFinishedIsRemoved(t *testing.T) {
	cache := t.TempDir()
	pin := uvPin().FindSubmatch(mustRead(t, uvLock))
	tools := filepath.Join(cache, "tools", "uv-"+string(pin[1]))
	if err := os.MkdirAll(filepath.Join(tools, toolPrefix+"left", "venv"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := NewSet(os.DirFS("."), cache, false)
	python, err := s.python(t.Context(), []string{"3.11", "3.12", "3.13", "3.14"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir()) // without uv
	if _, err := s.uv(t.Context(), python, func(string) {}); err != nil {
		t.Fatal(err)
	}
	if list, err := os.ReadDir(tools); err != nil || len(list) != 1 || list[0].Name() != "uv" {
		t.Errorf("%s holds %v, %v", tools, list, err)
	}
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
