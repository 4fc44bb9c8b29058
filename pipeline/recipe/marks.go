package recipe

import (
	"sort"

	"github.com/zclconf/go-cty/cty"
)

// Marks travel with values through every operation, so the place where a value lands can say what it came from.
type (
	brokenMark    struct{}            // stands in for what could not be evaluated; the mistake was told where it is
	sensitiveMark struct{}            // of a sensitive variable
	metricMark    struct{ MetricRef } // of a metric, not known before a run
)

// broken takes part in any operation without a second complaint.
var broken = cty.DynamicVal.Mark(brokenMark{})

// brokenEach is `each` where the instances are not known.
var brokenEach = cty.ObjectVal(map[string]cty.Value{"key": broken, "value": broken})

// marksOf gives a value without marks, and what it was marked with anywhere inside.
func marksOf(v cty.Value) (plain cty.Value, isBroken, isSensitive bool, reads []MetricRef) {
	plain, marks := v.UnmarkDeep()
	for m := range marks {
		switch m := m.(type) {
		case brokenMark:
			isBroken = true
		case sensitiveMark:
			isSensitive = true
		case metricMark:
			reads = append(reads, m.MetricRef)
		}
	}
	sortReads(reads)
	return plain, isBroken, isSensitive, reads
}

func sortReads(reads []MetricRef) {
	sort.Slice(reads, func(i, j int) bool {
		if reads[i].Address != reads[j].Address {
			return reads[i].Address < reads[j].Address
		}
		return reads[i].Name < reads[j].Name
	})
}

func stringOf(v cty.Value) (string, bool) {
	v, _ = v.Unmark()
	if v.Type() != cty.String || v.IsNull() || !v.IsKnown() {
		return "", false
	}
	return v.AsString(), true
}

func isBrokenEach(each map[string]cty.Value) bool {
	return each != nil && each["each"].GetAttr("key").HasMark(brokenMark{})
}
