package pieces_test

import (
	"io"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/pieces"
)

// period is how many bytes an endless file has before they come again: a prime, so that no cut falls on it.
const period = 1<<20 + 7

// endless is a file of size bytes that takes no memory.
type endless struct {
	size  int64
	bytes []byte // twice the period
}

func newEndless(size int64, dull bool) endless {
	b := noise(1, period)
	if dull {
		for i := range b {
			b[i] &= 0x0f
		}
	}
	return endless{size, append(b, b...)}
}

func (endless) Close() error { return nil }

func (f endless) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) && off < f.size {
		k := copy(p[n:min(len(p), n+int(f.size-off))], f.bytes[off%period:])
		n, off = n+k, off+int64(k)
	}
	begin := off - int64(n)
	for at := begin &^ (1<<16 - 1); at < off; at += 1 << 16 { // no two pieces are the same
		if at >= begin {
			p[at-begin] = byte(at >> 16)
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// TestPackerMemory: cutting takes memory by the workers and the packs on their way, not by the file.
func TestPackerMemory(t *testing.T) {
	for name, c := range map[string]struct {
		dull, sound bool
		limit       uint64 // bytes of the heap, of which the packs that are being sent have up to 96 MiB where they were made smaller
	}{
		"noise": {false, false, 140 << 20}, "half of it": {true, false, 200 << 20},
		"sound noise": {false, true, 140 << 20}, "half of it, sound": {true, true, 200 << 20},
	} {
		f := newEndless(112<<20, c.dull)
		d, _, err := artifacts.SumReader(io.NewSectionReader(f, 0, f.size))
		if err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		var peak atomic.Uint64
		look := func() {
			sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
			metrics.Read(sample)
			peak.Store(max(peak.Load(), sample[0].Value.Uint64()))
		}
		var sending []pieces.Pack
		total := 0
		p := pieces.Packer{Workers: 2, Emit: func(p pieces.Pack) error {
			look()
			total += p.Size
			if sending = append(sending, p); len(sending) > 6 {
				sending[0].Release()
				sending = sending[1:]
			}
			return nil
		}}
		s := pieces.Source{Blob: artifacts.Blob{Digest: d, Size: f.size}, Name: "x.bin", Sound: c.sound, Open: func() (pieces.File, error) { return f, nil }}
		if _, err := p.Tree(t.Context(), []pieces.Source{s}); err != nil {
			t.Fatal(err)
		}
		if peak.Load() > c.limit || total < 50<<20 {
			t.Errorf("%s: %d MiB were used for packs of %d MiB", name, peak.Load()>>20, total>>20)
		}
		t.Logf("%s: %d MiB at most, packs of %d MiB", name, peak.Load()>>20, total>>20)
	}
}
