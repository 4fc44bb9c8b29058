package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

const noteMax = 60 // columns

// ManyStages is from when on a stage that was in the cache gets no line of its own: nobody reads a thousand of them.
const ManyStages = 50

// Row is one stage of the table at the end of a build.
type Row struct {
	Stage     string
	State     string
	Seconds   float64 // of the run, also where it is a hit; 0: unknown
	PeakBytes int64
	Size      int64
	Metrics   map[string]float64
	Order     []string // of metrics, the most telling first
	Synthetic bool
	Note      string // why it failed or was withheld
}

// Value is one output of the recipe.
type Value struct {
	Name, Value, Doc string
}

// Summary writes the table. Of many stages, those that were only found in the cache are counted.
func Summary(w io.Writer, rows []Row) error {
	s := style(TerminalOf(w).Color)
	head := []string{"STAGE", "RESULT", "TIME", "PEAK MEMORY", "SIZE", "METRICS"}
	cells := make([][]string, 0, min(len(rows), ManyStages))
	told := 0
	for _, r := range rows {
		if len(rows) > ManyStages && r.State == "hit" && len(r.Metrics) == 0 {
			continue
		}
		told++
		cells = append(cells, []string{r.Stage, s.state(r.State, r.State), dash(r.Seconds > 0, Seconds(r.Seconds)),
			dash(r.PeakBytes > 0, Bytes(r.PeakBytes)), dash(r.Size > 0, Bytes(r.Size)), r.remarks(s)})
	}
	var right []table.ColumnConfig
	for number := 3; number <= 5; number++ {
		right = append(right, table.ColumnConfig{Number: number, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	if told > 0 {
		if err := writeTable(w, head, cells, right); err != nil {
			return err
		}
	}
	if rest := len(rows) - told; rest > 0 {
		if _, err := fmt.Fprintf(w, "%s not shown: from the cache, and nothing was measured (`tinfra show` lists all)\n", Count(rest, "stage")); err != nil {
			return fmt.Errorf("writing the summary: %w", err)
		}
	}
	return nil
}

func (r Row) remarks(s style) string {
	parts := Metrics(r.Metrics, r.Order...)
	if r.Synthetic {
		parts = append(parts, s.warn("(synthetic)"))
	}
	if r.Note != "" {
		// What went wrong is told whole below the table.
		parts = append(parts, clip(firstLine(r.Note), noteMax))
	}
	return strings.Join(parts, "  ")
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

func dash(known bool, s string) string {
	if !known {
		return "–"
	}
	return s
}
