package disk_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

// A worker that ends while it is asked after leaves its result first. The sweep must see that.
func TestSweepSeesAResultThatComesMeanwhile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "handle.json"), `{"pid":1,"start_time":"1"}`, 0o644)
	endsNow := func(int, string) bool {
		write(t, filepath.Join(dir, "exit.json"), "{}", 0o644)
		return false
	}
	if !disk.NeededBy(dir, endsNow) {
		t.Error("the result of a worker that has just ended would be removed")
	}
	must(t, os.Remove(filepath.Join(dir, "exit.json")))
	if disk.NeededBy(dir, func(int, string) bool { return false }) {
		t.Error("what a killed worker left would stay")
	}
}

// Builds begin and end all the time beside others that clean up: none finds its own scratch folder taken.
func TestSweepLeavesNewScratchFoldersAlone(t *testing.T) {
	dir := t.TempDir()
	sweeper := open(t, dir)
	before, err := os.ReadDir(filepath.Join(dir, "tmp"))
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	var sweeping, building sync.WaitGroup
	for range 4 {
		sweeping.Go(func() {
			for ctx.Err() == nil {
				if err := sweeper.SweepWork(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 4 {
		building.Go(func() {
			for j := range 50 {
				if err := beginAndEnd(t.Context(), dir, fmt.Sprint(i, " ", j)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	building.Wait()
	stop()
	sweeping.Wait()
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) > len(before) {
		t.Errorf("%v was left in tmp/, %v", left, err)
	}
}

func beginAndEnd(ctx context.Context, dir, text string) error {
	s, err := disk.Open(dir)
	if err != nil {
		return err
	}
	_, err = s.Set(ctx, "refs/"+fmt.Sprintf("%x", text), []byte(text), "")
	return errors.Join(err, s.Close())
}
