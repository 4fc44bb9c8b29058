package recipe

import (
	"sort"
	"strings"

	"github.com/agext/levenshtein"
)

// nearest finds the name that a misspelt one probably meant; "" when none is near enough.
func nearest(given string, names []string) string {
	const most = 1000 // so that many wrong names among many do not take minutes
	best, bestDistance := "", len(given)/3+2
	if len(given) <= 3 {
		bestDistance = 2 // in g64 and g32 two of three letters differ
	}
	for _, name := range names[:min(len(names), most)] {
		if len(name)-len(given) >= bestDistance*4 { // a character has at most 4 bytes
			continue
		}
		d := levenshtein.Distance(strings.ToLower(given), strings.ToLower(name), nil)
		if (d < bestDistance || d == bestDistance && best != "" && name < best) && d < max(len(name), len(given)) {
			best, bestDistance = name, d
		}
	}
	return best
}

// didYouMean ends a message: the nearest name, or all names where they are few.
func didYouMean(given string, names []string) string {
	if n := nearest(given, names); n != "" {
		return " Did you mean " + n + "?"
	}
	return listOf(names)
}

// listOf names what there is, as long as a person can still read it.
func listOf(names []string) string {
	const readable = 12
	if len(names) == 0 || len(names) > readable {
		return ""
	}
	sorted := append([]string(nil), names...)
	sort.Strings(sorted)
	if len(sorted) == 1 {
		return " There is only " + sorted[0] + "."
	}
	return " There are: " + strings.Join(sorted, ", ") + "."
}
