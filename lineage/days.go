package lineage

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// Marker is what a place can do that tells cheaply which of its folders have changed. Marks gives, for each folder below
// one of pointers, a text that is another one whenever names were added or removed since; "" where it cannot promise that.
type Marker interface {
	Marks(ctx context.Context, folder string) (map[string]string, error)
}

func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// changes compares a folder's names with those in the index, day by day. A watermark would not do: where machines share a
// cache, names arrive in days gone by. Days whose mark is the one kept are not listed.
func (s *syncer) changes(ctx context.Context, folder string) ([]change, error) {
	known, err := s.x.marks(ctx, folder)
	if err != nil {
		return nil, err
	}
	marker, ok := s.cache.Pointers.(Marker)
	if !ok {
		return s.compareAll(ctx, folder, known)
	}
	marks, err := marker.Marks(ctx, folder)
	if err != nil {
		return nil, fmt.Errorf("looking at %s: %w", folder, err)
	}
	var out []change
	for day := range known {
		if _, ok := marks[day]; !ok {
			marks[day] = "" // a day that is gone
		}
	}
	for _, day := range slices.Sorted(maps.Keys(marks)) {
		mark := marks[day]
		if mark != "" && mark == known[day] {
			continue
		}
		names, err := s.list(ctx, folder+day+"/")
		if err != nil {
			return nil, err
		}
		c, err := s.compare(ctx, folder, day, names[day])
		if err != nil {
			return nil, err
		}
		c.mark = mark
		if old, had := known[day]; !had || old != mark || !c.none() {
			out = append(out, c)
		}
	}
	return out, nil
}

func (c change) none() bool { return len(c.added) == 0 && len(c.removed) == 0 }

func (s *syncer) compareAll(ctx context.Context, folder string, known map[string]string) ([]change, error) {
	names, err := s.list(ctx, folder)
	if err != nil {
		return nil, err
	}
	for day := range known {
		names[day] = append(names[day], []string{}...)
	}
	var out []change
	for _, day := range slices.Sorted(maps.Keys(names)) {
		c, err := s.compare(ctx, folder, day, names[day])
		if err != nil {
			return nil, err
		}
		if _, had := known[day]; !had || !c.none() {
			out = append(out, c)
		}
	}
	return out, nil
}

// list gives the names below a prefix by day.
func (s *syncer) list(ctx context.Context, prefix string) (map[string][]string, error) {
	out := map[string][]string{}
	for name, err := range s.cache.List(ctx, prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", prefix, err)
		}
		dir, base := path.Split(name)
		day := dir
		if _, rest, ok := strings.Cut(strings.TrimSuffix(dir, "/"), "/"); ok {
			day = rest
		}
		out[day] = append(out[day], base)
	}
	return out, nil
}

func (x *Index) marks(ctx context.Context, folder string) (map[string]string, error) {
	out := map[string]string{}
	err := x.rows(ctx, func(row scanner) error {
		var day, mark string
		err := row.Scan(&day, &mark)
		out[day] = mark
		return err
	}, `SELECT day, mark FROM _day WHERE folder = ?`, folder)
	return out, err
}

// compare finds what a day has and the index lacks, and the other way round.
func (s *syncer) compare(ctx context.Context, folder, day string, names []string) (change, error) {
	c := change{folder: folder, day: day}
	query := `SELECT record FROM _run WHERE day = ?`
	if folder == buildsFolder {
		query = `SELECT digest FROM _build WHERE day = ?`
	}
	have, err := column(ctx, s.x.db, asIs, query, day)
	if err != nil {
		return c, err
	}
	gone := make(map[string]bool, len(have))
	for _, d := range have {
		gone[strings.TrimPrefix(d, digestPrefix)] = true
	}
	for _, name := range names {
		if gone[name] {
			delete(gone, name)
		} else {
			c.added = append(c.added, name)
		}
	}
	for _, hex := range slices.Sorted(maps.Keys(gone)) {
		c.removed = append(c.removed, digestPrefix+hex)
	}
	// A name that was skipped and is gone is a change too: it must no longer be told.
	skipped, err := column(ctx, s.x.db, asIs, `SELECT name FROM _skipped WHERE day = ?`, folder+day)
	for _, name := range skipped {
		if base := path.Base(name); !slices.Contains(names, base) {
			c.removed = append(c.removed, name)
		}
	}
	return c, err
}

func asIs(s string) (string, error) { return s, nil }
