package env

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// TestSoakInstallOnAFullDisk: an environment for which there is no room is no environment, the error says what to do, and
// with more room the next build installs it.
func TestSoakInstallOnAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may mount a small disk")
	}
	sizes, soak := []int{2}, os.Getenv("TINFRA_SOAK") != ""
	if soak {
		sizes = sizes[:0]
		for k := 1; k <= 64; k++ {
			sizes = append(sizes, k)
		}
		sizes = append(sizes, 512)
	}
	failed, made := 0, 0
	for _, k := range sizes {
		if fills(t, k) {
			failed++
		} else {
			made++
		}
	}
	if failed == 0 || soak && made == 0 {
		t.Errorf("%d installations found no room, %d enough: both must occur", failed, made)
	}
}

// fills installs on a disk of so many times 64 KiB, and tells whether that was too small.
func fills(t *testing.T, size int) bool {
	cache := t.TempDir()
	if err := syscall.Mount("tmpfs", cache, "tmpfs", 0, fmt.Sprintf("size=%dk", size*64)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Unmount(cache, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	s := tiny(cache, false)
	ready, err := s.Install(t.Context(), "tiny", nil)
	if err == nil {
		works(t, ready.Python)
		return false
	}
	if !strings.Contains(err.Error(), "set TINFRA_CACHE and UV_CACHE_DIR to a larger one") {
		t.Errorf("%d x 64 KiB: %v", size, err)
	}
	blob, berr := s.Blob(t.Context(), "tiny")
	if berr != nil {
		t.Fatal(berr)
	}
	dir := filepath.Join(cache, "env", artifacts.Sum(blob).Hex())
	if _, serr := os.Lstat(dir); !errors.Is(serr, os.ErrNotExist) {
		t.Errorf("%d x 64 KiB: half an environment has its name: %v", size, serr)
	}
	if err := syscall.Mount("tmpfs", cache, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	python, _ := install(t, tiny(cache, false))
	works(t, python)
	onlyEnvironments(t, cache)
	return true
}
