package local

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// Whatever kills a supervisor, nothing of its worker's tree runs on beside the next attempt.
func TestNothingOutlivesALostSupervisor(t *testing.T) {
	ws := t.TempDir()
	x := New(Options{})
	job := shell(ws, `sleep 1000 & (setsid sleep 1000 &) ; touch ready; sleep 1000`)
	job.Env = append(job.Env, "TINFRA_WORKSPACE="+ws)
	h := start(t, x, job)
	eventually(t, "the worker", func() bool {
		_, err := os.Stat(filepath.Join(ws, "ready"))
		return err == nil && len(startedFor(ws)) >= 4
	})
	if err := unix.Kill(h.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Wait(t.Context(), h); !errors.Is(err, run.ErrLost) {
		t.Errorf("it ended with %v", err)
	}
	if left := startedFor(ws); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}
