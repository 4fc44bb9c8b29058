package lineage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/mattn/go-sqlite3"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// ErrUnchecked: an index could not be looked at, for a reason that says nothing of it: no room, no rights, no locks, or
// others who use it.
var ErrUnchecked = errors.New("not compared with the records")

// Verify says what is wrong with the index at path; nil if nothing is, or there is none. It has SQLite check the file. With
// compare, for a cache that is sound itself, it brings the index up to date, and compares what each view says with an index
// that is made anew: in a value, a bit may flip that SQLite has no checksum for.
func Verify(ctx context.Context, path string, cache *artifacts.Cache, compare bool) (problem, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	problem, err = verify(ctx, path, cache, compare)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if circumstance(problem) || circumstance(err) {
		return nil, fmt.Errorf("the lineage index %s: %w: %w", path, ErrUnchecked, errors.Join(problem, err))
	}
	return problem, err
}

func verify(ctx context.Context, path string, cache *artifacts.Cache, compare bool) (problem, err error) {
	dir, err := os.MkdirTemp("", "tinfra-lineage-")
	if err != nil {
		return nil, fmt.Errorf("verifying the lineage index: %w", err)
	}
	defer os.RemoveAll(dir)
	fresh := &Index{path: filepath.Join(dir, FileName), cache: cache}
	if err := fresh.open(ctx); err != nil {
		return nil, fmt.Errorf("verifying the lineage index: %w", err)
	}
	defer fresh.Close() //nolint:errcheck // it is thrown away
	x := &Index{path: path, cache: cache}
	defer x.Close() //nolint:errcheck // it was only read, and is looked at again when next opened
	if problem = x.sound(ctx); problem == nil && compare {
		problem, err = x.sameAs(ctx, fresh)
	}
	return problem, err
}

// circumstance tells an error of the place or the moment from one of the file.
func circumstance(err error) bool {
	for _, no := range []error{
		fs.ErrPermission, syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT, syscall.ENOLCK, syscall.ENOSYS, syscall.EOPNOTSUPP, context.DeadlineExceeded,
	} {
		if errors.Is(err, no) {
			return true
		}
	}
	e, ok := errors.AsType[sqlite3.Error](err)
	return ok && slices.Contains([]sqlite3.ErrNo{sqlite3.ErrFull, sqlite3.ErrReadonly, sqlite3.ErrPerm, sqlite3.ErrBusy, sqlite3.ErrLocked, sqlite3.ErrNomem}, e.Code)
}

// sound has SQLite look at each page.
func (x *Index) sound(ctx context.Context) error {
	if err := x.open(ctx); err != nil {
		return err
	}
	var said string
	if err := x.db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&said); err != nil {
		return classify("checking the lineage index", err)
	}
	if said != "ok" {
		return fmt.Errorf("%w: %s", errUnusable, said)
	}
	return nil
}

// sameAs compares x with an index made anew. Builds may publish meanwhile, so that the second one to be brought up to date
// knows more: then both are asked again.
func (x *Index) sameAs(ctx context.Context, fresh *Index) (problem, err error) {
	for range 3 {
		if problem = x.syncOnce(ctx); problem != nil {
			return problem, nil
		}
		if err := fresh.syncOnce(ctx); err != nil {
			return nil, fmt.Errorf("making an index to compare with: %w", err)
		}
		if problem = x.differs(ctx, fresh.path); problem == nil {
			return nil, nil
		}
	}
	return problem, nil
}

// compared is all that questions are answered from.
var compared = []string{
	"SELECT * FROM %s.builds", "SELECT * FROM %s.steps", "SELECT * FROM %s.runs", "SELECT * FROM %s.artifacts", "SELECT * FROM %s.edges",
	"SELECT * FROM %s.metrics", "SELECT * FROM %s.params", "SELECT * FROM %s._skipped",
	"SELECT record, day, outputs, metrics, observed FROM %s._run", "SELECT key, inputs FROM %s._action",
	"SELECT digest, day FROM %s._build",
}

func (x *Index) differs(ctx context.Context, fresh string) error {
	conn, err := x.db.Conn(ctx)
	if err != nil {
		return classify("checking the lineage index", err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "ATTACH ? AS fresh", fresh); err != nil {
		return classify("checking the lineage index", err)
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), "DETACH fresh") //nolint:errcheck // the connection is closed with the index
	for _, q := range compared {
		mine, other := fmt.Sprintf(q, "main"), fmt.Sprintf(q, "fresh")
		var more, fewer, count int
		err := conn.QueryRowContext(ctx, fmt.Sprintf(`SELECT (SELECT count(*) FROM (%[1]s EXCEPT %[2]s)), (SELECT count(*) FROM (%[2]s EXCEPT %[1]s)),
			(SELECT count(*) FROM (%[1]s)) - (SELECT count(*) FROM (%[2]s))`, mine, other)).Scan(&more, &fewer, &count)
		if err != nil {
			return classify("checking the lineage index", err)
		}
		if more != 0 || fewer != 0 || count != 0 {
			return fmt.Errorf("%w: it says something else than the records: %s", errUnusable, mine)
		}
	}
	return nil
}

// Rebuild throws the index away, once nobody has it open, and makes it anew.
func Rebuild(ctx context.Context, path string, cache *artifacts.Cache) error {
	g := newGuard(path)
	err := g.exclude(ctx)
	if err == nil {
		err = discard(path)
	}
	if err = errors.Join(err, g.release()); err != nil {
		return fmt.Errorf("making the lineage index anew: %w", err)
	}
	x, err := Open(ctx, path)
	if err != nil {
		return err
	}
	return errors.Join(x.Sync(ctx, cache), x.Close())
}
