package report

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
)

const (
	cellGap  = "  "
	bestMark = "*"
	none     = "–"
)

// Text writes the first table for a terminal, at most width columns wide: what has no room is left out and said to be.
func (r *Report) Text(w io.Writer, width int) error {
	out := bufio.NewWriter(w)
	columns, left := r.fitting(width)
	r.writeText(out, columns)
	if notes := r.textNotes(columns, left); len(notes) > 0 {
		fmt.Fprintln(out)
		for _, n := range notes {
			fmt.Fprintln(out, n)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// textColumn is one column as it is written: lines of heading, the unit, then a cell for each row.
type textColumn struct {
	head  []string
	cells []string
	width int
}

func (r *Report) names() textColumn {
	var c textColumn
	for _, row := range r.Rows {
		name := plain(row.Name)
		if row.Synthetic() {
			name += " (synthetic)"
		}
		c.cells = append(c.cells, name)
		c.width = max(c.width, wide(name))
	}
	return c
}

// textOf leaves a place behind each figure for the mark of the best.
func (r *Report) textOf(c *Column) textColumn {
	var t textColumn
	for _, row := range r.Rows {
		cell := none + " "
		if f := row.Figure(c.ID); f != nil {
			cell = c.Text(f) + " "
			if f.Best {
				cell = c.Text(f) + bestMark
			}
		}
		t.cells = append(t.cells, cell)
		t.width = max(t.width, wide(cell))
	}
	for _, part := range []string{c.Label, c.Variant, c.UnitText()} {
		t.head = append(t.head, fold(plain(part), max(t.width-1, leastHead))...)
	}
	for i, line := range t.head {
		t.head[i] = line + " "
		t.width = max(t.width, wide(line)+1)
	}
	return t
}

const leastHead = 8 // columns that a heading may take, however narrow its figures are

// fold breaks text between words into lines of at most width columns, if its words let it.
func fold(text string, width int) []string {
	var lines []string
	for _, word := range strings.Fields(text) {
		if n := len(lines) - 1; n >= 0 && wide(lines[n])+1+wide(word) <= width {
			lines[n] += " " + word
			continue
		}
		lines = append(lines, word)
	}
	return lines
}

func wide(s string) int { return text.StringWidthWithoutEscSequences(s) }

// urgent are the metrics that a narrow table keeps, the first the longest.
var urgent = []string{sizeColumn, "perplexity", "decode_tokens_per_second", "nll_difference", "kl_mean", "bits_per_weight", "same_top1"}

// fitting chooses the columns that have room, and gives them in their order.
func (r *Report) fitting(width int) (columns []*Column, left int) {
	all := r.Headline()
	byNeed := slices.Clone(all)
	slices.SortStableFunc(byNeed, func(a, b *Column) int { return urgency(a) - urgency(b) })
	room := width - r.names().width
	fits := map[*Column]bool{}
	for _, c := range byNeed {
		if need := r.textOf(c).width + len(cellGap); need <= room {
			room -= need
			fits[c] = true
		}
	}
	for _, c := range all {
		if fits[c] {
			columns = append(columns, c)
		}
	}
	return columns, len(all) - len(columns)
}

func urgency(c *Column) int {
	if i := slices.Index(urgent, c.Metric); i >= 0 {
		return i
	}
	return len(urgent)
}

func (r *Report) writeText(w io.Writer, columns []*Column) {
	all := []textColumn{r.names()}
	most := 0
	for _, c := range columns {
		t := r.textOf(c)
		all = append(all, t)
		most = max(most, len(t.head))
	}
	for line := range most {
		writeLine(w, all, func(t textColumn) string {
			if i := line - (most - len(t.head)); i >= 0 { // headings stand on their figures
				return t.head[i]
			}
			return ""
		})
	}
	for i := range r.Rows {
		writeLine(w, all, func(t textColumn) string { return t.cells[i] })
	}
}

// writeLine aligns names to the left and figures to the right.
func writeLine(w io.Writer, all []textColumn, cell func(textColumn) string) {
	var b strings.Builder
	for i, t := range all {
		s := cell(t)
		space := strings.Repeat(" ", t.width-wide(s))
		if i == 0 {
			b.WriteString(s + space)
			continue
		}
		b.WriteString(cellGap + space + s)
	}
	fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
}

func (r *Report) textNotes(columns []*Column, left int) []string {
	var notes []string
	for _, c := range columns {
		for _, f := range r.figures(c) {
			if f.Best {
				notes = []string{bestMark + " best of its column"}
			}
		}
	}
	if left > 0 {
		notes = append(notes, fmt.Sprintf("%d more columns have no room here.", left))
	}
	if r.Synthetic {
		notes = append(notes, "Rows marked (synthetic) come from a made-up model: their quality means nothing.")
	}
	return notes
}

// plain drops control characters: a terminal is spared them.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if c < 0x20 || c >= 0x7f && c < 0xa0 {
			return -1
		}
		return c
	}, s)
}

// TextRecords writes, for each row, the records behind its figures.
func (r *Report) TextRecords(w io.Writer) error {
	out := bufio.NewWriter(w)
	names := r.names()
	for i, row := range r.Rows {
		fmt.Fprintf(out, "%s%s", names.cells[i], strings.Repeat(" ", names.width-wide(names.cells[i])))
		for _, d := range row.sources(r.Columns) {
			fmt.Fprintf(out, "%s%s", cellGap, shortOf(d))
		}
		fmt.Fprintln(out)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
