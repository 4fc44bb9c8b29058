package report

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// JSON writes the whole report. The format is described in docs/guides/report.md, and its version is the field format.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// csvHead names the fields of a line of CSV. Values are in the metric's own unit, not in the one that tables use.
var csvHead = []string{"row", "metric", "variant", "value", "unit", "low", "high", "best", "stage", "record", "build", "synthetic"}

// CSV writes a line for every figure. The records of a sum stand in one field, separated by spaces.
func (r *Report) CSV(w io.Writer) error {
	out := csv.NewWriter(w)
	lines := [][]string{csvHead}
	for _, row := range r.Rows {
		for _, f := range row.Figures {
			c := r.Column(f.Column)
			var records []string
			for _, d := range f.Records {
				records = append(records, d.String())
			}
			line := []string{row.Name, c.Metric, c.Variant, number(f.Value), c.Unit, end(f.Low), end(f.High), yes(f.Best), f.Stage,
				strings.Join(records, " "), f.Build, yes(f.Synthetic)}
			for i, cell := range line {
				line[i] = inSheet(cell)
			}
			lines = append(lines, line)
		}
	}
	if err := out.WriteAll(lines); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func end(v *float64) string {
	if v == nil {
		return ""
	}
	return number(*v)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// inSheet keeps a spreadsheet from taking a name for a formula. Numbers are left alone.
func inSheet(s string) string {
	if s == "" || !strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return s
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return s
	}
	return "'" + s
}
