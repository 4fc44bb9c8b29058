package local

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// TestExitOfAnotherBoot: what a worker wrote before the machine lost its power is collected only where it was flushed before its
// end was noted; else the stage is made again.
func TestExitOfAnotherBoot(t *testing.T) {
	if bootID() == "" {
		t.Fatal("Linux gives each start of the machine an ID, and none was found")
	}
	ws := t.TempDir()
	x := New(Options{})
	h := start(t, x, shell(ws, "exit 4"))
	if h.Boot != bootID() {
		t.Fatalf("the handle is of boot %q", h.Boot)
	}
	wait(t, x, h)
	x.Close()
	ask := func(boot string, durable bool) (run.Exit, error) {
		t.Helper()
		path := filepath.Join(ws, run.ExitFile)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var e run.Exit
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		e.Durable = durable
		if text, err = json.Marshal(e); err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		old := h
		old.Boot = boot
		return New(Options{}).Wait(t.Context(), old)
	}
	for _, c := range []struct {
		boot          string
		durable, lost bool
	}{
		{bootID(), false, false}, {"another", true, false}, {"", false, false}, {"another", false, true},
	} {
		e, err := ask(c.boot, c.durable)
		if errors.Is(err, run.ErrLost) != c.lost || !c.lost && (err != nil || e.Code != 4) {
			t.Errorf("boot %q, durable %t: %+v, %v", c.boot, c.durable, e, err)
		}
	}
	if !flush(ws) {
		t.Error("the workspace cannot be flushed")
	}
}
