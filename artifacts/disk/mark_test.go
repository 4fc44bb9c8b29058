package disk

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

func TestMarksChangeWithTheNamesOfAFolder(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	set := func(name string) {
		t.Helper()
		if _, err := s.Set(t.Context(), name, []byte("x"), artifacts.Absent); err != nil {
			t.Fatal(err)
		}
	}
	marks := func() map[string]string {
		t.Helper()
		m, err := s.Marks(t.Context(), "records/")
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := marks(); len(m) != 0 {
		t.Fatalf("an empty cache has the marks %v", m)
	}
	set("records/2026-01-01/a")
	set("records/2026-01-02/a")
	if m := marks(); len(m) != 2 || m["2026-01-01"] != "" {
		t.Fatalf("folders that have just changed are trusted: %v", m)
	}
	// A change time cannot be set back, so a folder's clock is the wall's: wait until the times can be trusted.
	deadline := time.NewTimer(10 * racy)
	defer deadline.Stop()
	tick := time.NewTicker(racy / 20)
	defer tick.Stop()
	before := marks()
	for before["2026-01-01"] == "" || before["2026-01-02"] == "" {
		select {
		case <-deadline.C:
			t.Fatalf("marks are never trusted: %v", before)
		case <-tick.C:
			before = marks()
		}
	}
	if again := marks(); again["2026-01-01"] != before["2026-01-01"] {
		t.Errorf("the mark of an unchanged folder went from %q to %q", before["2026-01-01"], again["2026-01-01"])
	}
	set("records/2026-01-01/b")
	if err := os.Remove(filepath.Join(s.Dir(), "records/2026-01-02/a")); err != nil {
		t.Fatal(err)
	}
	after := marks()
	for _, day := range []string{"2026-01-01", "2026-01-02"} {
		if after[day] == before[day] {
			t.Errorf("%s changed, and its mark stayed %q", day, before[day])
		}
	}
	if _, err := s.Marks(t.Context(), "../"); err == nil {
		t.Error("a folder outside of the cache has marks")
	}
}
