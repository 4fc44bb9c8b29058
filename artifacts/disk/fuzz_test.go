package disk_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// FuzzHashMemory: however the file is broken in which digests of local files are remembered, no wrong digest comes of it.
func FuzzHashMemory(f *testing.F) {
	f.Add(uint16(0), byte(0), uint16(0), []byte(nil))
	f.Add(uint16(80), byte(1), uint16(0), []byte(nil))
	f.Add(uint16(300), byte(0xff), uint16(3), []byte("\n{}"))
	f.Add(uint16(7), byte(0x20), uint16(60000), []byte("sha256:"))
	f.Fuzz(func(t *testing.T, at uint16, flip byte, cut uint16, tail []byte) {
		s, dir := open(t, t.TempDir()), t.TempDir()
		write(t, filepath.Join(dir, "x"), "what is there", 0o644)
		write(t, filepath.Join(dir, "y"), "more", 0o644)
		later := func() time.Time { return time.Now().Add(time.Hour) }
		ask := func() {
			t.Helper()
			h := s.FilesAt(later)
			m, err := h.Manifest(t.Context(), dir, []string{"x", "y"})
			h.Keep()
			if hashOf(t, m, err, "x") != artifacts.Sum([]byte("what is there")) || hashOf(t, m, err, "y") != artifacts.Sum([]byte("more")) {
				t.Fatalf("wrong: %+v", m.Files)
			}
		}
		ask()
		names, err := filepath.Glob(filepath.Join(s.Dir(), "hash", "*"))
		if err != nil || len(names) != 1 {
			t.Fatalf("remembered in %q, %v", names, err)
		}
		b, err := os.ReadFile(names[0])
		must(t, err)
		b[int(at)%len(b)] ^= flip
		b = append(b[:len(b)-int(cut)%(len(b)+1)], tail...)
		must(t, os.WriteFile(names[0], b, 0o644))
		ask()
		ask() // and what it remembers then
	})
}
