package run

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A builder that was stopped for a while finds that a hole begins where it read last.
func TestAHoleIsNoLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stdout")
	if err := os.WriteFile(path, []byte("first\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tail := &lineTail{path: path}
	var said []string
	poll := func() {
		if err := tail.poll(false, func(p piece) { said = append(said, p.text) }); err != nil {
			t.Fatal(err)
		}
	}
	poll()
	if err := os.Truncate(path, 200<<20); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("\nlast\n"); err != nil {
		t.Fatal(err)
	}
	poll()
	if len(said) != 3 || strings.Contains(strings.Join(said, ""), "\x00") || !slices.Equal([]string{said[0], said[2]}, []string{"first", "last"}) {
		t.Errorf("%.200q", said)
	}
}
