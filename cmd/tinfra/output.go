package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// writeJSON writes a result for programs, indented for the person who looks at it all the same.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return nil
}
