package lineage_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/lineage"
)

func TestQueryAnswersFromTheViews(t *testing.T) {
	w := newWorld(t)
	c := w.chain()
	x := w.index()
	for query, want := range map[string][][]any{
		`SELECT address, value FROM metrics JOIN runs USING (run) WHERE name = 'perplexity' ORDER BY value`: {
			{"perplexity.int4", 22.5}, {"perplexity.int4", 40.0},
		},
		`SELECT path, value FROM params WHERE kind = 'gptq' AND run = '` + c.four.digest.String() + `' ORDER BY path`: {
			{"bits", int64(4)}, {"group.size", int64(64)},
		},
		`SELECT path, value FROM params WHERE kind = 'download' ORDER BY path`: {{"pins[0].path", "f"}, {"pins[0].size", int64(4)}},
		`SELECT input, input_port, run, output_port, output FROM edges WHERE run = '` + c.four.digest.String() + `'`: {
			{c.base.Outputs["model"].String(), "model", c.four.digest.String(), "model", c.four.Outputs["model"].String()},
		},
		`SELECT count(*), count(input) FROM edges`: {{int64(5), int64(4)}},
		`SELECT address, state, reason FROM steps WHERE build = '` + c.second.ID + `' AND state = 'failed'`: {
			{"compare.both", "failed", "it crashed"},
		},
		`SELECT build, recipe_path, host, exit, seconds FROM builds ORDER BY build LIMIT 1`: {{c.first.ID, "/r/a.hcl", "lab", int64(0), 60.0}},
		`SELECT type, bytes, files, labels FROM artifacts WHERE artifact = '` + c.three.Outputs["model"].String() + `'`: {
			{"files", int64(6), int64(1), `{"scheme":"gptq"}`},
		},
		`SELECT sum(seconds), max(peak_memory_bytes), min(ended) FROM runs WHERE kind = 'gptq'`:            {{200.0, int64(1 << 30), "2026-03-01T23:52:00.000000000Z"}},
		`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT max(i) FROM n`: {{int64(3)}},
	} {
		table, err := x.Query(t.Context(), query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
		} else if !reflect.DeepEqual(table.Rows, want) {
			t.Errorf("%s:\ngot  %v\nwant %v", query, table.Rows, want)
		}
	}
}

// TestQueryOnlyReads: each of these must be refused, and leave no trace.
func TestQueryOnlyReads(t *testing.T) {
	w := newWorld(t)
	w.chain()
	x := w.index()
	before := everything(t, x)
	dir := t.TempDir()
	elsewhere := filepath.Join(dir, "elsewhere.db")
	for _, query := range []string{
		`DELETE FROM _run`, `UPDATE _run SET day = 'x'`, `INSERT INTO _name VALUES ('a', 'b')`, `DROP TABLE _run`, `DROP VIEW runs`,
		`CREATE TABLE x (a)`, `CREATE TEMP TABLE x (a)`, `CREATE VIEW v AS SELECT 1`, `ALTER TABLE _run RENAME TO y`, `VACUUM`, `REINDEX`, `ANALYZE`,
		`VACUUM INTO '` + elsewhere + `'`, `ATTACH '` + elsewhere + `' AS e`, `ATTACH ':memory:' AS e`, `DETACH main`,
		`SELECT load_extension('/tmp/x.so')`, `PRAGMA query_only = 0`, `PRAGMA user_version = 1`, `PRAGMA journal_mode = DELETE`,
		`PRAGMA writable_schema = 1`, `BEGIN IMMEDIATE`, `SAVEPOINT s`, `SELECT 1; DELETE FROM _run`, `DELETE FROM _run RETURNING record`,
		`WITH x AS (SELECT 1) DELETE FROM _run`, `EXPLAIN DELETE FROM _run`, `SELECT writefile('` + elsewhere + `', 'x')`,
		`SELECT readfile('/etc/passwd')`, `SELECT length(zeroblob(1000000000))`, `SELECT nonsense FROM runs`, `nonsense`,
		`SELECT 1 -- all` + "\n" + `; -- a comment is a statement without an answer`, ``, `-- only this`,
	} {
		table, err := x.Query(t.Context(), query)
		if !errors.Is(err, lineage.ErrQuery) {
			t.Errorf("%s: %v, %v", query, table, err)
		}
	}
	if after := everything(t, x); !reflect.DeepEqual(before, after) {
		t.Error("a query changed the index")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("a query left %v behind, %v", left, err)
	}
}

func TestEndlessQueryEndsWithItsContext(t *testing.T) {
	x := newWorld(t).index()
	stop := errors.New("enough of this")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, stop)
	defer cancel()
	_, err := x.Query(ctx, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n`)
	if !errors.Is(err, stop) {
		t.Errorf("the query ended with %v", err)
	}
}

func TestQueryOfNothing(t *testing.T) {
	table, err := newWorld(t).index().Query(t.Context(), `SELECT run, kind FROM runs`)
	if err != nil || fmt.Sprint(table.Columns) != "[run kind]" || len(table.Rows) != 0 {
		t.Errorf("got %v, %v", table, err)
	}
}
