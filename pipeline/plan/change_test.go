package plan_test

import (
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/pipeline/plan"
)

// What differs is seen, wherever it stands in a long value.
func TestChangeShowsWhatDiffers(t *testing.T) {
	long := strings.Repeat("cat in/inputs/words | ", 10)
	for _, c := range []struct{ name, before, after, want string }{
		{"short", "4", "2", "params.x changed: 4 → 2"},
		{"at the end", `"` + long + `sort"`, `"` + long + `uniq"`,
			`params.x changed: …t in/inputs/words | sort" → …t in/inputs/words | uniq"`},
		{"one ends", `"` + long, `"` + long + "true", "params.x changed: …t in/inputs/words |  → …t in/inputs/words | true"},
		{"at the start", "a" + long, "b" + long, "params.x changed: a" + long[:58] + "… → b" + long[:58] + "…"},
		{"in the middle", long + "é" + long, long + "è" + long,
			"params.x changed: …t in/inputs/words | é" + long[:37] + "… → …t in/inputs/words | è" + long[:37] + "…"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (plan.Change{Field: "params.x", Old: c.before, New: c.after}).String(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
