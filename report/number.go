package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// scale is how the figures of one column are written, all alike, so that their digits stand below each other.
type scale struct {
	divisor  float64
	unit     string
	decimals int
	clock    bool // minutes and seconds
}

const (
	significant = 3 // digits of the smallest figure
	ofInterval  = 2 // digits of the smallest half interval
	mostDigits  = 6 // behind the point

	mostSignificant = 4 // digits of a middling figure: of quality, or however narrow its interval is
)

var (
	byteUnits  = []string{"B", "KiB", "MiB", "GiB", "TiB"}
	unitPlural = map[string]string{"token/s": "tokens/s", "1": "", "second": "s", "seconds": "s"}
)

// newScale fits the figures of one unit.
func newScale(unit string, quality bool, figures []*Figure) scale {
	s := scale{divisor: 1, unit: unit}
	if p, ok := unitPlural[unit]; ok {
		s.unit = p
	}
	smallest, largest, half := math.Inf(1), 0.0, math.Inf(1)
	var sizes []float64
	for _, f := range figures {
		if v := math.Abs(f.Value); v > 0 {
			smallest, largest = min(smallest, v), max(largest, v)
			sizes = append(sizes, v)
		}
		if f.Low != nil && f.High != nil && *f.High > *f.Low {
			half = min(half, (*f.High-*f.Low)/2)
		}
	}
	switch {
	case unit == "byte":
		i := 0
		for largest >= 1000*s.divisor && i < len(byteUnits)-1 { // 999 KiB, then 1.0 MiB
			s.divisor *= 1024
			i++
		}
		s.unit = byteUnits[i]
	case s.unit == "s" && largest >= 100:
		s.clock, s.unit = true, "min:s"
		return s
	}
	if whole(figures, s.divisor) || math.IsInf(smallest, 1) {
		return s
	}
	slices.Sort(sizes)
	middle := decimals(sizes[len(sizes)/2]/s.divisor, mostSignificant)
	switch {
	case quality: // what two figures differ by is often less than the interval of either
		s.decimals = middle
	case !math.IsInf(half, 1):
		s.decimals = min(decimals(half/s.divisor, ofInterval), middle)
	default:
		s.decimals = decimals(smallest/s.divisor, significant)
	}
	if unit == "byte" {
		s.decimals = min(s.decimals, significant)
	}
	return s
}

// decimals are how many digits behind the point show that many significant ones of v.
func decimals(v float64, digits int) int {
	return min(max(digits-1-int(math.Floor(math.Log10(v))), 0), mostDigits)
}

func whole(figures []*Figure, divisor float64) bool {
	for _, f := range figures {
		if v := f.Value / divisor; v != math.Trunc(v) {
			return false
		}
	}
	return true
}

// text writes one figure without its unit.
func (s scale) text(v float64) string {
	if s.clock {
		return clock(v)
	}
	v /= s.divisor
	text := strconv.FormatFloat(v, 'f', s.decimals, 64)
	switch {
	case math.Abs(v) >= 1e9:
		text = strconv.FormatFloat(v, 'e', 3, 64)
	case v != 0 && strings.Trim(text, "-0.") == "": // too small for the others' digits, and not nothing
		text = strconv.FormatFloat(v, 'e', 1, 64)
	}
	return strings.ReplaceAll(text, "-", "−")
}

// clock is 2:54, or 1:02:54 from an hour on.
func clock(seconds float64) string {
	if seconds < 0 {
		return "-" + clock(-seconds)
	}
	n := int(math.Round(seconds))
	if n >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", n/3600, n/60%60, n%60)
	}
	return fmt.Sprintf("%d:%02d", n/60, n%60)
}

// duration is a length of time for people: 0.4 s, 12 s, 2 min 54 s, 1 h 02 min.
func duration(seconds float64) string {
	n := int(math.Round(seconds))
	switch {
	case seconds < 0.0995:
		return strconv.Itoa(int(math.Round(seconds*1000))) + " ms"
	case seconds < 9.95:
		return strconv.FormatFloat(seconds, 'f', 1, 64) + " s"
	case n < 60:
		return strconv.Itoa(n) + " s"
	case n < 3600:
		return fmt.Sprintf("%d min %02d s", n/60, n%60)
	default:
		return fmt.Sprintf("%d h %02d min", n/3600, n/60%60)
	}
}

// bytesText is a size for people.
func bytesText(n int64) string {
	f := &Figure{Value: float64(n)}
	s := newScale("byte", false, []*Figure{f})
	return s.text(f.Value) + " " + s.unit
}

// format writes a number whose column does not matter: six significant digits, whole numbers whole.
func format(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// RatioText is how many times the baseline's figure it is; "" where there is no difference to speak of.
func (f *Figure) RatioText() string {
	if f.Ratio == nil {
		return ""
	}
	switch r := *f.Ratio; {
	case math.Abs(r-1) < 0.005:
		return ""
	case r < 0.1:
		return strconv.FormatFloat(r, 'g', 2, 64) + "×"
	case r >= 100:
		return strconv.FormatFloat(r, 'f', 0, 64) + "×"
	case r >= 10:
		return strconv.FormatFloat(r, 'f', 1, 64) + "×"
	default:
		return strconv.FormatFloat(r, 'f', 2, 64) + "×"
	}
}

// Heading is the column's label with what tells it apart.
func (c *Column) Heading() string {
	if c.Variant == "" {
		return c.Label
	}
	return c.Label + ", " + c.Variant
}

// UnitText is the unit in which the column's figures are written; "" where the label says it.
func (c *Column) UnitText() string {
	if c.scale.unit == c.Label || c.scale.unit+"s" == c.Label {
		return ""
	}
	return c.scale.unit
}

// Text is a figure as its column writes it, without interval and unit.
func (c *Column) Text(f *Figure) string { return c.scale.text(f.Value) }

// Span is the figure's interval, or "".
func (c *Column) Span(f *Figure) string {
	if f.Low == nil || f.High == nil {
		return ""
	}
	between := " – "
	if *f.Low < 0 {
		between = " to "
	}
	return c.scale.text(*f.Low) + between + c.scale.text(*f.High)
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
