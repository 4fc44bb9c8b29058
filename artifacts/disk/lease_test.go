package disk_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

// holdLease takes two leases, says so, and keeps them until it is killed or its input ends.
func holdLease(ctx context.Context, s *disk.Store) error {
	release, err := s.Lease(ctx, testKey, []byte("pid of the child"), nil)
	if err != nil {
		return err
	}
	second, err := s.Lease(ctx, otherKey, []byte("pid of the child"), nil)
	if err != nil {
		return err
	}
	fmt.Println("held")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return errors.Join(release(), second())
}

var otherKey = artifacts.Key(artifacts.Sum([]byte("another")))

func TestLeaseOfADeadProcessIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	cmd := child(t, "hold", dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	_, err = cmd.StdinPipe()
	must(t, err, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "held\n" {
		t.Fatalf("%q, %v", line, err)
	}
	told := 0
	release, err := s.Lease(t.Context(), testKey, []byte("me"), func(holder []byte) {
		told++
		if string(holder) != "pid of the child" {
			t.Errorf("holder %q", holder)
		}
		must(t, cmd.Process.Kill())
	})
	must(t, err)
	if told != 1 {
		t.Errorf("told %d times of one holder", told)
	}
	// Both were names of one file that the child had locked: who has the one does not have the other.
	second, err := s.Lease(t.Context(), otherKey, []byte("another"), func([]byte) { t.Error("nobody has it") })
	must(t, err)
	for _, key := range []artifacts.Key{testKey, otherKey} {
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := open(t, dir).Lease(ctx, key, nil, func([]byte) { cancel() }); !errors.Is(err, context.Canceled) {
			t.Errorf("%s could be had twice: %v", key.Short(), err)
		}
		cancel()
	}
	must(t, release(), second())
	_ = cmd.Wait() // it was killed
	if left, err := os.ReadDir(filepath.Join(dir, "leases")); err != nil || len(left) > 0 {
		t.Errorf("%d files were left in leases/, %v", len(left), err)
	}
}

func TestLeaseExcludes(t *testing.T) {
	s := open(t, t.TempDir())
	var inside atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 3 {
				release, err := s.Lease(t.Context(), testKey, []byte("x"), nil)
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d hold the lease", n)
				}
				inside.Add(-1)
				if err := release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestWaitingForALeaseCanBeCancelled(t *testing.T) {
	s := open(t, t.TempDir())
	release, err := s.Lease(t.Context(), testKey, []byte("first"), nil)
	must(t, err)
	cause := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	if _, err := s.Lease(ctx, testKey, []byte("second"), func([]byte) { cancel(cause) }); !errors.Is(err, cause) {
		t.Errorf("Lease = %v", err)
	}
	must(t, release())
	other, err := s.Lease(t.Context(), testKey, []byte("third"), func([]byte) { t.Error("the cancelled one holds it") })
	must(t, err, other())
}

func TestLeasesOfTwoKeysAreIndependent(t *testing.T) {
	s := open(t, t.TempDir())
	a, err := s.Lease(t.Context(), testKey, nil, nil)
	must(t, err)
	b, err := s.Lease(t.Context(), otherKey, nil, nil)
	must(t, err, a(), b())
}

func TestWaiterIsToldOfEachHolder(t *testing.T) {
	s := open(t, t.TempDir())
	release, err := s.Lease(t.Context(), testKey, []byte("first"), nil)
	must(t, err)
	var told []string
	mine, err := s.Lease(t.Context(), testKey, []byte("me"), func(holder []byte) {
		if told = append(told, string(holder)); len(told) == 1 {
			write(t, filepath.Join(s.Dir(), "leases", testKey.Hex()), "second", 0o644)
		} else {
			must(t, release())
		}
	})
	must(t, err, mine())
	if !slices.Equal(told, []string{"first", "second"}) {
		t.Errorf("told %q", told)
	}
}
