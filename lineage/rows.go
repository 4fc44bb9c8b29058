package lineage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

const digestPrefix = "sha256:"

type scanner interface{ Scan(into ...any) error }

// rows runs a query and gives each row to scan.
func (x *Index) rows(ctx context.Context, scan func(scanner) error, query string, args ...any) error {
	return eachRow(ctx, x.db, scan, query, args...)
}

func eachRow(ctx context.Context, db *sql.DB, scan func(scanner) error, query string, args ...any) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return asked(ctx, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return asked(ctx, err)
		}
	}
	return asked(ctx, rows.Err())
}

// errEnough ends a query early.
var errEnough = errors.New("enough rows")

func asked(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, errEnough) {
		return err
	}
	return classify("asking the lineage index", err)
}

// ask is rows for questions from outside: an index that turns out to be damaged is made again first. scan must not ask
// in turn.
func (x *Index) ask(ctx context.Context, scan func(scanner) error, query string, args ...any) error {
	seen := 0
	counted := func(row scanner) error { seen++; return scan(row) }
	err := x.asking(ctx, counted, query, args...)
	if !errors.Is(err, errUnusable) {
		return err
	}
	if merr := x.mend(ctx, err); merr != nil {
		return merr
	}
	if seen > 0 { // scan has kept rows that would come twice
		return fmt.Errorf("%w; it has been made again: ask once more", err)
	}
	return x.asking(ctx, scan, query, args...)
}

func (x *Index) asking(ctx context.Context, scan func(scanner) error, query string, args ...any) error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.db == nil {
		return errors.New("the lineage index is closed")
	}
	if err := x.rows(ctx, scan, query, args...); !errors.Is(err, errEnough) {
		return err
	}
	return nil
}

// mend makes a damaged index again.
func (x *Index) mend(ctx context.Context, why error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cache == nil {
		return why
	}
	if err := x.reset(ctx, why); err != nil {
		return err
	}
	return x.sync(ctx)
}

// column reads a query of one text column.
func column[T any](ctx context.Context, db *sql.DB, parse func(string) (T, error), query string, args ...any) ([]T, error) {
	var out []T
	err := eachRow(ctx, db, func(row scanner) error {
		var text string
		if err := row.Scan(&text); err != nil {
			return err
		}
		v, err := parse(text)
		out = append(out, v)
		return err
	}, query, args...)
	return out, err
}

// digestOf reads a digest that may be null.
func digestOf(text sql.NullString) (artifacts.Digest, error) {
	if !text.Valid {
		return artifacts.Digest{}, nil
	}
	d, err := artifacts.ParseDigest(text.String)
	if err != nil {
		return d, fmt.Errorf("%w: %w", errUnusable, err)
	}
	return d, nil
}
