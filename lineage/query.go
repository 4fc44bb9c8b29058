package lineage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/mattn/go-sqlite3"
)

// Table is the answer to a query.
type Table struct {
	Columns []string
	Rows    [][]any // nil, int64, float64, string or []byte
}

// ErrQuery: the query is wrong, or wants what a reader must not do.
var ErrQuery = errors.New("the query was refused")

// Query answers one SQL query. It can only read, and only this index: writing, attaching other files and loading
// extensions are refused. It ends when its context does.
func (x *Index) Query(ctx context.Context, query string) (*Table, error) {
	t, err := x.query(ctx, query)
	if !errors.Is(err, errUnusable) {
		return t, err
	}
	if err := x.mend(ctx, err); err != nil {
		return nil, err
	}
	return x.query(ctx, query)
}

func (x *Index) query(ctx context.Context, query string) (*Table, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.db == nil {
		return nil, errors.New("the lineage index is closed")
	}
	db := sql.OpenDB(connector{
		&sqlite3.SQLiteDriver{ConnectHook: readOnly},
		dsn(x.path, "mode=ro&_query_only=1&_busy_timeout=10000"),
	})
	defer db.Close()
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, refused(ctx, err)
	}
	defer rows.Close()
	t := &Table{Rows: [][]any{}}
	if t.Columns, err = rows.Columns(); err != nil {
		return nil, refused(ctx, err)
	}
	if len(t.Columns) == 0 {
		// The driver answers with what the last statement gives, and a comment gives nothing.
		return nil, fmt.Errorf("%w: it must be one SELECT, with nothing behind its semicolon", ErrQuery)
	}
	for rows.Next() {
		row, into := make([]any, len(t.Columns)), make([]any, len(t.Columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, refused(ctx, err)
		}
		t.Rows = append(t.Rows, row)
	}
	return t, refused(ctx, rows.Err())
}

func refused(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	if c := classify("asking the lineage index", err); errors.Is(c, errUnusable) {
		return c
	}
	return fmt.Errorf("%w: %w", ErrQuery, err)
}

// Numbers of actions that the driver does not name.
const actionRecursive = 33

// maxValue bounds a text or blob that a query makes, in bytes: zeroblob(1e9) is nobody's question.
const maxValue = 64 << 20

func readOnly(c *sqlite3.SQLiteConn) error {
	if err := keepLog(c); err != nil {
		return err
	}
	c.SetLimit(sqlite3.SQLITE_LIMIT_LENGTH, maxValue)
	c.SetLimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
	c.RegisterAuthorizer(func(action int, first, second, _ string) int {
		switch action {
		case sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, actionRecursive:
			return sqlite3.SQLITE_OK
		case sqlite3.SQLITE_FUNCTION:
			if strings.EqualFold(second, "load_extension") {
				return sqlite3.SQLITE_DENY
			}
			return sqlite3.SQLITE_OK
		}
		return sqlite3.SQLITE_DENY
	})
	return nil
}
