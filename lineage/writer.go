package lineage

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// writer is one transaction on the index.
type writer struct {
	tx       *sql.Tx
	prepared map[string]*sql.Stmt // closed by the end of the transaction
	ids      map[artifacts.Digest]int64
	named    map[string]bool
}

func noRow(err error) bool { return errors.Is(err, sql.ErrNoRows) }

func (w *writer) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if s, ok := w.prepared[query]; ok {
		return s, nil
	}
	s, err := w.tx.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if w.prepared == nil {
		w.prepared = map[string]*sql.Stmt{}
	}
	w.prepared[query] = s
	return s, nil
}

func (w *writer) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := w.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

// failedRow is a row that could not even be asked for.
type failedRow struct{ err error }

func (f failedRow) Scan(...any) error { return f.err }

func (w *writer) row(ctx context.Context, query string, args ...any) scanner {
	s, err := w.stmt(ctx, query)
	if err != nil {
		return failedRow{err}
	}
	return s.QueryRowContext(ctx, args...)
}

// add stores what was read of a day, and keeps what could not be.
func (w *writer) add(ctx context.Context, c change, p *part, bad []Skipped) error {
	types := map[artifacts.Digest]string{}
	for _, e := range p.records {
		if err := w.addRun(ctx, c.day, e, types); err != nil {
			return err
		}
		if err := w.unskip(ctx, c, e.digest); err != nil {
			return err
		}
	}
	for _, b := range p.builds {
		if err := w.addBuild(ctx, c.day, b); err != nil {
			return err
		}
		if err := w.unskip(ctx, c, b.digest); err != nil {
			return err
		}
	}
	for _, s := range bad {
		_, err := w.exec(ctx, `INSERT INTO _skipped (name, day, problem) VALUES (?,?,?)
			ON CONFLICT (name) DO UPDATE SET problem = excluded.problem`, s.Name, c.folder+c.day, s.Problem)
		if err != nil {
			return err
		}
	}
	return w.describe(ctx, p.manifests)
}

func (w *writer) unskip(ctx context.Context, c change, d artifacts.Digest) error {
	_, err := w.exec(ctx, `DELETE FROM _skipped WHERE name = ?`, c.folder+c.day+"/"+d.Hex())
	return err
}

// artifact gives the row of a manifest, made where there is none. kind is its type if known: until it is described.
func (w *writer) artifact(ctx context.Context, d artifacts.Digest, kind string) (int64, error) {
	if id, ok := w.ids[d]; ok {
		return id, nil
	}
	var id int64
	err := w.row(ctx, `SELECT id FROM _artifact WHERE digest = ?`, d.String()).Scan(&id)
	if noRow(err) {
		var done sql.Result
		if done, err = w.exec(ctx, `INSERT INTO _artifact (digest, type, labels) VALUES (?,?,'{}')`, d.String(), kind); err == nil {
			id, err = done.LastInsertId()
		}
	}
	if w.ids == nil {
		w.ids = map[artifacts.Digest]int64{}
	}
	w.ids[d] = id
	return id, err
}

// describe says of artifacts what their manifests say.
func (w *writer) describe(ctx context.Context, manifests map[artifacts.Digest]*artifacts.Manifest) error {
	for d, m := range manifests {
		labels, err := jsonText(orEmpty(m.Labels))
		if err != nil {
			return err
		}
		_, err = w.exec(ctx, `UPDATE _artifact SET type = ?, bytes = ?, files = ?, labels = ? WHERE digest = ?`,
			m.Type, m.Size(), len(m.Files), labels, d.String())
		if err != nil {
			return err
		}
		for name := range m.Labels {
			if err := w.name(ctx, "labels", name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) name(ctx context.Context, space, name string) error {
	both := space + "." + name
	if w.named[both] {
		return nil
	}
	if w.named == nil {
		w.named = map[string]bool{}
	}
	w.named[both] = true
	_, err := w.exec(ctx, `INSERT INTO _name (space, name) VALUES (?,?) ON CONFLICT DO NOTHING`, space, name)
	return err
}

func (w *writer) addBuild(ctx context.Context, day string, e *buildEntry) error {
	b := e.build
	variables, err := jsonText(orEmpty(b.Variables))
	if err != nil {
		return err
	}
	targets, err := jsonText(append([]string{}, b.Targets...))
	if err != nil {
		return err
	}
	done, err := w.exec(ctx, `INSERT INTO _build (digest, day, build, recipe, recipe_path, variables, targets, lock, "commit", host,
			started, ended, exit, problem) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`,
		e.digest.String(), day, b.ID, text(b.Recipe), b.RecipePath, variables, targets, text(b.Lock), b.Commit, b.Host,
		timeText(b.Started), timeText(b.Ended), b.Exit, b.Problem)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); n == 0 || err != nil {
		return err // another process was first
	}
	id, err := done.LastInsertId()
	if err != nil {
		return err
	}
	for i, s := range b.Steps {
		_, err := w.exec(ctx, `INSERT INTO _step (of, build, position, address, kind, key, record, state, reason, log)
			VALUES (?,?,?,?,?,?,?,?,?,?)`,
			id, b.ID, i, s.Address, s.Kind, text(s.Key.Digest()), text(s.Record), string(s.State), s.Reason, text(s.Log))
		if err != nil {
			return err
		}
	}
	return nil
}

// remove takes out what the cache no longer lists, and what only that had held.
func (w *writer) remove(ctx context.Context, c change) error {
	for _, name := range c.removed {
		queries := []string{`DELETE FROM _output WHERE run IN (SELECT id FROM _run WHERE record = ?)`, `DELETE FROM _run WHERE record = ?`}
		switch {
		case !strings.HasPrefix(name, digestPrefix):
			queries = []string{`DELETE FROM _skipped WHERE name = ?`}
		case c.folder == buildsFolder:
			queries = []string{`DELETE FROM _step WHERE of IN (SELECT id FROM _build WHERE digest = ?)`, `DELETE FROM _build WHERE digest = ?`}
		}
		for _, q := range queries {
			if _, err := w.exec(ctx, q, name); err != nil {
				return err
			}
		}
	}
	for _, q := range []string{
		`DELETE FROM _action WHERE id NOT IN (SELECT action FROM _run)`,
		`DELETE FROM _input WHERE action NOT IN (SELECT id FROM _action)`,
		`DELETE FROM _artifact WHERE id NOT IN (SELECT artifact FROM _input) AND id NOT IN (SELECT artifact FROM _output)`,
	} {
		if _, err := w.exec(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// mark keeps how a day looked when it was listed. A day that is gone is forgotten.
func (w *writer) mark(ctx context.Context, c change) error {
	_, err := w.exec(ctx, `INSERT INTO _day (folder, day, mark) VALUES (?,?,?)
		ON CONFLICT (folder, day) DO UPDATE SET mark = excluded.mark`, c.folder, c.day, c.mark)
	return err
}

// sortedKeys makes what is written the same at each rebuild.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
