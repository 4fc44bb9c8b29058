package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

const noteMax = 60 // columns

// Row is one stage of the table at the end of a build.
type Row struct {
	Stage     string
	State     string
	Seconds   float64 // of the run, also where it is a hit; 0: unknown
	PeakBytes int64
	Size      int64
	Metrics   map[string]float64
	Synthetic bool
	Note      string // why it failed or was withheld
}

// Value is one output of the recipe.
type Value struct {
	Name, Value, Doc string
}

// middle is what the columns between the stage and the metrics take at most, with the gaps.
const middle = 9 + 8 + 13 + 10 + 2

// Summary writes the table. On a terminal the metrics are wrapped to its width.
func Summary(w io.Writer, rows []Row) error {
	t := TerminalOf(w)
	s := style(t.Color)
	tw := bare()
	tw.AppendHeader(table.Row{"STAGE", "RESULT", "TIME", "PEAK MEMORY", "SIZE", "METRICS"})
	stage := 0
	for _, r := range rows {
		stage = max(stage, text.StringWidthWithoutEscSequences(r.Stage))
		tw.AppendRow(table.Row{r.Stage, s.state(r.State, r.State), dash(r.Seconds > 0, Seconds(r.Seconds)),
			dash(r.PeakBytes > 0, Bytes(r.PeakBytes)), dash(r.Size > 0, Bytes(r.Size)), r.remarks(s)})
	}
	var right []table.ColumnConfig
	for number := 3; number <= 5; number++ {
		right = append(right, table.ColumnConfig{Number: number, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	if t.Is {
		width, _ := t.Size()
		right = append(right, table.ColumnConfig{Number: 6, WidthMax: max(width-stage-middle, 16), WidthMaxEnforcer: text.WrapSoft})
	}
	tw.SetColumnConfigs(right)
	return write(w, tw.Render())
}

func (r Row) remarks(s style) string {
	parts := Metrics(r.Metrics)
	if r.Synthetic {
		parts = append(parts, s.warn("(synthetic)"))
	}
	if r.Note != "" {
		// What went wrong is told whole below the table.
		parts = append(parts, clip(firstLine(r.Note), noteMax))
	}
	return strings.Join(parts, "  ")
}

// Table writes rows under headings, aligned, without lines; the same look for every verb.
func Table(w io.Writer, head []string, rows [][]string) error {
	tw := bare()
	h := make(table.Row, len(head))
	for i, name := range head {
		h[i] = name
	}
	tw.AppendHeader(h)
	for _, r := range rows {
		row := make(table.Row, len(r))
		for i, cell := range r {
			row[i] = cell
		}
		tw.AppendRow(row)
	}
	return write(w, tw.Render())
}

// Values writes the outputs of a recipe, one a line.
func Values(w io.Writer, values []Value) error {
	width := 0
	for _, v := range values {
		width = max(width, len(v.Name))
	}
	for _, v := range values {
		if _, err := fmt.Fprintf(w, "%s = %s\n", pad(v.Name, width), v.Value); err != nil {
			return fmt.Errorf("writing outputs: %w", err)
		}
	}
	return nil
}

func bare() table.Writer {
	tw := table.NewWriter()
	st := table.StyleDefault
	st.Box.PaddingLeft, st.Box.PaddingRight = "", "  "
	st.Options = table.OptionsNoBordersAndSeparators
	st.Format.Header = text.FormatDefault
	tw.SetStyle(st)
	tw.SuppressTrailingSpaces()
	return tw
}

func write(w io.Writer, s string) error {
	if _, err := fmt.Fprintln(w, s); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}

func dash(known bool, s string) string {
	if !known {
		return "–"
	}
	return s
}
