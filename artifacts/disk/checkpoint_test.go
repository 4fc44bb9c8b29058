package disk_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

// checkpoint opens one that must be handed something, or nothing.
func checkpoint(t *testing.T, s *disk.Store, attempt int, want bool) string {
	t.Helper()
	dir, resumed, err := s.Checkpoint(testKey, attempt)
	must(t, err)
	if resumed != want {
		t.Errorf("attempt %d: resumed %v, want %v", attempt, resumed, want)
	}
	if want := filepath.Join(s.Dir(), "checkpoints", testKey.Hex(), filepath.Base(dir)); dir != want {
		t.Errorf("attempt %d has %s, want %s", attempt, dir, want)
	}
	return dir
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var all []string
	for _, e := range list {
		all = append(all, e.Name())
	}
	return all
}

func TestCheckpointIsHandedOn(t *testing.T) {
	s := open(t, t.TempDir())
	first := checkpoint(t, s, 1, false)
	write(t, filepath.Join(first, "layer-0", "w"), "weights", 0o444)
	must(t, os.Chmod(filepath.Join(first, "layer-0"), 0o555))
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(first, "layer-0"), 0o755) })
	write(t, filepath.Join(first, ".layer-1.part", "w"), "weig", 0o644)
	if got, err := s.Checkpointed(testKey); err != nil || !slices.Equal(got, []int{1}) {
		t.Errorf("Checkpointed = %v, %v", got, err)
	}

	second := checkpoint(t, s, 2, true)
	if b, err := os.ReadFile(filepath.Join(second, "layer-0", "w")); err != nil || string(b) != "weights" {
		t.Errorf("handed %q, %v", b, err)
	}
	if got := names(t, second); !slices.Equal(got, []string{"layer-0"}) {
		t.Errorf("attempt 2 was handed %v: a half piece among them?", got)
	}
	// What the first attempt's stragglers still write is not seen by the second.
	write(t, filepath.Join(first, "layer-0", "w"), "other", 0o644)
	third := checkpoint(t, open(t, s.Dir()), 3, true)
	if b, err := os.ReadFile(filepath.Join(third, "layer-0", "w")); err != nil || string(b) != "weights" {
		t.Errorf("handed %q, %v", b, err)
	}
	if got := names(t, filepath.Dir(third)); !slices.Equal(got, []string{"3"}) {
		t.Errorf("left: %v", got)
	}

	must(t, os.Chmod(filepath.Join(third, "layer-0"), 0o555), s.DropCheckpoints(testKey), s.DropCheckpoints(testKey))
	if got := names(t, filepath.Join(s.Dir(), "checkpoints")); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
}

func TestCheckpointOfAnAttemptThatFinishedNothing(t *testing.T) {
	s := open(t, t.TempDir())
	first := checkpoint(t, s, 1, false)
	write(t, filepath.Join(first, ".half.part"), "x", 0o644)
	if got, err := s.Checkpointed(testKey); err != nil || len(got) > 0 {
		t.Errorf("Checkpointed = %v, %v", got, err)
	}
	if again := checkpoint(t, s, 1, false); again != first || len(names(t, again)) > 0 {
		t.Errorf("%s holds %v", again, names(t, again))
	}
	checkpoint(t, s, 2, false)
	must(t, s.SweepWork(t.Context()))
	if got := names(t, filepath.Join(s.Dir(), "checkpoints")); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
}

// A build that lost its lease may go on in its workspace, and with what it has kept.
func TestCheckpointInUseIsLeftAlone(t *testing.T) {
	s := open(t, t.TempDir())
	other, err := s.Workspace(testKey, 1)
	must(t, err)
	theirs := checkpoint(t, s, 1, false)
	write(t, filepath.Join(theirs, "layer-0"), "x", 0o644)
	mine, err := s.Workspace(testKey, 2)
	must(t, err)
	checkpoint(t, s, 2, false)
	if got := names(t, theirs); len(got) != 1 {
		t.Errorf("the other's folder holds %v", got)
	}
	must(t, other.Close(), mine.Close())
	checkpoint(t, s, 3, true)
}

func TestCheckpointIsNeverALinkElsewhere(t *testing.T) {
	s := open(t, t.TempDir())
	away := filepath.Join(t.TempDir(), "away")
	write(t, filepath.Join(away, "precious"), "x", 0o644)
	first := checkpoint(t, s, 1, false)
	must(t, os.Remove(first), os.Symlink(away, first))
	checkpoint(t, s, 2, false)
	must(t, os.RemoveAll(filepath.Dir(first)), os.Mkdir(filepath.Dir(first), 0o755), os.Symlink(away, filepath.Join(filepath.Dir(first), "2")))
	if got := names(t, checkpoint(t, s, 2, false)); len(got) > 0 {
		t.Errorf("handed %v", got)
	}
	write(t, filepath.Join(filepath.Dir(first), "2", "rubbish"), "x", 0o644)
	must(t, os.Symlink(away, filepath.Join(filepath.Dir(first), "2", ".link")))
	checkpoint(t, s, 3, true)
	must(t, s.DropCheckpoints(testKey))
	if got := names(t, away); !slices.Equal(got, []string{"precious"}) {
		t.Errorf("away holds %v", got)
	}
}

func TestSweepOfCheckpoints(t *testing.T) {
	s := open(t, t.TempDir())
	key := func(name string) artifacts.Key { return artifacts.Key(artifacts.Sum([]byte(name))) }
	stays := map[string]bool{"never made": true, "made": false, "made, a build works on it": true, "made, a worker is there": true}
	for name := range stays {
		dir, _, err := s.Checkpoint(key(name), 1)
		must(t, err)
		write(t, filepath.Join(dir, "layer-0"), "x", 0o644)
		if name != "never made" {
			_, err := s.Set(t.Context(), "keys/"+key(name).Hex(), []byte(artifacts.Sum(nil).String()), artifacts.Absent)
			must(t, err)
		}
	}
	release, err := s.Lease(t.Context(), key("made, a build works on it"), []byte("me"), nil)
	must(t, err)
	ws, err := s.Workspace(key("made, a worker is there"), 1)
	must(t, err)
	must(t, open(t, s.Dir()).SweepWork(t.Context()))
	for name, want := range stays {
		if got := names(t, filepath.Join(s.Dir(), "checkpoints", key(name).Hex(), "1")); (len(got) == 1) != want {
			t.Errorf("%s: holds %v; stays: want %v", name, got, want)
		}
	}
	must(t, release(), ws.Close(), open(t, s.Dir()).SweepWork(t.Context()))
	if got := names(t, filepath.Join(s.Dir(), "checkpoints")); !slices.Equal(got, []string{key("never made").Hex()}) {
		t.Errorf("left: %v", got)
	}
	if got := names(t, filepath.Join(s.Dir(), "leases")); len(got) > 0 {
		t.Errorf("leases: %v", got)
	}
}
