package pieces

import (
	"math/rand/v2"
	"testing"
)

func TestBuffersAreBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var out [][]byte
	inUse := 0
	for range 3000 {
		if n := r.IntN(6 << 20); r.IntN(2) == 0 && inUse < 200<<20 {
			b := take(n)
			if len(b) != n || cap(b) > 2*n+16 {
				t.Fatalf("%d bytes came in %d", n, cap(b))
			}
			inUse += cap(b)
			out = append(out, b)
		} else if len(out) > 0 {
			i := r.IntN(len(out))
			inUse -= cap(out[i])
			give(out[i])
			out[i] = out[len(out)-1]
			out = out[:len(out)-1]
		}
		sum := 0
		for _, b := range pool.idle {
			sum += cap(b)
		}
		if sum != pool.bytes || sum > idleBytes {
			t.Fatalf("%d bytes are idle, %d counted", sum, pool.bytes)
		}
	}
	for n := range 5000 {
		if k := rounded(n); k < n || k > n+n/4+1 {
			t.Fatalf("%d is rounded to %d", n, k)
		}
	}
}
