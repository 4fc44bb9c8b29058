package lineage

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// identity tells two steps apart: all that is said of a stage, and of which recipe.
func identity(recipePath string, s *artifacts.Step) []byte {
	var b []byte
	for _, field := range []string{recipePath, s.Address, s.Kind, string(s.State), s.Reason} {
		b = append(binary.AppendUvarint(b, uint64(len(field))), field...)
	}
	for _, d := range []artifacts.Digest{s.Key.Digest(), s.Record, s.Log} {
		b = append(b, d[:]...)
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// list gives the list of a build's steps, made where no build has listed the same.
func (w *writer) list(ctx context.Context, b *artifacts.Build) (int64, error) {
	all := sha256.New()
	steps := make([][]byte, len(b.Steps))
	for i := range b.Steps {
		steps[i] = identity(b.RecipePath, &b.Steps[i])
		all.Write(steps[i])
	}
	digest := all.Sum(nil)
	var id int64
	err := w.row(ctx, `SELECT id FROM _list WHERE digest = ?`, digest).Scan(&id)
	if err == nil || !noRow(err) {
		return id, err
	}
	ids, err := w.steps(ctx, b, steps)
	if err != nil {
		return 0, err
	}
	done, err := w.exec(ctx, `INSERT INTO _list (digest, steps) VALUES (?,?)`, digest, ids)
	if err != nil {
		return 0, err
	}
	return done.LastInsertId()
}

// steps gives the rows of a build's steps as a JSON list.
func (w *writer) steps(ctx context.Context, b *artifacts.Build, identities [][]byte) (string, error) {
	known, err := w.knownSteps(ctx, identities)
	if err != nil {
		return "", err
	}
	ids := []byte{'['}
	for i := range b.Steps {
		id := known[i]
		if id == 0 {
			if id, err = w.step(ctx, b, i, identities[i]); err != nil {
				return "", err
			}
		}
		if i > 0 {
			ids = append(ids, ',')
		}
		ids = strconv.AppendInt(ids, id, 10)
	}
	return string(append(ids, ']')), nil
}

// knownSteps gives the rows of those steps that are there, 0 for the others.
func (w *writer) knownSteps(ctx context.Context, identities [][]byte) ([]int64, error) {
	known := make([]int64, len(identities))
	list := []byte{'['}
	for i, identity := range identities {
		if i > 0 {
			list = append(list, ',')
		}
		list = append(hex.AppendEncode(append(list, '"'), identity), '"')
	}
	rows, err := w.tx.QueryContext(ctx, `SELECT e.key, s.id FROM json_each(?) e CROSS JOIN _step s ON s.digest = unhex(e.value)`, string(append(list, ']')))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var at int
		var id int64
		if err := rows.Scan(&at, &id); err != nil {
			return nil, err
		}
		if at >= len(known) {
			return nil, fmt.Errorf("%w: step %d of %d", errUnusable, at, len(known))
		}
		known[at] = id
	}
	return known, rows.Err()
}

func (w *writer) step(ctx context.Context, b *artifacts.Build, at int, identity []byte) (int64, error) {
	s := &b.Steps[at]
	done, err := w.exec(ctx, `INSERT INTO _step (digest, recipe_path, address, kind, key, record, state, reason, log, last, position)
		VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`,
		identity, b.RecipePath, s.Address, s.Kind, text(s.Key.Digest()), text(s.Record), string(s.State), s.Reason, text(s.Log), b.ID, at)
	if err != nil {
		return 0, err
	}
	n, err := done.RowsAffected()
	if err != nil {
		return 0, err
	}
	if n == 1 {
		return done.LastInsertId()
	}
	var id int64 // the build lists it twice
	return id, w.row(ctx, `SELECT id FROM _step WHERE digest = ?`, identity).Scan(&id)
}

// used tells the steps of a list of a build that has it, if that is their last.
func (w *writer) used(ctx context.Context, list int64, build string) error {
	// MATERIALIZED, since SQLite would else look through all steps there are.
	_, err := w.exec(ctx, `WITH u AS MATERIALIZED (SELECT e.value AS step, e.key AS place FROM _list l, json_each(l.steps) e WHERE l.id = ?2)
		UPDATE _step SET last = ?1, position = u.place FROM u WHERE _step.id = u.step AND _step.last < ?1`, build, list)
	return err
}

// unlist takes out the lists and steps that no build has any more, and looks for the last build of the others.
func (w *writer) unlist(ctx context.Context) error {
	for _, q := range []string{
		`DELETE FROM _list WHERE id NOT IN (SELECT list FROM _build)`,
		`DELETE FROM _step WHERE id NOT IN (SELECT e.value FROM _list l, json_each(l.steps) e)`,
		`WITH u AS MATERIALIZED (SELECT e.value AS step, max(b.build) AS build, e.key AS place
			FROM (SELECT list, max(build) AS build FROM _build GROUP BY list) b JOIN _list l ON l.id = b.list, json_each(l.steps) e GROUP BY e.value)
		UPDATE _step SET last = u.build, position = u.place FROM u WHERE _step.id = u.step`,
	} {
		if _, err := w.exec(ctx, q); err != nil {
			return err
		}
	}
	return nil
}
