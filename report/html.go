package report

import (
	"bufio"
	"embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

//go:embed page
var pageFiles embed.FS

// pages are parsed when the first is written: other verbs need not wait for it. A mistake in them is one of the build of tinfra.
var pages = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(pageWords).ParseFS(pageFiles, "page/*.html"))
})

// pageWords are the functions that pages call.
var pageWords = template.FuncMap{
	"anchor": anchor, "bytes": bytesText, "clip": clip, "code": shortOf, "count": count, "duration": duration, "join": strings.Join,
	"lines": func(text string) string { return count(strings.Count(strings.TrimSuffix(text, "\n"), "\n")+1, "line") },
	"keys":  sorted[string, string], "moment": moment,
	"nobreak": func(label string) string { return strings.ReplaceAll(label, "-", "\u2011") }, // between words only
	"number":  format, "style": pageStyle, "texts": texts, "words": words,
	"metrics": sorted[string, float64], "outputs": sorted[string, Output], "params": sorted[string, any],
}

// pageStyle is the page's own style sheet. It is part of this program and holds nothing of a recipe.
func pageStyle() (template.CSS, error) {
	b, err := pageFiles.ReadFile("page/style.css")
	return template.CSS(b), err
}

// HTML writes one page that needs nothing but itself: no script, no request, no file beside it.
func (r *Report) HTML(w io.Writer) error {
	out := bufio.NewWriter(w)
	if err := pages().ExecuteTemplate(out, "page.html", r); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// anchor is where the page tells about a record.
func anchor(d artifacts.Digest) string { return "r-" + d.Short() }

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Sheet is a table of figures as the page shows it.
type Sheet struct {
	Caption string
	Columns []*Column
	Lines   []Line
	Short   bool // headings leave out the variant, which the caption says
	Explain []*Column
}

// Line is a row of a Sheet.
type Line struct {
	Name      string
	Baseline  bool
	Synthetic bool
	Cells     []Cell
}

// Cell is a figure in a Sheet; its zero value is an empty one.
type Cell struct {
	*Figure
	Text, Span, Times string
	Anchor, Code      string
	Title             string
}

// HeadSheet is the first table.
func (r *Report) HeadSheet() Sheet { return r.sheet("Comparison", r.Headline(), false) }

// Sheets are the tables of all figures.
func (r *Report) Sheets() []Sheet {
	var out []Sheet
	for _, g := range r.Groups() {
		s := r.sheet(g.Title(), g.Columns, true)
		s.Explain = g.Explain
		out = append(out, s)
	}
	return out
}

func (r *Report) sheet(caption string, columns []*Column, short bool) Sheet {
	s := Sheet{Caption: caption, Columns: columns, Short: short}
	for _, row := range r.Rows {
		if !row.any(columns) {
			continue
		}
		line := Line{Name: row.Name, Baseline: row.Name == r.Baseline, Synthetic: row.Synthetic()}
		for _, c := range columns {
			line.Cells = append(line.Cells, cellOf(c, row.Figure(c.ID)))
		}
		s.Lines = append(s.Lines, line)
	}
	return s
}

func cellOf(c *Column, f *Figure) Cell {
	if f == nil {
		return Cell{}
	}
	d := f.Record()
	cell := Cell{Figure: f, Text: c.Text(f), Span: c.Span(f), Times: f.RatioText(), Anchor: anchor(d), Code: shortOf(d)}
	cell.Title = fmt.Sprintf("%s of %s, record %s; tinfra show %s", c.Heading(), f.Stage, d, d.Short())
	if n := len(f.Records); n > 1 {
		cell.Title += fmt.Sprintf("; the sum over %d runs", n)
	}
	return cell
}

// Machine is what the measurements say about where they were made.
func (r *Report) Machine() map[string]string {
	out := map[string]string{}
	add := func(name, value string) {
		if value == "" || strings.Contains("; "+out[name]+"; ", "; "+value+"; ") {
			return
		}
		if out[name] != "" {
			value = out[name] + "; " + value
		}
		out[name] = value
	}
	for _, e := range r.Records {
		for _, name := range sorted(e.Facts) {
			add(name, e.Facts[name])
		}
		add("engine", e.Observed["engine"])
		add("network of the workers", e.Observed["network"])
		add("tinfra", e.Builder)
	}
	if r.Build != nil {
		add("host", r.Build.Host)
	}
	return out
}

// Code is the environment's digest, shortened.
func (e Environment) Code() string { return shortOf(e.Digest) }

// Platform says which machine the environment is for.
func (e Environment) Platform() string {
	var parts []string
	for _, p := range []string{e.OS, e.Arch, e.Libc} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if e.Python != "" {
		parts = append(parts, "Python "+e.Python)
	}
	return strings.Join(parts, ", ")
}
