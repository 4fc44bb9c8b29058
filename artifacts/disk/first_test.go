package disk_test

import (
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

// TestFirstOpenBesideAnother: whoever finds a cache that another process is just making takes it for a cache.
func TestFirstOpenBesideAnother(t *testing.T) {
	for round := range 300 {
		dir := filepath.Join(t.TempDir(), strconv.Itoa(round))
		start := make(chan struct{})
		var openers sync.WaitGroup
		for range 4 {
			openers.Go(func() {
				<-start
				s, err := disk.Open(dir)
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		openers.Wait()
	}
}
