package report

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"strings"
)

// SummaryLimit is how many bytes GitHub shows of one step's summary. A larger one it drops whole.
const SummaryLimit = 1 << 20

// closingRoom is kept free for the line that names what was left out.
const closingRoom = 4 << 10

// GitHub writes the report for the summary of a job of GitHub Actions: the main table, and each section folded. It is Markdown with
// <details>, in which GitHub allows neither styles nor drawings. Sections for which room, in bytes, is too little are named at the end.
func (r *Report) GitHub(w io.Writer, room int) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "## %s\n", inMarkdown(r.Title))
	if r.Description != "" {
		fmt.Fprintf(&out, "\n%s\n", inMarkdown(r.Description))
	}
	r.markdownSynthetic(&out)
	r.markdownBuild(&out)
	fmt.Fprintln(&out)
	r.markdownTable(&out, r.Headline(), false)
	fmt.Fprint(&out, tableLegend)
	sections := r.markdownSections()
	if r.Build != nil {
		sections = append([]section{{title: "Stages", write: r.markdownStages}}, sections...)
	}
	var left []string
	for _, s := range sections {
		folded := s.folded()
		if out.Len()+len(folded) > room-closingRoom {
			left = append(left, inMarkdown(s.title))
			continue
		}
		out.Write(folded)
	}
	if len(left) > 0 {
		fmt.Fprintf(&out, "\nA summary holds no more, so these are left out: %s. `tinfra report -o FOLDER` writes all.\n", strings.Join(left, ", "))
	}
	if _, err := w.Write(out.Bytes()); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// folded is the section behind a line that opens it. The title is in HTML, where Markdown's marks mean nothing; the empty lines around
// the rest make it Markdown again.
func (s section) folded() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "\n<details><summary>%s</summary>\n\n", html.EscapeString(plain(s.title)))
	s.write(&b)
	fmt.Fprint(&b, "\n</details>\n")
	return b.Bytes()
}

// markdownStages says what became of each stage. Why it ran is not told: that may name folders of the machine.
func (r *Report) markdownStages(w io.Writer) {
	markdownRow(w, []string{"stage", "result", "took", "record"})
	markdownRow(w, []string{"---", "---", "---:", "---"})
	for _, s := range r.Build.Steps {
		took, record := none, none
		if !s.Record.IsZero() {
			record = "`" + shortOf(s.Record) + "`"
		}
		if s.Seconds > 0 {
			took = duration(s.Seconds)
		}
		markdownRow(w, []string{inMarkdown(s.Address), inMarkdown(string(s.State)), took, record})
	}
}
