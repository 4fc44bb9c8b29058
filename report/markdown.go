package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

const tableLegend = "\nBold is the best of its column. In brackets: the interval, and how many times the baseline's figure it is.\n"

// Markdown writes the report as GitHub's Markdown: the tables, each figure with its interval and its record.
func (r *Report) Markdown(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# %s\n", inMarkdown(r.Title))
	if r.Description != "" {
		fmt.Fprintf(out, "\n%s\n", inMarkdown(r.Description))
	}
	r.markdownSynthetic(out)
	r.markdownBuild(out)
	fmt.Fprintf(out, "\n## Comparison\n\n")
	r.markdownTable(out, r.Headline(), false)
	fmt.Fprint(out, tableLegend)
	for _, s := range r.markdownSections() {
		fmt.Fprintf(out, "\n%s %s\n\n", s.level, inMarkdown(s.title))
		s.write(out)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// section is what stands below a heading.
type section struct {
	level, title string
	write        func(io.Writer)
}

// markdownSections are the sections after the main table; those that have nothing to say are left out.
func (r *Report) markdownSections() []section {
	var out []section
	for _, g := range r.Groups() {
		out = append(out, section{"###", g.Title(), func(w io.Writer) {
			r.markdownTable(w, g.Columns, true)
			markdownDocs(w, g.Explain)
		}})
	}
	if len(r.Fronts) > 0 {
		out = append(out, section{"##", "Pareto fronts", r.markdownFronts})
	}
	if len(r.Protocols) > 0 {
		out = append(out, section{"##", "Protocols", r.markdownProtocols})
	}
	return append(out, section{"##", "Records", r.markdownRecords})
}

func (r *Report) markdownSynthetic(w io.Writer) {
	if r.Synthetic {
		fmt.Fprintf(w, "\n> **Synthetic.** Rows marked so come from a made-up model: their quality means nothing.\n")
	}
}

func (r *Report) markdownBuild(w io.Writer) {
	b := r.Build
	if b == nil {
		return
	}
	fmt.Fprintf(w, "\nBuild `%s` of %s, %s on %s: %s.\n", b.ID, inMarkdown(r.Recipe.Name), moment(b.Started), inMarkdown(b.Host), b.SummaryWithSaved())
}

func (r *Report) markdownTable(w io.Writer, columns []*Column, records bool) {
	head, line := []string{""}, []string{"---"}
	for _, c := range columns {
		h := inMarkdown(c.Heading())
		if records {
			h = inMarkdown(c.Label)
		}
		if u := c.UnitText(); u != "" {
			h += " (" + inMarkdown(u) + ")"
		}
		head, line = append(head, h), append(line, "---:")
	}
	if records {
		head, line = append(head, "record"), append(line, "---")
	}
	markdownRow(w, head)
	markdownRow(w, line)
	for _, row := range r.Rows {
		if !row.any(columns) {
			continue
		}
		cells := []string{inMarkdown(row.Name)}
		if row.Synthetic() {
			cells[0] += " (synthetic)"
		}
		for _, c := range columns {
			cells = append(cells, markdownFigure(c, row.Figure(c.ID)))
		}
		if records {
			cells = append(cells, codes(row.sources(columns)))
		}
		markdownRow(w, cells)
	}
}

// sources are the records behind a row's figures in these columns; of sums, the one of the model itself.
func (row *Row) sources(columns []*Column) []artifacts.Digest {
	var out []artifacts.Digest
	seen := map[artifacts.Digest]bool{}
	for _, c := range columns {
		f := row.Figure(c.ID)
		if f == nil {
			continue
		}
		if d := f.Record(); !seen[d] {
			seen[d] = true
			out = append(out, d)
		}
	}
	return out
}

// Record is the record to look at first: of a sum, the last run that entered it.
func (f *Figure) Record() artifacts.Digest { return f.Records[len(f.Records)-1] }

func codes(ds []artifacts.Digest) string {
	var out []string
	for _, d := range ds {
		out = append(out, "`"+shortOf(d)+"`")
	}
	return strings.Join(out, " ")
}

// shortOf is enough of a record's digest to find it with `tinfra show`.
func shortOf(d artifacts.Digest) string { return d.Hex()[:shortDigits] }

func markdownRow(w io.Writer, cells []string) {
	fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
}

func markdownFigure(c *Column, f *Figure) string {
	if f == nil {
		return none
	}
	text := c.Text(f)
	if f.Best {
		text = "**" + text + "**"
	}
	var more []string
	if span := c.Span(f); span != "" {
		more = append(more, span)
	}
	if ratio := f.RatioText(); ratio != "" {
		more = append(more, ratio)
	}
	if len(more) > 0 {
		text += " (" + strings.Join(more, ", ") + ")"
	}
	return text
}

// markdownDocs says what the columns mean.
func markdownDocs(w io.Writer, columns []*Column) {
	if len(columns) > 0 {
		fmt.Fprintln(w)
	}
	for _, c := range columns {
		fmt.Fprintf(w, "- *%s*: %s\n", inMarkdown(c.Label), inMarkdown(c.Explained()))
	}
}

// Explained is what the column means, its direction and its interval, without the marks of Markdown that docs may have.
func (c *Column) Explained() string {
	var parts []string
	if c.Doc != "" {
		parts = append(parts, sentence(c.Doc))
	}
	if c.Low != "" {
		parts = append(parts, "Low end: "+sentence(c.Low))
	}
	if c.High != "" {
		parts = append(parts, "High end: "+sentence(c.High))
	}
	if c.Better != "" && len(parts) > 0 {
		parts = append(parts, strings.ToUpper(c.Better[:1])+c.Better[1:]+" is better.")
	}
	return strings.ReplaceAll(strings.Join(parts, " "), "`", "")
}

func sentence(s string) string {
	s = strings.TrimSpace(s)
	if strings.HasSuffix(s, ".") || s == "" {
		return s
	}
	return s + "."
}

func (r *Report) markdownFronts(w io.Writer) {
	fmt.Fprintf(w, "Rows that no other row beats in both figures.\n\n")
	for _, f := range r.Fronts {
		names := make([]string, len(f.Rows))
		for i, name := range f.Rows {
			names[i] = inMarkdown(name)
		}
		fmt.Fprintf(w, "- %s against %s: %s\n", inMarkdown(r.Column(f.Y).Heading()), inMarkdown(r.Column(f.X).Heading()), strings.Join(names, ", "))
	}
}

func (r *Report) markdownProtocols(w io.Writer) {
	fmt.Fprintf(w, "Figures of different protocols are not comparable.\n\n")
	for _, p := range r.Protocols {
		var fields []string
		for _, name := range sorted(p.Fields) {
			fields = append(fields, inMarkdown(name)+" "+inMarkdown(p.Fields[name]))
		}
		fmt.Fprintf(w, "- %s (%s): %s\n", inMarkdown(p.Kind), inMarkdown(strings.Join(p.Stages, ", ")), strings.Join(fields, ", "))
	}
}

func (r *Report) markdownRecords(w io.Writer) {
	fmt.Fprintf(w, "`tinfra show RECORD` shows one.\n\n")
	markdownRow(w, []string{"record", "stage", "ran", "took", "figures"})
	markdownRow(w, []string{"---", "---", "---", "---:", "---"})
	for _, e := range r.Records {
		var figures []string
		for _, name := range sorted(e.Metrics) {
			figures = append(figures, inMarkdown(name)+" "+format(e.Metrics[name]))
		}
		markdownRow(w, []string{"`" + shortOf(e.Record) + "`", inMarkdown(e.Stage), moment(e.Started), duration(e.Seconds), strings.Join(figures, ", ")})
	}
}

// Title is the group's heading.
func (g Group) Title() string {
	kind, variant, told := strings.Cut(g.Name, ", ")
	title := words(kind)
	if title != "" {
		title = strings.ToUpper(title[:1]) + title[1:]
	}
	if told {
		title += ", " + variant
	}
	return title
}

// Summary counts the build's stages.
func (b *Build) Summary() string {
	parts := []string{fmt.Sprintf("%d ran", b.Ran), fmt.Sprintf("%d reused", b.Hits)}
	if b.Failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", b.Failed))
	}
	if b.Blocked > 0 {
		parts = append(parts, fmt.Sprintf("%d not run", b.Blocked))
	}
	stages := "stages"
	if len(b.Steps) == 1 {
		stages = "stage"
	}
	return fmt.Sprintf("%d %s in %s: %s", len(b.Steps), stages, duration(b.Ended.Sub(b.Started).Seconds()), strings.Join(parts, ", "))
}

// SummaryWithSaved says also what the hits saved.
func (b *Build) SummaryWithSaved() string {
	if b.Hits == 0 {
		return b.Summary()
	}
	return b.Summary() + "; what was reused had once taken " + duration(b.SavedSecs)
}

// moment is a time in UTC: a report reads the same everywhere.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }

// markdownMarks are the characters that mean something to Markdown or HTML.
var markdownMarks = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "|", `\|`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;",
	"&", "&amp;", "#", `\#`, "~", `\~`, "$", `\$`)

// inMarkdown is text that stays text, in one line.
func inMarkdown(s string) string {
	return markdownMarks.Replace(plain(strings.Join(strings.Fields(s), " ")))
}
