package disk_test

import (
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/artifacts/storetest"
)

func open(t testing.TB, dir string) *disk.Store {
	t.Helper()
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Place { return open(t, t.TempDir()) })
}
