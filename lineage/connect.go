package lineage

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/mattn/go-sqlite3"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// errUnusable: the file is no index of this version, or is damaged. It can be thrown away.
var errUnusable = errors.New("unusable index")

// connector opens connections with the settings of its DSN, without a driver name in database/sql's registry.
type connector struct {
	driver *sqlite3.SQLiteDriver
	dsn    string
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c connector) Driver() driver.Driver                        { return c.driver }

func dsn(path, settings string) string {
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: settings}).String()
}

const maxConnections = 4 // to one file, of one process

func connect(path string) *sql.DB {
	db := sql.OpenDB(connector{
		&sqlite3.SQLiteDriver{ConnectHook: settle},
		dsn(path, "_txlock=immediate&_busy_timeout=10000&_journal_mode=WAL&_synchronous=NORMAL"),
	})
	db.SetMaxOpenConns(maxConnections)
	return db
}

// keepLog leaves the write-ahead log in its place when the last connection closes. SQLite would unlink it by name: after
// someone has deleted the index, that name may be another process's new log.
func keepLog(c *sqlite3.SQLiteConn) error {
	return c.SetFileControlInt("main", sqlite3.SQLITE_FCNTL_PERSIST_WAL, 1)
}

// logPages is how long the log may grow before it is moved into the file by itself, 64 MiB: Sync does that at its end, and
// a rebuild would otherwise wait for the disk hundreds of times.
const logPages = 16 << 10

// cacheSize is how much of the file a connection may keep, in KiB. Digests come in no order, so that each new record goes to
// other pages of the indices of digests: those of 100,000 fit in here.
const cacheSize = 64 << 10

func settle(c *sqlite3.SQLiteConn) error {
	if err := keepLog(c); err != nil {
		return err
	}
	_, err := c.Exec(fmt.Sprintf("PRAGMA wal_autocheckpoint = %d; PRAGMA cache_size = -%d", logPages, cacheSize), nil)
	return err
}

// prepare makes the schema in an empty file, and checks that of any other.
func prepare(ctx context.Context, db *sql.DB) error {
	err := check(ctx, db)
	if !errors.Is(err, errEmpty) {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return classify("making the lineage index", err)
	}
	defer tx.Rollback() //nolint:errcheck // after a Commit it has nothing to undo
	if err := checkIn(ctx, tx); !errors.Is(err, errEmpty) {
		return err // another process was first
	}
	header := fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d;", applicationID, schemaVersion)
	if _, err := tx.ExecContext(ctx, header+tables+views); err != nil {
		return classify("making the lineage index", err)
	}
	if err := tx.Commit(); err != nil {
		return classify("making the lineage index", err)
	}
	artifacts.Reached(artifacts.StepIndexMade)
	return nil
}

var errEmpty = fmt.Errorf("%w: it is empty", errUnusable)

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func check(ctx context.Context, db *sql.DB) error { return checkIn(ctx, db) }

// checkIn tells our schema from another version's, a stranger's and none.
func checkIn(ctx context.Context, q querier) error {
	var id, version, objects int
	err := q.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!')`).Scan(&id, &version, &objects)
	switch {
	case err != nil:
		return classify("opening the lineage index", err)
	case id == 0 && version == 0 && objects == 0:
		return errEmpty
	case id != applicationID:
		return fmt.Errorf("%w: it is another program's database", errUnusable)
	case version != schemaVersion:
		return fmt.Errorf("%w: another version of tinfra made it", errUnusable)
	case objects != strings.Count(tables+views, "CREATE "):
		return fmt.Errorf("%w: a part of it is missing", errUnusable)
	}
	return nil
}

// classify wraps an error of SQLite, and marks those that say that the file is damaged.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	var e sqlite3.Error
	if errors.As(err, &e) {
		// A short read is what a truncated file gives.
		if e.Code == sqlite3.ErrCorrupt || e.Code == sqlite3.ErrNotADB || e.ExtendedCode == sqlite3.ErrIoErrShortRead {
			return fmt.Errorf("%w: %w", errUnusable, err)
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}
