package view

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/hashicorp/hcl/v2"
)

// Diagnostics writes mistakes with their snippets.
func Diagnostics(w io.Writer, diags hcl.Diagnostics, files map[string]*hcl.File) error {
	t := TerminalOf(w)
	width := 0
	if t.Is {
		width, _ = t.Size()
	}
	for _, d := range diags {
		d, files := snippet(d, files)
		if err := hcl.NewDiagnosticTextWriter(w, files, uint(width), t.Color).WriteDiagnostic(d); err != nil {
			return fmt.Errorf("writing diagnostics: %w", err)
		}
	}
	return nil
}

// Diagnostic is one mistake in JSON.
type Diagnostic struct {
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Detail   string `json:"detail,omitempty"`
	Range    *Range `json:"range,omitempty"`
	Snippet  string `json:"snippet,omitempty"`
}

// Range is where the mistake is. Lines and columns count from 1.
type Range struct {
	Filename string `json:"filename"`
	Start    Place  `json:"start"`
	End      Place  `json:"end"`
}

// Place is a position in a file.
type Place struct {
	Line   int `json:"line"`
	Column int `json:"column"`
	Byte   int `json:"byte"`
}

// AsJSON turns diagnostics into what --json shows.
func AsJSON(diags hcl.Diagnostics, files map[string]*hcl.File) []Diagnostic {
	out := make([]Diagnostic, 0, len(diags))
	for _, d := range diags {
		j := Diagnostic{Severity: "error", Summary: d.Summary, Detail: d.Detail}
		if d.Severity == hcl.DiagWarning {
			j.Severity = "warning"
		}
		if d.Subject != nil {
			j.Range = &Range{
				Filename: d.Subject.Filename,
				Start:    Place{d.Subject.Start.Line, d.Subject.Start.Column, d.Subject.Start.Byte},
				End:      Place{d.Subject.End.Line, d.Subject.End.Column, d.Subject.End.Byte},
			}
			if f := files[d.Subject.Filename]; f != nil && d.Subject.CanSliceBytes(f.Bytes) {
				j.Snippet = string(d.Subject.SliceBytes(f.Bytes))
			}
		}
		out = append(out, j)
	}
	return out
}

// DiagnosticsJSON writes mistakes as one line of JSON.
func DiagnosticsJSON(w io.Writer, diags hcl.Diagnostics, files map[string]*hcl.File) error {
	b, err := json.Marshal(map[string]any{"diagnostics": AsJSON(diags, files)})
	if err != nil {
		return fmt.Errorf("encoding diagnostics: %w", err)
	}
	if _, err := w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("writing diagnostics: %w", err)
	}
	return nil
}
