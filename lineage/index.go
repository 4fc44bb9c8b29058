package lineage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// FileName is what the index is called in a cache's folder.
const FileName = "lineage.sqlite"

// Index is an open index. It is safe for concurrent use; several processes may have one file open.
type Index struct {
	// Progress, where set before the first Sync, is told how many of so many new names have been read.
	Progress func(done, total int)

	mu    sync.RWMutex // held by Sync and by whatever changes the fields below; shared by questions
	path  string
	temp  string // folder of an index that is this process's own, removed by Close
	guard *guard
	db    *sql.DB
	file  fs.FileInfo      // what path led to when it was opened
	cache *artifacts.Cache // of the last Sync
	notes []string
}

// Open opens the index at path, and makes one where there is none. What is no index of this version, or is damaged, is
// thrown away. Where the place cannot be written to, an index of this process's own is used instead; Notes says so.
func Open(ctx context.Context, path string) (*Index, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("lineage index %s: %w", path, err)
	}
	x := &Index{path: abs}
	err = x.openOrReset(ctx)
	if err == nil || ctx.Err() != nil {
		return x, err
	}
	dir, terr := os.MkdirTemp("", "tinfra-lineage-")
	if terr != nil {
		return nil, fmt.Errorf("lineage index: %w; nor can this command make one of its own: %w; set TMPDIR to a folder that you can write to", err, terr)
	}
	x.note("the lineage index %s cannot be used (%v): this command makes one of its own, which takes longer", abs, err)
	x.path, x.temp = filepath.Join(dir, FileName), dir
	if err := x.openOrReset(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return x, nil
}

// Path is where the index is: not where it was asked for if that place cannot be written to.
func (x *Index) Path() string { return x.path }

// Notes are what a person should know of the index, each said once: that it was thrown away, or cannot be kept.
func (x *Index) Notes() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	notes := x.notes
	x.notes = nil
	return notes
}

func (x *Index) note(format string, args ...any) {
	x.notes = append(x.notes, fmt.Sprintf(format, args...))
}

// Close gives the index back.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	err := x.shut()
	if x.temp != "" {
		err = errors.Join(err, os.RemoveAll(x.temp))
		x.temp = ""
	}
	return err
}

func (x *Index) shut() error {
	var err error
	if x.db != nil {
		err = x.db.Close()
		x.db = nil
	}
	if x.guard != nil {
		err = errors.Join(err, x.guard.release())
		x.guard = nil
	}
	return err
}

// openOrReset opens the file; what cannot be used as it is, is made anew.
func (x *Index) openOrReset(ctx context.Context) error {
	err := x.open(ctx)
	if !errors.Is(err, errUnusable) {
		return err
	}
	return x.reset(ctx, err)
}

// open takes the shared lock, opens the file and sees that it is an index of this version. Where there is none it is
// made; of several processes that do so one wins, and the others find it there.
func (x *Index) open(ctx context.Context) error {
	x.guard = newGuard(x.path)
	err := x.guard.share(ctx)
	if err == nil {
		err = writable(x.path)
	}
	if err == nil {
		x.db = connect(x.path)
		err = prepare(ctx, x.db)
	}
	if err == nil {
		x.file, err = os.Stat(x.path)
	}
	if err != nil {
		return errors.Join(err, x.shut())
	}
	return nil
}

// writable sees to it that path can be written to before SQLite opens it, which would notice with the first new record. What
// is not there is made: SQLite gives it, and the log beside it, to its owner alone, whatever the umask says.
func writable(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), unix.Access(filepath.Dir(path), unix.W_OK))
}

// reset throws the file away, once nobody has it open, and makes it anew; unless another process has done so meanwhile.
func (x *Index) reset(ctx context.Context, why error) error {
	if err := x.shut(); err != nil {
		return err
	}
	g := newGuard(x.path)
	if err := g.exclude(ctx); err != nil {
		return fmt.Errorf("another process uses the lineage index, which must be made anew: %w", errors.Join(err, g.release()))
	}
	db := connect(x.path)
	err := check(ctx, db)
	err = errors.Join(err, db.Close())
	if errors.Is(err, errUnusable) {
		x.note("the lineage index %s was thrown away and is made again from the records: %s", x.path, reason(why))
		err = discard(x.path)
	}
	if err = errors.Join(err, g.release()); err != nil {
		return fmt.Errorf("making the lineage index anew: %w", err)
	}
	return x.open(ctx)
}

// discard removes the index's files. The caller has it locked.
func discard(path string) error {
	var err error
	// The file first: SQLite drops a log without one, while a file without its log may lack half of what it seems to hold.
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if rerr := os.RemoveAll(path + suffix); rerr != nil {
			err = errors.Join(err, rerr)
		}
		if suffix == "" {
			artifacts.Reached(artifacts.StepIndexDropped)
		}
	}
	return err
}

func reason(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	return strings.TrimPrefix(text, errUnusable.Error()+": ")
}

// current reopens the index where one of its files has been deleted or replaced since it was opened.
func (x *Index) current(ctx context.Context) error {
	if x.db != nil && x.whole() {
		return nil
	}
	if err := x.shut(); err != nil {
		return err
	}
	return x.openOrReset(ctx)
}

func (x *Index) whole() bool {
	now, err := os.Stat(x.path)
	for _, suffix := range []string{"-wal", "-shm"} {
		if err == nil {
			_, err = os.Stat(x.path + suffix)
		}
	}
	return err == nil && os.SameFile(now, x.file)
}
