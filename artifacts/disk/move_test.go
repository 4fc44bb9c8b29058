package disk_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/disk"
)

// stage lays the inputs of another stage into a workspace of its own.
func stage(t *testing.T, s *disk.Store, m *artifacts.Manifest, number int) (*disk.Workspace, *disk.Laid) {
	t.Helper()
	w, err := s.Fresh(artifacts.Key(artifacts.Sum(fmt.Append(nil, number))), 1, []string{"in/", "in/model/"})
	must(t, err, os.MkdirAll(filepath.Join(w.Dir, "in"), 0o755))
	l, err := s.Lay(t.Context(), m, filepath.Join(w.Dir, "in", "model"))
	must(t, err)
	return w, l
}

func untouched(t *testing.T, l *disk.Laid, want bool, what string) {
	t.Helper()
	if got, err := l.Untouched("deep/weights"); err != nil || got != want {
		t.Errorf("%s: untouched = %v, %v", what, got, err)
	}
}

func TestLargeInputsAreNotReadForLinksOfOurOwn(t *testing.T) {
	s, m, older, _ := laid(t)
	s.TrackFrom(1)
	w, l := stage(t, s, m, 1)
	in := filepath.Join(w.Dir, "in", "model")
	later(t, in)
	untouched(t, older, true, "laid before anything was tracked")
	for number, end := range map[int]func(*disk.Workspace) error{2: (*disk.Workspace).Close, 3: (*disk.Workspace).Reuse} {
		other, _ := stage(t, s, m, number)
		later(t, in)
		untouched(t, l, true, "another stage began")
		must(t, end(other))
		later(t, in)
		untouched(t, l, true, "another stage ended")
		must(t, l.Check())
	}

	third := filepath.Join(filepath.Dir(in), "third")
	_, err := s.Lay(t.Context(), m, third)
	must(t, err, os.Chmod(filepath.Join(third, "deep"), 0o755))
	later(t, third)
	must(t, os.Remove(filepath.Join(third, "deep", "weights")))
	later(t, third)
	untouched(t, l, false, "another took a link away")
	must(t, l.Check())
	_, fresh := stage(t, s, m, 4)
	untouched(t, fresh, true, "laid since then")
	untouched(t, l, false, "laid before")
}

func TestAWriteBesideLinksOfOurOwnIsSeen(t *testing.T) {
	s, m, _, _ := laid(t)
	s.TrackFrom(1)
	_, l := stage(t, s, m, 1)
	other, _ := stage(t, s, m, 2)
	file := filepath.Join(other.Dir, "in", "model", "deep", "weights")
	later(t, filepath.Dir(file))
	must(t, writeUnseen(file))
	later(t, filepath.Dir(file))
	must(t, other.Close())
	untouched(t, l, false, "written to")
	if err := l.Check(); !errors.Is(err, disk.ErrInputChanged) || !errors.Is(err, artifacts.ErrShared) {
		t.Errorf("Check = %v", err)
	}
}

// mapped is a writable mapping of a file's first page, as a program keeps that loads a model.
func mapped(t *testing.T, p string) []byte {
	t.Helper()
	must(t, os.Chmod(p, 0o644))
	f, err := os.OpenFile(p, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	t.Cleanup(func() { _ = unix.Munmap(b) })
	return b
}

// A page that was written to takes more writes that no time tells of until the kernel has written it out. So a blob whose time moved
// otherwise than by our steps is read for good. The file is of the size that is tracked, on whatever file system the test runs.
func TestAMappedWriteBesideLinksOfOurOwnIsSeen(t *testing.T) {
	s := open(t, t.TempDir())
	w := work(t, s)
	write(t, filepath.Join(w, "out", "m", "deep", "weights"), strings.Repeat("right", 64<<20/5+1), 0o644)
	m := adopt(t, s, filepath.Join(w, "out", "m"))
	writer, _ := stage(t, s, m, 1)
	page := mapped(t, filepath.Join(writer.Dir, "in", "model", "deep", "weights"))
	page[0] = 'r' // as it was, and the page is dirty from now on
	_, l := stage(t, s, m, 2)
	later(t, writer.Dir)
	page[0] = 'w'
	must(t, writer.Close())
	if err := l.Check(); !errors.Is(err, disk.ErrInputChanged) {
		t.Errorf("Check = %v", err)
	}
}

func TestAStepThatTookLongIsNone(t *testing.T) {
	s, m, _, _ := laid(t)
	s.TrackFrom(1)
	w, l := stage(t, s, m, 1)
	s.TrackNoStep()
	later(t, w.Dir)
	other, _ := stage(t, s, m, 2)
	later(t, w.Dir)
	untouched(t, l, false, "a link that took long")
	must(t, other.Close(), l.Check())
}

func TestSmallInputsAreNotTracked(t *testing.T) {
	s, m, _, _ := laid(t)
	w, l := stage(t, s, m, 1)
	later(t, w.Dir)
	other, _ := stage(t, s, m, 2)
	untouched(t, l, false, "a link of a few bytes")
	must(t, other.Close(), l.Check(), w.Close())
}

// TestManyStagesOfOneModel has stages begin and end at once: each finds its inputs as they were, by their times alone.
func TestManyStagesOfOneModel(t *testing.T) {
	made, m, _, _ := laid(t)
	s := open(t, made.Dir()) // as another process: it has hashed nothing yet
	s.TrackFrom(1)
	_, l := stage(t, s, m, 0)
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for round := range 20 {
				w, own := stage(t, s, m, 1+n*20+round)
				if ok, err := own.Untouched("deep/weights"); !ok || err != nil {
					t.Errorf("untouched = %v, %v", ok, err)
				}
				if err := errors.Join(own.Check(), w.Reuse()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	untouched(t, l, true, "160 stages later")
}

// TestStagesThatBeginTogetherWaitForOneToHash has a blob that nobody may look at again, since it would be found out.
func TestStagesThatBeginTogetherWaitForOneToHash(t *testing.T) {
	made, m, _, in := laid(t)
	weights := m.Files[slices.IndexFunc(m.Files, func(f artifacts.File) bool { return f.Path == "deep/weights" })].Digest
	must(t, writeUnseen(made.BlobFile(weights)))
	dir := filepath.Join(filepath.Dir(in), "again")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, made.Dir())
		done := s.HashElsewhere(weights)
		var err error
		ended := false
		go func() {
			_, err = s.Lay(t.Context(), m, dir)
			ended = true
		}()
		synctest.Wait()
		if ended {
			t.Errorf("it did not wait: %v", err)
		}
		must(t, done())
		synctest.Wait()
		must(t, err)
	})
}
