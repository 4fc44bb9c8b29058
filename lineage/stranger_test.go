package lineage_test

import (
	"database/sql"
	"errors"

	_ "github.com/mattn/go-sqlite3" // registers "sqlite3"
)

// other runs SQL on a file as some other program would.
func other(path, query string) error {
	db, err := sql.Open("sqlite3", "file:"+path)
	if err != nil {
		return err
	}
	_, err = db.Exec(query)
	return errors.Join(err, db.Close())
}
