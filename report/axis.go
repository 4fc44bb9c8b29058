package report

import (
	"math"
	"strconv"
)

// axis maps figures to a drawing's pixels, straight or by their logarithm.
type axis struct {
	from, to float64 // figures at the ends
	a, b     float64 // pixels at the ends
	log      bool
}

const (
	logFrom   = 8    // how many times the smallest the largest is before the axis is logarithmic
	axisSpace = 0.08 // of the range, left free at both ends
	ticksMost = 6
)

// newAxis spans the figures between the pixels a and b.
func newAxis(low, high, a, b float64) axis {
	x := axis{a: a, b: b, log: low > 0 && high/low >= logFrom}
	from, to := low, high
	if x.log {
		from, to = math.Log10(low), math.Log10(high)
	}
	space := (to - from) * axisSpace
	if space == 0 {
		space = max(math.Abs(to)*axisSpace, 1e-9)
	}
	x.from, x.to = from-space, to+space
	return x
}

// at is where a figure stands.
func (x axis) at(v float64) float64 {
	if x.log {
		v = math.Log10(v)
	}
	return x.a + (v-x.from)/(x.to-x.from)*(x.b-x.a)
}

// Tick is a mark of an axis.
type Tick struct {
	At   float64
	Text string
}

// ticks are round figures, at most ticksMost of them.
func (x axis) ticks(divisor float64, clocked bool) []Tick {
	values := x.linear(divisor)
	if x.log {
		values = x.powers(divisor)
	}
	var out []Tick
	for _, v := range values {
		text := tickText(v / divisor)
		if clocked {
			text = clock(v)
		}
		out = append(out, Tick{At: x.at(v), Text: text})
	}
	return out
}

func tickText(v float64) string {
	if a := math.Abs(v); a >= 1e6 || a > 0 && a < 1e-3 {
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	return strconv.FormatFloat(math.Round(v*1e6)/1e6, 'f', -1, 64)
}

// linear are multiples of 1, 2 or 5 times a power of ten, in units of the divisor.
func (x axis) linear(divisor float64) []float64 {
	from, to := x.from/divisor, x.to/divisor
	step := math.Pow(10, math.Floor(math.Log10((to-from)/ticksMost)))
	for _, m := range []float64{1, 2, 5, 10} {
		if (to-from)/(step*m) <= ticksMost {
			step *= m
			break
		}
	}
	var out []float64
	for i := math.Ceil(from / step); i*step <= to; i++ {
		out = append(out, i*step*divisor)
	}
	return out
}

// powers are 1, 2 and 5 times the powers of ten, fewer where the range is wide.
func (x axis) powers(divisor float64) []float64 {
	from, to := x.from-math.Log10(divisor), x.to-math.Log10(divisor)
	steps := []float64{1, 2, 5}
	if to-from > 2 {
		steps = []float64{1}
	}
	every := int(math.Ceil((to - from) / ticksMost))
	var out []float64
	for p := int(math.Floor(from)); float64(p) <= to; p++ {
		if len(steps) == 1 && p%every != 0 {
			continue
		}
		for _, m := range steps {
			v := m * math.Pow(10, float64(p))
			if l := math.Log10(v); l >= from && l <= to {
				out = append(out, v*divisor)
			}
		}
	}
	return out
}
