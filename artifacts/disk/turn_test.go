package disk_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

// A build gets its turn between two parts of a collection.
func TestHoldGetsATurnBetweenParts(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	must(t, os.MkdirAll(filepath.Join(dir, "keys"), 0o755))
	g, err := s.Collecting(t.Context())
	must(t, err)
	b, err := disk.Open(dir)
	must(t, err)
	defer b.Close()
	must(t, b.BeginBuild())
	var parts atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var collector sync.WaitGroup
	collector.Go(func() {
		for ctx.Err() == nil {
			_ = g.Still(ctx, func(map[artifacts.Digest]bool) error { // as long as 64 deletions take, or so
				for i := range 64 {
					p := filepath.Join(dir, "tmp", fmt.Sprint(i))
					_ = errors.Join(os.WriteFile(p, nil, 0o644), os.Remove(p))
				}
				return nil
			})
			parts.Add(1)
		}
	})
	worst := int64(0)
	for i := range 50 {
		before := parts.Load()
		must(t, b.Hold(t.Context(), artifacts.Sum([]byte(fmt.Sprint(i)))))
		worst = max(worst, parts.Load()-before)
	}
	cancel()
	collector.Wait()
	must(t, g.Close())
	if worst > 4 {
		t.Errorf("a build waited while %d parts were deleted", worst)
	}
}

// Two looks at once take each other for no build, and what is gone by then is not made anew.
func TestLooksMakeNothing(t *testing.T) {
	s := open(t, t.TempDir())
	running := filepath.Join(s.Dir(), "running")
	must(t, os.MkdirAll(running, 0o755), os.WriteFile(filepath.Join(running, "ended"), nil, 0o644))
	seen := make(chan int, 2)
	for range 2 {
		go func() {
			most := 0
			for range 2000 {
				look := s.Ground()
				if _, err := look.Held(t.Context()); err != nil {
					t.Error(err)
				}
				most = max(most, look.Builds())
			}
			seen <- most
		}()
	}
	if a, b := <-seen, <-seen; a+b > 0 {
		t.Errorf("looks saw %d builds, where none runs", max(a, b))
	}
}

// Half a line, of a disk that was full for a moment, does not spoil the next one.
func TestHoldAfterHalfALine(t *testing.T) {
	s := open(t, t.TempDir())
	other := open(t, s.Dir())
	must(t, other.BeginBuild())
	names, err := filepath.Glob(filepath.Join(s.Dir(), "running", "*"))
	must(t, err, os.WriteFile(names[0], []byte("abcdef"), 0o644))
	d := artifacts.Sum([]byte("x"))
	must(t, other.Hold(t.Context(), d))
	held, err := s.Ground().Held(t.Context())
	if must(t, err); !held[d] {
		t.Error("it is not held")
	}
}
