package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/lineage"
)

// sqlTime bounds a query unless --timeout says otherwise.
const sqlTime = time.Minute

func newSQL(a *app) *cobra.Command {
	var asJSON, asCSV bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "sql QUERY",
		Short: "Ask the lineage index a question in SQL",
		Long: `sql answers one SELECT over the views builds, steps, runs, artifacts, edges, metrics and params; docs/lineage.md has their
columns. "-" reads the query from standard input. It can only read: what writes, attaches files or loads extensions is
refused.`,
		Example: `  tinfra sql "SELECT address, value FROM metrics JOIN runs USING (run) WHERE name = 'perplexity' ORDER BY value"
  tinfra sql --csv 'SELECT * FROM builds' > builds.csv`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON && asCSV {
				return usage("--json and --csv exclude each other")
			}
			query := args[0]
			if query == "-" {
				b, err := io.ReadAll(a.stdin)
				if err != nil {
					return fmt.Errorf("reading the query: %w", err)
				}
				query = string(b)
			}
			table, err := a.query(cmd.Context(), query, timeout)
			if err != nil {
				return err
			}
			switch {
			case asJSON:
				return writeObjects(a.stdout, table)
			case asCSV:
				return writeCSV(a.stdout, table)
			}
			return writeCells(a.stdout, table)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "write a JSON array, an object a row")
	f.BoolVar(&asCSV, "csv", false, "write CSV")
	f.DurationVar(&timeout, "timeout", sqlTime, "give up after this `TIME`; 0 is never")
	return cmd
}

func (a *app) query(ctx context.Context, query string, timeout time.Duration) (*lineage.Table, error) {
	r, err := a.openArchive(ctx, "")
	if err != nil {
		return nil, err
	}
	if timeout > 0 {
		late := usage("the query took longer than %s; --timeout gives it more", timeout)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, late)
		defer cancel()
	}
	table, err := r.index.Query(ctx, query)
	if errors.Is(err, lineage.ErrQuery) {
		return nil, usage("%w", err)
	}
	return table, err
}

// writeObjects keeps the order of the columns, which a map would lose.
func writeObjects(w io.Writer, t *lineage.Table) error {
	var b bytes.Buffer
	b.WriteString("[")
	for i, row := range t.Rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n  {")
		for j, v := range row {
			if j > 0 {
				b.WriteString(", ")
			}
			if text, ok := v.([]byte); ok {
				v = string(text)
			}
			name, err := json.Marshal(t.Columns[j])
			if err != nil {
				return fmt.Errorf("writing JSON: %w", err)
			}
			value, err := json.Marshal(v)
			if err != nil {
				return fmt.Errorf("writing JSON: %s: %w", t.Columns[j], err)
			}
			b.Write(name)
			b.WriteString(": ")
			b.Write(value)
		}
		b.WriteByte('}')
	}
	if len(t.Rows) > 0 {
		b.WriteByte('\n')
	}
	b.WriteString("]\n")
	_, err := w.Write(b.Bytes())
	return err
}

func writeCSV(w io.Writer, t *lineage.Table) error {
	c := csv.NewWriter(w)
	all := append([][]string{t.Columns}, cells(t)...)
	if err := c.WriteAll(all); err != nil {
		return fmt.Errorf("writing CSV: %w", err)
	}
	return nil
}

func writeCells(w io.Writer, t *lineage.Table) error {
	rows := cells(t)
	for _, row := range rows {
		for i := range row {
			row[i] = view.Printable(row[i]) // a worker's words are not trusted with the terminal
		}
	}
	return view.Table(w, t.Columns, rows)
}

func cells(t *lineage.Table) [][]string {
	out := make([][]string, len(t.Rows))
	for i, row := range t.Rows {
		out[i] = make([]string, len(row))
		for j, v := range row {
			out[i][j] = cell(v)
		}
	}
	return out
}

func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case []byte:
		return string(v)
	}
	return fmt.Sprint(v)
}
