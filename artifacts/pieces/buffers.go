package pieces

import (
	"math/bits"
	"slices"
	"sync"
)

// idleBytes is how much memory waits to be used again: about what one tree on its way takes, so that none of it becomes garbage meanwhile.
const idleBytes = 96 << 20

// buffers are used again: what is cut comes by the MiB, and the garbage collector would let the heap grow to twice what is in use. A
// sync.Pool would not do: it forgets, and has no notion of size.
type buffers struct {
	mu    sync.Mutex
	idle  [][]byte // the longest idle first
	bytes int
}

var pool buffers

// take gives n bytes of no particular content, in at most twice as much memory.
func take(n int) []byte {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	best := -1
	for i, b := range pool.idle {
		if cap(b) >= n && cap(b)/2 <= n && (best < 0 || cap(b) < cap(pool.idle[best])) {
			best = i
		}
	}
	if best < 0 {
		return make([]byte, n, rounded(n))
	}
	b := pool.idle[best]
	pool.idle = slices.Delete(pool.idle, best, best+1)
	pool.bytes -= cap(b)
	return b[:n]
}

// give takes back what take gave; who gave it must not touch it any more.
func give(b []byte) {
	const least = 4 << 10 // bytes below which a search costs more than a new one
	if cap(b) < least || cap(b) > idleBytes {
		return
	}
	pool.mu.Lock()
	defer pool.mu.Unlock()
	for pool.bytes+cap(b) > idleBytes {
		pool.bytes -= cap(pool.idle[0])
		pool.idle = slices.Delete(pool.idle, 0, 1)
	}
	pool.idle = append(pool.idle, b)
	pool.bytes += cap(b)
}

// rounded is n, up to the next quarter of a power of two, so that buffers of about the same size fit each other's bytes.
func rounded(n int) int {
	step := max(1<<max(bits.Len(uint(n))-3, 0), 1)
	return (n + step - 1) &^ (step - 1)
}
