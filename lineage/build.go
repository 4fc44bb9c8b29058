package lineage

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

const buildColumns = `SELECT id, build, recipe, recipe_path, variables, targets, lock, "commit", host, started, ended, exit, problem FROM _build`

// Build gives a build by its ID, with its steps, failed ones too.
func (x *Index) Build(ctx context.Context, id string) (*artifacts.Build, error) {
	builds, err := x.builds(ctx, ` WHERE build = ? LIMIT 1`, id)
	if err != nil {
		return nil, err
	}
	if len(builds) == 0 {
		return nil, unknown("build %s", id)
	}
	return builds[0], nil
}

// Builds gives the builds of a recipe, of all where the path is "", the oldest first.
func (x *Index) Builds(ctx context.Context, recipePath string) ([]*artifacts.Build, error) {
	if recipePath == "" {
		return x.builds(ctx, ` ORDER BY build`)
	}
	return x.builds(ctx, ` WHERE recipe_path = ? ORDER BY build`, recipePath)
}

func (x *Index) builds(ctx context.Context, which string, args ...any) ([]*artifacts.Build, error) {
	var out []*artifacts.Build
	byID := map[int64]*artifacts.Build{}
	err := x.ask(ctx, func(row scanner) error {
		id, b, err := scanBuild(row)
		out = append(out, b)
		byID[id] = b
		return err
	}, buildColumns+which, args...)
	if err != nil || len(out) == 0 {
		return out, err
	}
	err = x.ask(ctx, func(row scanner) error {
		of, s, err := scanStep(row)
		if b := byID[of]; b != nil {
			b.Steps = append(b.Steps, s)
		}
		return err
	}, `SELECT b.id, s.address, s.kind, s.key, s.record, s.state, s.reason, s.log
		FROM (SELECT id, list FROM _build`+which+`) b CROSS JOIN _list l ON l.id = b.list CROSS JOIN json_each(l.steps) e
			CROSS JOIN _step s ON s.id = e.value ORDER BY b.id, e.key`, args...)
	return out, err
}

func scanBuild(row scanner) (int64, *artifacts.Build, error) {
	b := &artifacts.Build{Steps: []artifacts.Step{}}
	var id int64
	var recipe, lock sql.NullString
	var variables, targets []byte
	var started, ended string
	err := row.Scan(&id, &b.ID, &recipe, &b.RecipePath, &variables, &targets, &lock, &b.Commit, &b.Host, &started, &ended, &b.Exit, &b.Problem)
	if err != nil {
		return 0, b, err
	}
	var errs [5]error
	b.Recipe, errs[0] = digestOf(recipe)
	b.Lock, errs[1] = digestOf(lock)
	errs[2] = json.Unmarshal(variables, &b.Variables)
	errs[3] = json.Unmarshal(targets, &b.Targets)
	errs[4] = parseTimes(started, ended, &b.Started, &b.Ended)
	if err := errors.Join(errs[:]...); err != nil {
		return 0, b, fmt.Errorf("%w: build %s: %w", errUnusable, b.ID, err)
	}
	return id, b, nil
}

func scanStep(row scanner) (int64, artifacts.Step, error) {
	var s artifacts.Step
	var of int64
	var key, record, log sql.NullString
	var state string
	if err := row.Scan(&of, &s.Address, &s.Kind, &key, &record, &state, &s.Reason, &log); err != nil {
		return 0, s, err
	}
	s.State = artifacts.State(state)
	k, err := digestOf(key)
	s.Key = artifacts.Key(k)
	var err2, err3 error
	s.Record, err2 = digestOf(record)
	s.Log, err3 = digestOf(log)
	return of, s, errors.Join(err, err2, err3)
}
