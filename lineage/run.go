package lineage

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Run is one record with its action: what was asked, what came out, where and when.
type Run struct {
	Record      artifacts.Digest            `json:"record"`
	Key         artifacts.Key               `json:"key"`
	Kind        string                      `json:"kind"`
	Address     string                      `json:"address,omitempty"` // in BuildID; "" where no build is known to have used it
	BuildID     string                      `json:"build,omitempty"`   // the build asked for, else the last one that used the record
	State       artifacts.State             `json:"state,omitempty"`   // in BuildID: hit or ran
	Params      map[string]any              `json:"params"`
	Metrics     map[string]float64          `json:"metrics"`
	Observed    map[string]string           `json:"observed,omitempty"`
	Facts       map[string]string           `json:"facts,omitempty"`
	Labels      map[string]string           `json:"labels,omitempty"` // of all outputs
	Inputs      map[string]artifacts.Digest `json:"inputs,omitempty"` // port, or port[key] → manifest
	Outputs     map[string]artifacts.Digest `json:"outputs"`
	OutputBytes int64                       `json:"outputBytes"`
	PeakMemory  int64                       `json:"peakMemoryBytes,omitempty"` // 0: not measured
	Worker      artifacts.Digest            `json:"worker"`
	Env         artifacts.Digest            `json:"env,omitzero"`
	Salt        string                      `json:"salt,omitempty"`
	Log         artifacts.Digest            `json:"log,omitzero"`
	Builder     string                      `json:"builder"`
	Started     time.Time                   `json:"started"`
	Ended       time.Time                   `json:"ended"`
}

// Seconds is how long the run took.
func (r *Run) Seconds() float64 { return r.Ended.Sub(r.Started).Seconds() }

// Filter chooses runs. Its zero value is all of them, the last ended first.
type Filter struct {
	Build      string             // ID: the steps of that build which have a record, in its order, one Run each
	Kind       string             // of that kind only
	Address    string             // known under that address in some build, or one that belongs to it
	RecipePath string             // used by a build of that recipe
	Records    []artifacts.Digest // these only
	Key        artifacts.Key      // of that action only
	Where      *Condition         // those that it holds for
	Sort       string             // a metric, or one of seconds, ended, peak_memory, size; "" keeps the order said above
	Descending bool               // the largest first; runs without the metric come last either way
	Limit      int                // at most this many; 0 for all
	Brief      bool               // leaves out params, observed, facts, inputs and outputs; without Where only
}

// runColumns end with what is summed up over the outputs, which whoever has those at hand leaves out.
const (
	runColumns = `SELECT r.record, a.key, a.kind, s.address, s.last, s.state, a.params, r.metrics, r.observed, a.facts,
	a.inputs, r.outputs, r.peak_memory_bytes, a.worker, a.env, a.salt, r.log, r.builder, r.started, r.ended, `
	outputSums = `(SELECT sum(t.bytes) FROM _output o JOIN _artifact t ON t.id = o.artifact WHERE o.run = r.id) AS size,
	(SELECT json_group_array(json(t.labels)) FROM _output o JOIN _artifact t ON t.id = o.artifact WHERE o.run = r.id AND t.labels <> '{}')`
	noSums = `0, '[]'`
	brief  = `SELECT r.record, a.key, a.kind, s.address, s.last, s.state, '{}', r.metrics, '{}', '{}', '{}', '{}',
	r.peak_memory_bytes, a.worker, a.env, a.salt, r.log, r.builder, r.started, r.ended, ` + outputSums
)

const lastUse = ` FROM _run r JOIN _action a ON a.id = r.action
	LEFT JOIN _step s ON s.id = (SELECT u.id FROM _step u WHERE u.record = r.record%s ORDER BY u.last DESC, u.position LIMIT 1)`

// stepsOf is the steps of a build, of which it is the last one for the purpose.
const stepsOf = `(SELECT s.address, s.record, s.state, b.build AS last, b.id AS of, e.key AS place
	FROM _build b CROSS JOIN _list l ON l.id = b.list CROSS JOIN json_each(l.steps) e CROSS JOIN _step s ON s.id = e.value WHERE b.build = ?) s`

// Runs gives the runs that a filter chooses.
func (x *Index) Runs(ctx context.Context, f Filter) ([]Run, error) {
	query, args, err := f.query()
	if err != nil {
		return nil, err
	}
	out := []Run{}
	var matching *matcher
	if f.Where != nil {
		if matching, err = x.matcher(ctx, f.Where); err != nil {
			return nil, err
		}
	}
	err = x.ask(ctx, func(row scanner) error {
		r, err := scanRun(row)
		if err != nil {
			return err
		}
		if matching != nil && !matching.holds(&r) {
			return nil
		}
		out = append(out, r)
		if len(out) == f.Limit {
			return errEnough
		}
		return nil
	}, query, args...)
	if err == nil && matching != nil && len(out) == 0 {
		err = matching.trouble()
	}
	return out, err
}

