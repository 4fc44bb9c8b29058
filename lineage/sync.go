package lineage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Folders of a cache that lineage is made of.
const (
	recordsFolder = "records/"
	buildsFolder  = "builds/"
)

// batch is how many names are read and written in one transaction, or a day's more: enough to make its cost small, few
// enough that other processes, and Ctrl-C, do not wait long.
const batch = 4000

// Sync brings the index up to what the cache lists. It reads only what is new, may run in several processes at once, and
// can be interrupted: what was read is kept. A record that cannot be read is left out and listed by Skipped; the others
// go on. An index found damaged is made again.
func (x *Index) Sync(ctx context.Context, cache *artifacts.Cache) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cache = cache
	return x.sync(ctx)
}

func (x *Index) sync(ctx context.Context) error {
	if err := x.current(ctx); err != nil {
		return err
	}
	err := x.syncOnce(ctx)
	if errors.Is(err, errUnusable) {
		if err = x.reset(ctx, err); err == nil {
			err = x.syncOnce(ctx)
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("bringing the lineage index up to date: %w", err)
	}
	return nil
}

func (x *Index) syncOnce(ctx context.Context) error {
	s := &syncer{x: x, cache: x.cache, described: map[artifacts.Digest]bool{}}
	var all []change
	for _, folder := range []string{recordsFolder, buildsFolder} {
		changes, err := s.changes(ctx, folder)
		if err != nil {
			return err
		}
		all = append(all, changes...)
		for _, c := range changes {
			s.total += len(c.added)
		}
	}
	if err := s.apply(ctx, all); err != nil {
		return err
	}
	if err := s.unread(ctx); err != nil || !s.wrote {
		return err
	}
	return x.fold(ctx)
}

// fold moves what was written from the log into the file, unless someone reads: whoever opens the index next would have
// to go through the log.
func (x *Index) fold(ctx context.Context) error {
	conn, err := x.db.Conn(ctx)
	if err != nil {
		return classify("writing the lineage index", err)
	}
	defer conn.Close()
	for _, pragma := range []string{"busy_timeout = 0", "wal_checkpoint(TRUNCATE)", "busy_timeout = 10000"} {
		if _, err := conn.ExecContext(ctx, "PRAGMA "+pragma); err != nil {
			return classify("writing the lineage index", err)
		}
	}
	artifacts.Reached(artifacts.StepIndexFolded)
	return nil
}

// syncer is one Sync.
type syncer struct {
	x           *Index
	cache       *artifacts.Cache
	done, total int                       // names stored, names to store
	wrote       bool                      // anything
	described   map[artifacts.Digest]bool // whose manifest was read, and goes to the writer before what is read later
}

// change is what became of one day since it was last looked at.
type change struct {
	folder, day string
	mark        string   // of the day as it was just before it was listed
	added       []string // hex, or what should be
	removed     []string // digests
}

// apply reads and stores what days have new, batch by batch: while one is written the next is read.
func (s *syncer) apply(ctx context.Context, changes []change) error {
	if err := s.remove(ctx, changes); err != nil {
		return err
	}
	batches := make(chan []*part)
	reading, ctx := errgroup.WithContext(ctx)
	reading.Go(func() error {
		defer close(batches)
		return s.readAll(ctx, changes, batches)
	})
	reading.Go(func() error { return s.storeAll(ctx, batches) })
	return reading.Wait()
}

// remove takes out in one go what is gone: what nothing holds any more is found by a look through all there is.
func (s *syncer) remove(ctx context.Context, changes []change) error {
	changes = slices.DeleteFunc(slices.Clone(changes), func(c change) bool { return len(c.removed) == 0 })
	if len(changes) == 0 {
		return nil
	}
	return s.write(ctx, func(w *writer) error { return w.remove(ctx, changes) })
}

// storeAll stores batches as they come. A day's mark comes after the last of its names, with the next batch: until then the
// day counts as changed.
func (s *syncer) storeAll(ctx context.Context, batches <-chan []*part) error {
	var marks []change
	for parts := range batches {
		before := marks
		marks = nil
		err := s.write(ctx, func(w *writer) error {
			for _, p := range parts {
				if err := w.add(ctx, p); err != nil {
					return err
				}
			}
			return w.marks(ctx, before)
		})
		if err != nil {
			return err
		}
		for _, p := range parts {
			s.done += p.names()
			if p.last {
				marks = append(marks, p.change)
			}
		}
		artifacts.Reached(artifacts.StepIndexBatch)
		if s.x.Progress != nil && s.total > 0 {
			s.x.Progress(s.done, s.total)
		}
	}
	if ctx.Err() != nil || len(marks) == 0 {
		return context.Cause(ctx)
	}
	if err := s.write(ctx, func(w *writer) error { return w.marks(ctx, marks) }); err != nil {
		return err
	}
	artifacts.Reached(artifacts.StepIndexMarked)
	return nil
}

// unread tries again to read the manifests that could not be read when their runs were stored.
func (s *syncer) unread(ctx context.Context) error {
	digests, err := s.x.unreadArtifacts(ctx)
	if err != nil || len(digests) == 0 {
		return err
	}
	found, err := s.manifests(ctx, digests)
	if err != nil || len(found) == 0 {
		return err
	}
	return s.write(ctx, func(w *writer) error { return w.describe(ctx, found) })
}

func (x *Index) unreadArtifacts(ctx context.Context) ([]artifacts.Digest, error) {
	return column(ctx, x.db, artifacts.ParseDigest, `SELECT digest FROM _artifact WHERE bytes IS NULL`)
}

// write runs f in a transaction.
func (s *syncer) write(ctx context.Context, f func(*writer) error) error {
	s.wrote = true
	return s.x.write(ctx, f)
}

func (x *Index) write(ctx context.Context, f func(*writer) error) error {
	tx, err := x.db.BeginTx(ctx, nil)
	if err != nil {
		return classify("writing the lineage index", err)
	}
	defer tx.Rollback() //nolint:errcheck // after a Commit it has nothing to undo
	w := &writer{tx: tx}
	if err := f(w); err != nil {
		return classify("writing the lineage index", err)
	}
	return classify("writing the lineage index", tx.Commit())
}

// Apply adds one run without waiting for the next Sync. It is idempotent, and Sync knows the run afterwards.
func (x *Index) Apply(ctx context.Context, action *artifacts.Action, record *artifacts.Record) error {
	e, err := entryOf(action, record)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.current(ctx); err != nil {
		return err
	}
	c := change{folder: recordsFolder, day: dayOf(record.Ended)}
	return x.write(ctx, func(w *writer) error { return w.add(ctx, &part{change: c, records: []*entry{e}}) })
}

// Skipped is a record or a build that could not be read.
type Skipped struct {
	Name    string `json:"name"` // in the cache: records/<day>/<hex>
	Problem string `json:"problem"`
}

// Skipped lists what the last Sync left out, by name.
func (x *Index) Skipped(ctx context.Context) ([]Skipped, error) {
	var out []Skipped
	err := x.ask(ctx, func(row scanner) error {
		var s Skipped
		err := row.Scan(&s.Name, &s.Problem)
		out = append(out, s)
		return err
	}, `SELECT name, problem FROM _skipped ORDER BY name`)
	return out, err
}
