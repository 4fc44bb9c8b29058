package numbers

import "math"

// norm is the root of a sum of squares, kept as sum times 4 to the power of exponent: squares of large numbers overflow.
type norm struct {
	exponent int
	sum      float64
}

// leastExponent keeps 2 to the power of its negative a number.
const leastExponent = -1000

// add takes finite numbers.
func (n *norm) add(values []float64) {
	largest := 0.0
	for _, v := range values {
		if v = math.Abs(v); v > largest {
			largest = v
		}
	}
	if largest == 0 {
		return
	}
	_, exponent := math.Frexp(largest)
	n.raise(max(exponent, leastExponent))
	scale, sum := math.Ldexp(1, -n.exponent), 0.0
	for _, v := range values {
		v *= scale
		sum += v * v
	}
	n.sum += sum
}

// merge adds what another has summed.
func (n *norm) merge(other norm) {
	if other.sum == 0 {
		return
	}
	n.raise(other.exponent)
	n.sum += math.Ldexp(other.sum, 2*(other.exponent-n.exponent))
}

func (n *norm) raise(exponent int) {
	switch {
	case n.sum == 0:
		n.exponent = exponent
	case exponent > n.exponent:
		n.sum = math.Ldexp(n.sum, 2*(n.exponent-exponent))
		n.exponent = exponent
	}
}

// over is the quotient of two norms; false where the second is 0.
func (n *norm) over(other norm) (float64, bool) {
	if other.sum == 0 {
		return 0, false
	}
	return finite(math.Ldexp(math.Sqrt(n.sum/other.sum), n.exponent-other.exponent)), true
}

// finite takes what is beyond all numbers for the largest.
func finite(v float64) float64 { return min(v, math.MaxFloat64) }
