package lineage

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// entry is a record with its action.
type entry struct {
	digest artifacts.Digest
	action *artifacts.Action
	record *artifacts.Record
	params map[string]json.RawMessage
}

func newEntry(d artifacts.Digest, a *artifacts.Action, r *artifacts.Record) (*entry, error) {
	e := &entry{digest: d, action: a, record: r}
	if err := json.Unmarshal(a.Params, &e.params); err != nil {
		return nil, fmt.Errorf("params of %s: %w", a.Kind, err)
	}
	return e, nil
}

// entryOf checks that the two belong together.
func entryOf(a *artifacts.Action, r *artifacts.Record) (*entry, error) {
	_, d, err := r.Encode()
	if err != nil {
		return nil, err
	}
	_, key, err := a.Encode()
	if err != nil {
		return nil, err
	}
	if key != r.Key {
		return nil, fmt.Errorf("record %s is of key %s, and the action's is %s", d.Short(), r.Key.Short(), key.Short())
	}
	return newEntry(d, a, r)
}

// timeLayout has a fixed width, so that times sort as texts; SQLite's date functions read it.
const timeLayout = "2006-01-02T15:04:05.000000000Z"

func timeText(t time.Time) string { return t.UTC().Format(timeLayout) }

// text is a digest as stored; zero is null.
func text(d artifacts.Digest) sql.NullString {
	return sql.NullString{String: d.String(), Valid: !d.IsZero()}
}

func jsonText[V any](v map[string]V) (string, error) {
	if len(v) == 0 {
		return "{}", nil // not null, for SQLite's JSON functions
	}
	return jsonOf(v)
}

func jsonOf(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return string(bytes.TrimSpace(b.Bytes())), err
}

// add stores runs, as much as is not there already.
func (w *writer) addRun(ctx context.Context, day string, e *entry, types map[artifacts.Digest]string) error {
	action, err := w.action(ctx, e, types)
	if err != nil {
		return err
	}
	r := e.record
	outputs, err := jsonText(r.Outputs)
	if err != nil {
		return err
	}
	metrics, err := jsonText(r.Metrics)
	if err != nil {
		return err
	}
	observed, err := jsonText(r.Observed)
	if err != nil {
		return err
	}
	var peak sql.NullInt64
	if n, err := strconv.ParseInt(r.Observed["peak_memory_bytes"], 10, 64); err == nil {
		peak = sql.NullInt64{Int64: n, Valid: true}
	}
	done, err := w.exec(ctx, `INSERT INTO _run (record, day, action, outputs, metrics, observed, started, ended, seconds,
			peak_memory_bytes, builder, log) VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`,
		e.digest.String(), day, action, outputs, metrics, observed, timeText(r.Started), timeText(r.Ended),
		r.Ended.Sub(r.Started).Seconds(), peak, r.Builder, text(r.Log))
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); n == 0 || err != nil {
		return err // another process was first
	}
	run, err := done.LastInsertId()
	if err != nil {
		return err
	}
	for _, port := range slices.Sorted(maps.Keys(r.Outputs)) {
		id, err := w.artifact(ctx, r.Outputs[port], types[r.Outputs[port]])
		if err != nil {
			return err
		}
		if _, err := w.exec(ctx, `INSERT INTO _output (run, port, artifact) VALUES (?,?,?)`, run, port, id); err != nil {
			return err
		}
	}
	return w.names(ctx, e)
}

func (w *writer) action(ctx context.Context, e *entry, types map[artifacts.Digest]string) (int64, error) {
	a := e.action
	for port, d := range e.record.Outputs {
		types[d] = a.Outputs[port]
	}
	inputs, err := jsonText(a.Inputs)
	if err != nil {
		return 0, err
	}
	facts, err := jsonText(a.Facts)
	if err != nil {
		return 0, err
	}
	done, err := w.exec(ctx, `INSERT INTO _action (key, kind, params, inputs, facts, worker, env, salt) VALUES (?,?,?,?,?,?,?,?)
		ON CONFLICT DO NOTHING`,
		e.record.Key.String(), a.Kind, string(a.Params), inputs, facts, a.Worker.String(), text(a.Env), a.Salt)
	if err != nil {
		return 0, err
	}
	if n, err := done.RowsAffected(); err != nil {
		return 0, err
	} else if n == 0 {
		var id int64
		return id, w.row(ctx, `SELECT id FROM _action WHERE key = ?`, e.record.Key.String()).Scan(&id)
	}
	id, err := done.LastInsertId()
	if err != nil {
		return 0, err
	}
	for _, port := range slices.Sorted(maps.Keys(a.Inputs)) {
		input, err := w.artifact(ctx, a.Inputs[port], "")
		if err != nil {
			return 0, err
		}
		if _, err := w.exec(ctx, `INSERT INTO _input (action, port, artifact) VALUES (?,?,?)`, id, port, input); err != nil {
			return 0, err
		}
	}
	return id, nil
}

// names keeps what metrics, params and so on are called, for conditions that misspell them.
func (w *writer) names(ctx context.Context, e *entry) error {
	for _, space := range []struct {
		name string
		keys []string
	}{
		{"metrics", slices.Collect(maps.Keys(e.record.Metrics))},
		{"params", slices.Collect(maps.Keys(e.params))},
		{"facts", slices.Collect(maps.Keys(e.action.Facts))},
		{"observed", slices.Collect(maps.Keys(e.record.Observed))},
	} {
		for _, name := range space.keys {
			if err := w.name(ctx, space.name, name); err != nil {
				return err
			}
		}
	}
	return nil
}
