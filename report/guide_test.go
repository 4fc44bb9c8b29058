package report

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestGuideIsTrue holds docs/guides/report.md against what is written: its example table, the fields of JSON and CSV.
func TestGuideIsTrue(t *testing.T) {
	b, err := os.ReadFile("../docs/guides/report.md")
	if err != nil {
		t.Fatal(err)
	}
	guide := string(b)
	r := mustMake(t, fiveQuestion())
	table, _, _ := strings.Cut(render(t, r, "txt"), "\n\n")
	if !strings.Contains(guide, "```\n"+table+"\n```") {
		t.Errorf("the guide shows another table than this:\n%s", table)
	}
	if !strings.Contains(guide, strings.Join(csvHead, ", ")) {
		t.Errorf("the guide does not name the fields of CSV: %s", strings.Join(csvHead, ", "))
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(render(t, r, "json")), &fields); err != nil {
		t.Fatal(err)
	}
	for name := range fields {
		if !strings.Contains(guide, "`"+name+"`") {
			t.Errorf("the guide does not tell of the field %s of JSON", name)
		}
	}
	column := fields["columns"].([]any)[0].(map[string]any)
	for name := range column {
		if !strings.Contains(guide, "`"+name+"`") {
			t.Errorf("the guide does not tell of the field %s of columns", name)
		}
	}
}