func (f *Filter) query() (string, []any, error) {
	var where []string
	var args []any
	from := fmt.Sprintf(lastUse, "")
	order := "r.ended DESC, r.id DESC"
	switch {
	case f.Build != "":
		from = ` FROM ` + stepsOf + ` JOIN _run r ON r.record = s.record JOIN _action a ON a.id = r.action`
		args = append(args, f.Build)
		order = "s.of, s.place"
	case f.RecipePath != "":
		from = fmt.Sprintf(lastUse, ` AND u.recipe_path = ?`)
		where, args = append(where, "s.id IS NOT NULL"), append(args, f.RecipePath)
	}
	if f.Kind != "" {
		where, args = append(where, "a.kind = ?"), append(args, f.Kind)
	}
	for _, c := range f.Where.needed() {
		where, args = append(where, c.sql), append(args, c.args...)
	}
	if f.Address != "" {
		query, with := covers("s.address", f.Address)
		if f.Build == "" {
			query, with = covers("address", f.Address)
			query = "r.record IN (SELECT record FROM _step WHERE " + query + ")"
		}
		where, args = append(where, query), append(args, with...)
	}
	if f.Records != nil {
		where = append(where, "r.record IN (SELECT value FROM json_each(?))")
		args = append(args, digestList(f.Records))
	}
	if !f.Key.IsZero() {
		where, args = append(where, "a.key = ?"), append(args, f.Key.String())
	}
	query := runColumns + outputSums + from
	if f.Brief && f.Where == nil {
		query = brief + from
	}
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	if by, arg := sorting(f.Sort); by != "" {
		direction := ""
		if f.Descending {
			direction = " DESC"
		}
		order = by + direction + " NULLS LAST, " + order
		args = append(args, arg...)
	}
	return query + " ORDER BY " + order, args, nil
}

// sorting is the SQL that sorts by a metric or a column.
func sorting(name string) (string, []any) {
	switch name = strings.TrimPrefix(name, "metrics."); name {
	case "":
		return "", nil
	case "seconds", "started", "ended":
		return "r." + name, nil
	case "peak_memory":
		return "r.peak_memory_bytes", nil
	case "size":
		return "size", nil
	}
	return "(SELECT m.value FROM json_each(r.metrics) m WHERE m.key = ?)", []any{name}
}

// digestList is digests as a JSON array, one argument for any number of them.
func digestList(ds []artifacts.Digest) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, d := range ds {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + d.String() + `"`)
	}
	b.WriteByte(']')
	return b.String()
}

func scanRun(row scanner) (Run, error) {
	var r Run
	var record, key, worker, started, ended string
	var address, build, state, env, log sql.NullString
	var columns [7]sql.RawBytes
	var size, peak sql.NullInt64
	err := row.Scan(&record, &key, &r.Kind, &address, &build, &state, &columns[0], &columns[1], &columns[2], &columns[3], &columns[4],
		&columns[5], &peak, &worker, &env, &r.Salt, &log, &r.Builder, &started, &ended, &size, &columns[6])
	if err != nil {
		return r, err
	}
	r.Address, r.BuildID, r.State = address.String, build.String, artifacts.State(state.String)
	r.OutputBytes, r.PeakMemory = size.Int64, peak.Int64
	r.Params, r.Metrics, r.Outputs = map[string]any{}, map[string]float64{}, map[string]artifacts.Digest{}
	var labels []map[string]string
	for i, into := range []any{&r.Params, &r.Metrics, &r.Observed, &r.Facts, &r.Inputs, &r.Outputs, &labels} {
		if len(columns[i]) <= len("{}") {
			continue
		}
		if jerr := json.Unmarshal(columns[i], into); jerr != nil {
			err = errors.Join(err, jerr)
		}
	}
	for _, l := range labels {
		r.label(l)
	}
	var errs [6]error
	var k artifacts.Digest
	r.Record, errs[0] = artifacts.ParseDigest(record)
	k, errs[1] = artifacts.ParseDigest(key)
	r.Key = artifacts.Key(k)
	r.Worker, errs[2] = artifacts.ParseDigest(worker)
	r.Env, errs[3] = digestOf(env)
	r.Log, errs[4] = digestOf(log)
	errs[5] = parseTimes(started, ended, &r.Started, &r.Ended)
	if err = errors.Join(err, errors.Join(errs[:]...)); err != nil {
		return r, fmt.Errorf("%w: run %s: %w", errUnusable, record, err)
	}
	return r, nil
}

func (r *Run) label(labels map[string]string) {
	if r.Labels == nil && len(labels) > 0 {
		r.Labels = map[string]string{}
	}
	maps.Copy(r.Labels, labels)
}

func parseTimes(started, ended string, s, e *time.Time) error {
	var err, err2 error
	*s, err = time.Parse(timeLayout, started)
	*e, err2 = time.Parse(timeLayout, ended)
	return errors.Join(err, err2)
}
