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

	manifests map[artifacts.Digest]*artifacts.Manifest // read with what is being added; those of new rows are taken out
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
func (w *writer) add(ctx context.Context, p *part) error {
	types := map[artifacts.Digest]string{}
	w.manifests = maps.Clone(p.manifests)
	for _, e := range p.records {
		if err := w.addRun(ctx, p.day, e, types); err != nil {
			return err
		}
	}
	for _, b := range p.builds {
		if err := w.addBuild(ctx, p.day, b); err != nil {
			return err
		}
	}
	if err := w.unskip(ctx, p); err != nil {
		return err
	}
	for _, s := range p.skipped {
		_, err := w.exec(ctx, `INSERT INTO _skipped (name, day, problem) VALUES (?,?,?)
			ON CONFLICT (name) DO UPDATE SET problem = excluded.problem`, s.Name, p.folder+p.day, s.Problem)
		if err != nil {
			return err
		}
	}
	return w.describe(ctx, w.manifests) // of what was there before
}

// unskip forgets that what was read could not be.
func (w *writer) unskip(ctx context.Context, p *part) error {
	any := false
	if err := w.row(ctx, `SELECT EXISTS (SELECT 1 FROM _skipped)`).Scan(&any); err != nil || !any {
		return err
	}
	for _, d := range p.digests() {
		if _, err := w.exec(ctx, `DELETE FROM _skipped WHERE name = ?`, p.folder+p.day+"/"+d.Hex()); err != nil {
			return err
		}
	}
	return nil
}

// artifact gives the row of a manifest, made where there is none. kind is its type if known: until it is described.
func (w *writer) artifact(ctx context.Context, d artifacts.Digest, kind string) (int64, error) {
	if id, ok := w.ids[d]; ok {
		return id, nil
	}
	var id int64
	err := w.row(ctx, `SELECT id FROM _artifact WHERE digest = ?`, d.String()).Scan(&id)
	if noRow(err) {
		id, err = w.newArtifact(ctx, d, kind)
	}
	if w.ids == nil {
		w.ids = map[artifacts.Digest]int64{}
	}
	w.ids[d] = id
	return id, err
}

func (w *writer) newArtifact(ctx context.Context, d artifacts.Digest, kind string) (int64, error) {
	var size, files sql.NullInt64
	labels := "{}"
	if m := w.manifests[d]; m != nil {
		var err error
		if labels, err = w.labels(ctx, m); err != nil {
			return 0, err
		}
		kind, size, files = m.Type, sql.NullInt64{Int64: m.Size(), Valid: true}, sql.NullInt64{Int64: int64(len(m.Files)), Valid: true}
		delete(w.manifests, d)
	}
	done, err := w.exec(ctx, `INSERT INTO _artifact (digest, type, bytes, files, labels) VALUES (?,?,?,?,?)`, d.String(), kind, size, files, labels)
	if err != nil {
		return 0, err
	}
	return done.LastInsertId()
}

// labels gives a manifest's labels as they are stored, and keeps their names.
func (w *writer) labels(ctx context.Context, m *artifacts.Manifest) (string, error) {
	for name := range m.Labels {
		if err := w.name(ctx, "labels", name); err != nil {
			return "", err
		}
	}
	return jsonText(m.Labels)
}

// describe says of artifacts that are there what their manifests say.
func (w *writer) describe(ctx context.Context, manifests map[artifacts.Digest]*artifacts.Manifest) error {
	for d, m := range manifests {
		labels, err := w.labels(ctx, m)
		if err != nil {
			return err
		}
		_, err = w.exec(ctx, `UPDATE _artifact SET type = ?, bytes = ?, files = ?, labels = ? WHERE digest = ?`,
			m.Type, m.Size(), len(m.Files), labels, d.String())
		if err != nil {
			return err
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
	variables, err := jsonText(b.Variables)
	if err != nil {
		return err
	}
	targets, err := jsonOf(append([]string{}, b.Targets...))
	if err != nil {
		return err
	}
	list, err := w.list(ctx, b)
	if err != nil {
		return err
	}
	done, err := w.exec(ctx, `INSERT INTO _build (digest, day, build, recipe, recipe_path, variables, targets, lock, "commit", host,
			started, ended, exit, problem, list) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`,
		e.digest.String(), day, b.ID, text(b.Recipe), b.RecipePath, variables, targets, text(b.Lock), b.Commit, b.Host,
		timeText(b.Started), timeText(b.Ended), b.Exit, b.Problem, list)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); n == 0 || err != nil {
		return err // another process was first
	}
	return w.used(ctx, list, b.ID)
}

// remove takes out what the cache no longer lists, and what only that had held.
func (w *writer) remove(ctx context.Context, changes []change) error {
	runs, builds := false, false
	for _, c := range changes {
		for _, name := range c.removed {
			queries := []string{`DELETE FROM _output WHERE run IN (SELECT id FROM _run WHERE record = ?)`, `DELETE FROM _run WHERE record = ?`}
			switch {
			case !strings.HasPrefix(name, digestPrefix):
				queries = []string{`DELETE FROM _skipped WHERE name = ?`}
			case c.folder == buildsFolder:
				queries, builds = []string{`DELETE FROM _build WHERE digest = ?`}, true
			default:
				runs = true
			}
			for _, q := range queries {
				if _, err := w.exec(ctx, q, name); err != nil {
					return err
				}
			}
		}
	}
	if builds {
		if err := w.unlist(ctx); err != nil {
			return err
		}
	}
	if !runs {
		return nil
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

// marks keeps how days looked when they were listed. A day that is gone is forgotten.
func (w *writer) marks(ctx context.Context, days []change) error {
	for _, c := range days {
		_, err := w.exec(ctx, `INSERT INTO _day (folder, day, mark) VALUES (?,?,?)
			ON CONFLICT (folder, day) DO UPDATE SET mark = excluded.mark`, c.folder, c.day, c.mark)
		if err != nil {
			return err
		}
	}
	return nil
}

// sortedKeys makes what is written the same at each rebuild.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
