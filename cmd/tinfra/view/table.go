package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

const (
	gap       = "  " // between columns
	narrowest = 12   // columns that wrapped text needs to be read at all
)

// Table writes rows under headings, aligned, without lines; the same look for every verb. On a terminal the last column
// is wrapped.
func Table(w io.Writer, head []string, rows [][]string) error {
	return writeTable(w, head, rows, nil)
}

func writeTable(w io.Writer, head []string, rows [][]string, columns []table.ColumnConfig) error {
	tw := table.NewWriter()
	st := table.StyleDefault
	st.Box.PaddingLeft, st.Box.PaddingRight = "", gap
	st.Options = table.OptionsNoBordersAndSeparators
	st.Format.Header = text.FormatDefault
	tw.SetStyle(st)
	tw.SuppressTrailingSpaces()
	tw.AppendHeader(tableRow(head))
	for _, r := range rows {
		tw.AppendRow(tableRow(r))
	}
	if t := TerminalOf(w); t.Is {
		width, _ := t.Size()
		if room := lastRoom(width, head, rows); room > 0 {
			columns = append(columns, table.ColumnConfig{Number: len(head), WidthMax: room, WidthMaxEnforcer: text.WrapSoft})
		}
	}
	tw.SetColumnConfigs(columns)
	if _, err := fmt.Fprintln(w, tw.Render()); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}

func tableRow(cells []string) table.Row {
	row := make(table.Row, len(cells))
	for i, cell := range cells {
		row[i] = cell
	}
	return row
}

// lastRoom is how wide the last column can be, in columns of the terminal. It is 0 where a word has no room: the
// terminal then breaks the line, and a digest can still be copied whole.
func lastRoom(width int, head []string, rows [][]string) int {
	last := len(head) - 1
	widest := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row[:min(len(row), last)] {
			widest[i] = max(widest[i], text.StringWidthWithoutEscSequences(cell))
		}
	}
	for _, column := range widest {
		width -= column
	}
	width -= last * len(gap)
	if width < narrowest {
		return 0
	}
	for _, row := range rows {
		for _, word := range strings.Fields(strings.Join(row[min(len(row), last):], " ")) {
			if text.StringWidthWithoutEscSequences(word) > width {
				return 0
			}
		}
	}
	return width
}
