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
	told := int64(0)
	poll := func() {
		if err := tail.poll(false, func(p piece) { said = append(said, p.text); told += p.bytes }); err != nil {
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
	// A line may go on behind a hole.
	if err := os.Truncate(path, 200<<20+100<<10); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("behind\n"); err != nil {
		t.Fatal(err)
	}
	before := len(said)
	poll()
	if info, err := f.Stat(); err != nil || !slices.Equal(said[before:], []string{"", "behind"}) || told != info.Size() {
		t.Errorf("%.200q, %d bytes are told of %v, %v", said[before:], told, info.Size(), err)
	}
	said = said[:before]
	if len(said) != 3 || strings.Contains(strings.Join(said, ""), "\x00") || !slices.Equal([]string{said[0], said[2]}, []string{"first", "last"}) {
		t.Errorf("%.200q", said)
	}
}
