package report

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var colour = regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6})`)

// luminance is that of WCAG 2.2.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	linear := func(c uint64) float64 {
		v := float64(c&0xff) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(n>>16) + 0.7152*linear(n>>8) + 0.0722*linear(n)
}

// TestTextCanBeRead: every colour of text on every ground that it stands on has the contrast that WCAG 2.2 asks for (AA,
// 4.5), light, dark and printed.
func TestTextCanBeRead(t *testing.T) {
	css, err := pageFiles.ReadFile("page/style.css")
	if err != nil {
		t.Fatal(err)
	}
	schemes := 0
	for _, part := range strings.Split(string(css), ":root {")[1:] {
		colours := map[string]string{}
		block, _, _ := strings.Cut(part, "}")
		for _, m := range colour.FindAllStringSubmatch(block, -1) {
			colours[m[1]] = m[2]
		}
		schemes++
		for ground, texts := range map[string][]string{
			"page": {"text", "muted", "link", "hit", "bad", "warn"}, "panel": {"text", "muted", "link"}, "best": {"text", "muted"},
			"warn-fill": {"text"}, "bad-fill": {"text"},
		} {
			for _, name := range texts {
				a, b := luminance(t, colours[name]), luminance(t, colours[ground])
				if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < 4.5 {
					t.Errorf("scheme %d: %s on %s has a contrast of %.1f", schemes, name, ground, ratio)
				}
			}
		}
	}
	if schemes != 3 {
		t.Errorf("%d schemes; there are light, dark and printed", schemes)
	}
}
