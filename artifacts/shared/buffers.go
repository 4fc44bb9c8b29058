package shared

import (
	"math/bits"
	"sync"
)

// buffers are used again while a tree is fetched: parts of large files come and go faster than the garbage collector, and would be most of
// what a fetch takes.
type buffers struct {
	mu   sync.Mutex
	free [32][][]byte // by the power of two that they hold
}

// take gives n bytes that hold anything.
func (b *buffers) take(n int) []byte {
	class := bits.Len(uint(max(n, 1) - 1))
	b.mu.Lock()
	defer b.mu.Unlock()
	if free := b.free[class]; len(free) > 0 {
		b.free[class] = free[:len(free)-1]
		return free[len(free)-1][:n]
	}
	return make([]byte, n, 1<<class)
}

// give is for bytes from take that nobody looks at any more.
func (b *buffers) give(all ...[]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, one := range all {
		if n := cap(one); n > 0 && n&(n-1) == 0 { // else it is not one of ours
			b.free[bits.Len(uint(n-1))] = append(b.free[bits.Len(uint(n-1))], one)
		}
	}
}
