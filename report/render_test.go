package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

var update = flag.Bool("update", false, "write the golden files anew")

// renderers are all forms of a report, by the ending of their golden file.
var renderers = map[string]func(*Report, io.Writer) error{
	"md": (*Report).Markdown, "json": (*Report).JSON, "csv": (*Report).CSV, "html": (*Report).HTML,
	"txt":       func(r *Report, w io.Writer) error { return r.Text(w, 100) },
	"github.md": func(r *Report, w io.Writer) error { return r.GitHub(w, SummaryLimit) },
}

func render(t *testing.T, r *Report, form string) string {
	t.Helper()
	var b bytes.Buffer
	if err := renderers[form](r, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestGolden holds the forms that people and programs read; make them anew with -update and look at the difference.
func TestGolden(t *testing.T) {
	for _, form := range []string{"md", "github.md", "json", "csv", "txt"} {
		t.Run(form, func(t *testing.T) {
			got := render(t, mustMake(t, fiveQuestion()), form)
			path := filepath.Join("testdata", "five."+form)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs; go test ./report -update, and look at it:\n%s", path, got)
			}
		})
	}
}

// TestSameInputsSameBytes: no order of a map, no clock.
func TestSameInputsSameBytes(t *testing.T) {
	for form := range renderers {
		first := render(t, mustMake(t, fiveQuestion()), form)
		for range 5 {
			if again := render(t, mustMake(t, fiveQuestion()), form); again != first {
				t.Fatalf("%s: two reports of the same build differ", form)
			}
		}
	}
}

// walk visits a page's elements.
func walk(n *html.Node, visit func(*html.Node)) {
	if n.Type == html.ElementNode {
		visit(n)
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		walk(c, visit)
	}
}

func attribute(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func parsed(t *testing.T, page string) *html.Node {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestPageNeedsNothing: no script, nothing that is fetched, and every link leads to a place on the page.
func TestPageNeedsNothing(t *testing.T) {
	page := render(t, mustMake(t, fiveQuestion()), "html")
	ids, links := map[string]int{}, []string{}
	walk(parsed(t, page), func(n *html.Node) {
		switch n.Data {
		case "script", "img", "link", "iframe", "object", "embed", "video", "audio", "form", "base", "image", "use", "foreignObject":
			t.Errorf("the page has a <%s>", n.Data)
		case "style":
			if css := n.FirstChild.Data; strings.Contains(css, "url(") || strings.Contains(css, "@import") {
				t.Error("the style sheet fetches something")
			}
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "src" || a.Key == "srcset" {
				t.Errorf("<%s> has %s", n.Data, a.Key)
			}
			if a.Key == "href" || a.Key == "xlink:href" {
				links = append(links, a.Val)
			}
			if a.Key == "style" && strings.Contains(a.Val, "ZgotmplZ") {
				t.Errorf("<%s>: the style was refused: %s", n.Data, a.Val)
			}
		}
		if id, ok := attribute(n, "id"); ok {
			ids[id]++
		}
	})
	for id, n := range ids {
		if n > 1 {
			t.Errorf("id %q is there %d times", id, n)
		}
	}
	if len(links) < 50 {
		t.Errorf("%d links; every figure should lead to its record", len(links))
	}
	for _, l := range links {
		if name, ok := strings.CutPrefix(l, "#"); !ok || ids[name] == 0 {
			t.Errorf("link %q leads nowhere on the page", l)
		}
	}
	if strings.Contains(page, "http:") || strings.Contains(page, "https:") {
		t.Error("the page holds an address")
	}
}

// TestPageIsWhole: what is opened is closed, so that no browser has to guess.
func TestPageIsWhole(t *testing.T) {
	page := render(t, mustMake(t, fiveQuestion()), "html")
	void := map[string]bool{"meta": true}
	var open []string
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if !errors.Is(z.Err(), io.EOF) {
				t.Fatal(z.Err())
			}
			if len(open) > 0 {
				t.Fatalf("not closed: %v", open)
			}
			return
		case html.StartTagToken:
			if name, _ := z.TagName(); !void[string(name)] {
				open = append(open, string(name))
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			if len(open) == 0 || open[len(open)-1] != string(name) {
				t.Fatalf("</%s> closes %v", name, open)
			}
			open = open[:len(open)-1]
		}
	}
}

// TestPageCanBeHeard: tables have headings, drawings say what they show.
func TestPageCanBeHeard(t *testing.T) {
	page := render(t, mustMake(t, fiveQuestion()), "html")
	tables, drawings := 0, 0
	walk(parsed(t, page), func(n *html.Node) {
		switch n.Data {
		case "th":
			if _, ok := attribute(n, "scope"); !ok {
				t.Error("a heading of a table without scope")
			}
		case "table":
			tables++
		case "svg":
			drawings++
			if role, _ := attribute(n, "role"); role != "group" { // an img would hide its links
				t.Error("a drawing without role")
			}
			if by, _ := attribute(n, "aria-labelledby"); len(strings.Fields(by)) != 2 {
				t.Error("a drawing without title and description")
			}
		}
	})
	if tables < 7 || drawings != 5 {
		t.Errorf("%d tables and %d drawings", tables, drawings)
	}
}

// TestTextKeepsToItsWidth: what has no room is left out by need, and said to be.
func TestTextKeepsToItsWidth(t *testing.T) {
	r := mustMake(t, fiveQuestion())
	for width := 40; width <= 160; width += 5 {
		var b strings.Builder
		if err := r.Text(&b, width); err != nil {
			t.Fatal(err)
		}
		table, _, _ := strings.Cut(b.String(), "\n\n")
		for _, line := range strings.Split(table, "\n") {
			if wide(line) > width {
				t.Errorf("width %d: a line of %d: %s", width, wide(line), line)
			}
		}
		if !strings.Contains(table, "22.68*") || !strings.Contains(table, "517") {
			t.Errorf("width %d: size or perplexity is left out:\n%s", width, table)
		}
		columns, left := r.fitting(width)
		if said := strings.Contains(b.String(), "no room"); said != (left > 0) || len(columns)+left != len(r.Headline()) {
			t.Errorf("width %d: %d columns, %d left, said: %v", width, len(columns), left, said)
		}
	}
}

// hostile is a name that tries to be something else in every form.
const hostile = `</style><script>alert(1)</script>"><img src=x onerror=alert(1)> | ` + "`x` [a](javascript:alert(1)) \x1b[31m\n# h =1+1"

func hostileQuestion() Question {
	q := fiveQuestion()
	q.Title, q.Description = hostile, hostile
	q.Baseline = hostile
	q.Rows[0].Name = hostile
	q.Recipe = Recipe{Name: hostile, Text: hostile + "</pre></code>", Lock: []Source{{Source: hostile, Resolved: map[string]string{hostile: hostile}}}}
	q.Build.Problem, q.Build.Host = hostile, hostile
	q.Build.Variables = map[string]string{hostile: hostile}
	run := q.Rows[1].Runs[0]
	run.Metrics = map[string]float64{hostile: 1, "bits_per_weight": 4}
	run.Params = map[string]any{hostile: hostile}
	run.Observed = map[string]string{"protocol": hostile, "engine": hostile}
	run.Facts = map[string]string{hostile: hostile}
	q.Kinds = map[string]Kind{"perplexity": {Metrics: []Metric{{Name: "perplexity", Unit: hostile, Better: "lower", Quality: true, Doc: hostile}}}}
	return q
}

// TestHostileNamesStayText: what a recipe calls things is shown, and is never markup.
func TestHostileNamesStayText(t *testing.T) {
	r := mustMake(t, hostileQuestion())
	found := false
	walk(parsed(t, render(t, r, "html")), func(n *html.Node) {
		if n.Data == "script" || n.Data == "img" {
			t.Errorf("a name became <%s>", n.Data)
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || strings.Contains(a.Val, "javascript:") && a.Key == "href" {
				t.Errorf("a name became %s=%q", a.Key, a.Val)
			}
		}
		if n.Data == "h1" {
			found = strings.Contains(n.FirstChild.Data, "<script>alert(1)</script>")
		}
	})
	if !found {
		t.Error("the title is not shown as it is")
	}
	for _, form := range []string{"md", "github.md", "txt"} {
		text := render(t, r, form)
		if strings.Contains(text, "\x1b") {
			t.Errorf("%s has control characters", form)
		}
	}
	for _, line := range strings.Split(render(t, r, "md")+render(t, r, "github.md"), "\n") {
		if strings.Contains(line, "<script") || strings.Contains(line, "[a](") || strings.HasPrefix(line, "# h") {
			t.Errorf("markup in Markdown: %s", line)
		}
	}
	lines, err := csv.NewReader(strings.NewReader(render(t, r, "csv"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if lines[1][0] != hostile {
		t.Errorf("CSV does not give the name back: %q", lines[1][0])
	}
	var again Report
	if err := json.Unmarshal([]byte(render(t, r, "json")), &again); err != nil {
		t.Fatal(err)
	}
	if again.Title != hostile {
		t.Errorf("JSON does not give the title back: %q", again.Title)
	}
}

// TestFormulasAreNotCSV: a spreadsheet would run them.
func TestFormulasAreNotCSV(t *testing.T) {
	for in, want := range map[string]string{"=1+1": "'=1+1", "@x": "'@x", "-12.5": "-12.5", "+x": "'+x", "fp32": "fp32", "": ""} {
		if got := inSheet(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}
