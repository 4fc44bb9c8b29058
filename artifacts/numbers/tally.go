package numbers

import (
	"bytes"
	"math"
)

// blockSize is how many numbers are looked at at once; those of both sides and their differences fit into the first cache.
const blockSize = 1024

// NotFinite counts the numbers of a tensor that are none.
type NotFinite struct {
	NaN int64 `json:"nan"`
	Inf int64 `json:"inf"`
}

func (n *NotFinite) count(v float64) {
	switch {
	case math.IsNaN(v):
		n.NaN++
	case math.IsInf(v, 0):
		n.Inf++
	}
}

// tally is what two sides have been found to differ by so far.
type tally struct {
	differ         int64 // numbers of other bits; bytes where their meaning is not known
	pairs          int64 // both finite; the rest counts for nothing below
	largest, total float64
	apart, norm    norm // of the differences, of A
	a, b           NotFinite
}

// merge adds what another piece was found to differ by. The order counts for the last digits.
func (t *tally) merge(o *tally) {
	t.differ += o.differ
	t.pairs += o.pairs
	t.largest = max(t.largest, o.largest)
	t.total = finite(t.total + o.total)
	t.apart.merge(o.apart)
	t.norm.merge(o.norm)
	t.a.NaN, t.a.Inf = t.a.NaN+o.a.NaN, t.a.Inf+o.a.Inf
	t.b.NaN, t.b.Inf = t.b.NaN+o.b.NaN, t.b.Inf+o.b.Inf
}

// scratch is what a worker works in.
type scratch struct{ a, b, apart [blockSize]float64 }

// measure adds numbers to the tally: both sides have the same count of them, little-endian.
func (t *tally) measure(f format, a, b []byte, s *scratch) {
	for len(a) > 0 {
		n := min(len(a), blockSize*f.width)
		t.block(f, a[:n], b[:n], s)
		a, b = a[n:], b[n:]
	}
}

func (t *tally) block(f format, a, b []byte, s *scratch) {
	count := len(a) / f.width
	xs, ys, apart := s.a[:count], s.b[:count], s.apart[:count]
	f.read(xs, a)
	if bytes.Equal(a, b) {
		copy(ys, xs)
	} else {
		t.differ += differing(a, b, f.width)
		f.read(ys, b)
	}
	kept := 0
	for i, x := range xs {
		y := ys[i]
		d := math.Abs(x - y)
		if x-x != 0 || y-y != 0 { // as it is for NaN and Inf alone; four calls for each number would take twice as long
			t.a.count(x)
			t.b.count(y)
			continue
		}
		if d > math.MaxFloat64 {
			d = math.MaxFloat64
		}
		xs[kept], apart[kept] = x, d
		kept++
	}
	xs, apart = xs[:kept], apart[:kept]
	if f.apart != nil {
		f.apart(apart, a, b) // integers are all finite: none was left out
	}
	total := 0.0
	for _, d := range apart {
		if d > t.largest {
			t.largest = d
		}
		total += d
	}
	t.total = finite(t.total + total)
	t.pairs += int64(kept)
	t.norm.add(xs)
	t.apart.add(apart)
}

// differing counts what has other bytes, width of them at a time.
func differing(a, b []byte, width int) int64 {
	switch width {
	case 2:
		return differingWords(a, b, width, u16)
	case 4:
		return differingWords(a, b, width, u32)
	case 8:
		return differingWords(a, b, width, u64)
	}
	n := int64(0)
	for i, x := range a {
		if x != b[i] {
			n++
		}
	}
	return n
}

func differingWords[T uint16 | uint32 | uint64](a, b []byte, width int, word func([]byte) T) int64 {
	n := int64(0)
	for ; len(a) >= width && len(b) >= width; a, b = a[width:], b[width:] {
		if word(a) != word(b) {
			n++
		}
	}
	return n
}
