package report

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// folds are the titles of the folded sections. Each must be closed before the next is opened, on lines of its own between empty ones:
// only so is what stands in it Markdown.
func folds(t *testing.T, summary string) []string {
	t.Helper()
	opens := regexp.MustCompile(`^<details><summary>([^<]*)</summary>$`)
	var titles []string
	open := false
	lines := strings.Split(summary, "\n")
	for i, line := range lines {
		found := opens.FindStringSubmatch(line)
		switch {
		case found != nil && !open && lines[i-1] == "" && lines[i+1] == "":
			titles, open = append(titles, found[1]), true
		case line == "</details>" && open && lines[i-1] == "":
			open = false
		case strings.Contains(line, "<"):
			t.Errorf("line %d is markup: %s", i+1, line)
		}
	}
	if open {
		t.Error("the last section is not closed")
	}
	return titles
}

func TestSummaryFoldsItsSections(t *testing.T) {
	for name, q := range map[string]Question{"five": fiveQuestion(), "hostile": hostileQuestion()} {
		summary := render(t, mustMake(t, q), "github.md")
		titles := folds(t, summary)
		if len(titles) < 6 || titles[0] != "Stages" || titles[len(titles)-1] != "Records" {
			t.Errorf("%s: the sections are %q", name, titles)
		}
		if before, _, _ := strings.Cut(summary, "<details>"); strings.Count(before, "\n| ") < 6 {
			t.Errorf("%s: the main table is folded away:\n%s", name, summary)
		}
	}
}

// TestSummaryKeepsToItsRoom: what is too long would not be shown at all, so sections are left out, and named.
func TestSummaryKeepsToItsRoom(t *testing.T) {
	r := mustMake(t, fiveQuestion())
	whole := render(t, r, "github.md")
	for _, room := range []int{9 << 10, 11 << 10, 13 << 10} {
		var b bytes.Buffer
		if err := r.GitHub(&b, room); err != nil {
			t.Fatal(err)
		}
		if b.Len() > room {
			t.Errorf("%d bytes where %d have room", b.Len(), room)
		}
		kept := folds(t, b.String())
		_, said, found := strings.Cut(b.String(), "so these are left out: ")
		said, _, _ = strings.Cut(said, ". `tinfra")
		if all := folds(t, whole); !found || len(kept)+strings.Count(strings.ReplaceAll(said, ", batch", ""), ",")+1 != len(all) {
			t.Errorf("of %q are there %q, and it says that %q are not", all, kept, said)
		}
	}
}
