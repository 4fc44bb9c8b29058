package lineage_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestViewsAreAsDocumented: docs/lineage.md names every column of every view, and its example runs.
func TestViewsAreAsDocumented(t *testing.T) {
	b, err := os.ReadFile("../docs/lineage.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	c := w.chain()
	x := w.index()
	_, page, _ := strings.Cut(string(b), "## Views for `sql`")
	page, _, _ = strings.Cut(page, "## The index")
	views, err := x.Query(t.Context(), `SELECT name FROM sqlite_schema WHERE type = 'view' ORDER BY name`)
	if err != nil || len(views.Rows) != 7 {
		t.Fatalf("views are %v, %v", views, err)
	}
	for _, row := range views.Rows {
		view := row[0].(string)
		_, about, ok := strings.Cut(page, "**"+view+"**")
		if !ok {
			t.Errorf("view %s is not documented", view)
			continue
		}
		about, _, _ = strings.Cut(about, "\n**")
		table, err := x.Query(t.Context(), "SELECT * FROM "+view+" LIMIT 0")
		w.must(err)
		for _, column := range table.Columns {
			if !strings.Contains(about, "`"+column+"`") {
				t.Errorf("column %s of %s is not documented", column, view)
			}
		}
	}
	example := regexp.MustCompile("(?s)```sql\n(.*?)```").FindStringSubmatch(page)
	if example == nil {
		t.Fatal("the page has no example")
	}
	// The example asks for a group size; here it is another param that decides the perplexity.
	query := strings.ReplaceAll(example[1], "'group_size'", "'bits'")
	table, err := x.Query(t.Context(), query)
	w.must(err)
	if len(table.Rows) != 2 || table.Rows[0][0] != int64(3) || table.Rows[0][1] != c.scoreThree.Metrics["perplexity"] {
		t.Errorf("the example gives %v", table.Rows)
	}
}
