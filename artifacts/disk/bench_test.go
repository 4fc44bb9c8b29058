package disk_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

func random(b testing.TB, n int) []byte {
	b.Helper()
	p := make([]byte, n)
	if _, err := rand.Read(p); err != nil {
		b.Fatal(err)
	}
	return p
}

const large = 64 << 20

// BenchmarkSum is the ceiling for the other two: hashing alone.
func BenchmarkSum(b *testing.B) {
	p := random(b, large)
	b.SetBytes(large)
	for b.Loop() {
		sha256.Sum256(p)
	}
}

func BenchmarkPut(b *testing.B) {
	for _, n := range []int{4 << 10, large} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := open(b, b.TempDir())
			p := random(b, n)
			blob := artifacts.Blob{Digest: artifacts.Sum(p), Size: int64(n)}
			b.SetBytes(int64(n))
			for b.Loop() {
				must(b, s.Put(b.Context(), blob, bytes.NewReader(p)))
			}
		})
	}
}

func BenchmarkAdoptTree(b *testing.B) {
	for _, c := range []struct{ files, size int }{{1, large}, {1000, 4 << 10}} {
		b.Run(fmt.Sprintf("%dx%d", c.files, c.size), func(b *testing.B) {
			s := open(b, b.TempDir())
			dir := filepath.Join(work(b, s), "out", "model")
			p := random(b, c.size)
			b.SetBytes(int64(c.files) * int64(c.size))
			for b.Loop() {
				b.StopTimer()
				for i := range c.files {
					copy(p, fmt.Sprint(i))
					write(b, filepath.Join(dir, fmt.Sprint(i)), string(p), 0o644)
				}
				b.StartTimer()
				if _, err := s.AdoptTree(b.Context(), dir, "files", nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOutput stores an output with its record, moved or read into memory: where the one becomes cheaper than the other.
func BenchmarkOutput(b *testing.B) {
	for _, size := range []int{100, 64 << 10, 256 << 10, 1 << 20, 4 << 20} {
		for _, way := range []string{"moved", "read"} {
			b.Run(fmt.Sprintf("%d/%s", size, way), func(b *testing.B) {
				s := open(b, b.TempDir())
				c := artifacts.NewCache(s, s)
				dir := filepath.Join(work(b, s), "out", "model")
				action, key, err := action(1).Part()
				must(b, err)
				at, p := time.Now().UTC(), random(b, size)
				for b.Loop() {
					b.StopTimer()
					at = at.Add(time.Second)
					copy(p, at.String())
					write(b, filepath.Join(dir, "f"), string(p), 0o644)
					b.StartTimer()
					var m *artifacts.Manifest
					var files []artifacts.Payload
					if way == "moved" {
						m, err = s.AdoptTree(b.Context(), dir, "files", nil)
						must(b, err, s.Noted(dir))
					} else {
						m, files, err = s.ReadTree(b.Context(), dir, "files", nil, large)
						must(b, err)
					}
					out, err := m.Part()
					must(b, err)
					parts := []artifacts.Part{out, action}
					for _, f := range files {
						parts = append(parts, artifacts.Part{Payload: f})
					}
					_, _, err = c.Publish(b.Context(), &artifacts.Record{
						Key: key, Outputs: map[string]artifacts.Digest{"out": out.Digest}, Started: at, Ended: at,
					}, parts...)
					must(b, err)
				}
			})
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, files := range []int{10, 1000} {
		b.Run(fmt.Sprint(files), func(b *testing.B) {
			s := open(b, b.TempDir())
			c := artifacts.NewCache(s, s)
			dir := filepath.Join(work(b, s), "out", "model")
			for i := range files {
				write(b, filepath.Join(dir, fmt.Sprint(i)), fmt.Sprint(i), 0o644)
			}
			m, err := s.AdoptTree(b.Context(), dir, "files", nil)
			must(b, err)
			out, err := c.PutManifest(b.Context(), m)
			must(b, err)
			key, err := c.PutAction(b.Context(), &artifacts.Action{Format: artifacts.ActionFormat, Kind: "x", Params: json.RawMessage("{}")})
			must(b, err)
			rec := &artifacts.Record{Key: key, Outputs: map[string]artifacts.Digest{"out": out}, Ended: time.Now()}
			_, _, err = c.Publish(b.Context(), rec)
			must(b, err)
			for b.Loop() {
				if _, _, err := c.Lookup(b.Context(), key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLay(b *testing.B) {
	s := open(b, b.TempDir())
	w := work(b, s)
	write(b, filepath.Join(w, "out", "model"), string(random(b, large)), 0o644)
	m, err := s.AdoptTree(b.Context(), filepath.Join(w, "out", "model"), "files", nil)
	must(b, err)
	in := filepath.Join(w, "in", "model")
	b.SetBytes(large)
	for b.Loop() {
		l, err := s.Lay(b.Context(), m, in)
		must(b, err)
		must(b, l.Check(), os.RemoveAll(in))
	}
}
