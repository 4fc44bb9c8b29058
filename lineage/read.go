package lineage

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// part is what was read of some names of a day.
type part struct {
	records   []*entry
	builds    []*buildEntry
	manifests map[artifacts.Digest]*artifacts.Manifest
}

type buildEntry struct {
	digest artifacts.Digest
	build  *artifacts.Build
}

// read reads names of a day from the cache, on all processors. What cannot be read is told beside the rest.
func (s *syncer) read(ctx context.Context, c change, names []string) (*part, []Skipped, error) {
	p := &part{}
	problems := make([]error, len(names))
	records := make([]*entry, len(names))
	builds := make([]*buildEntry, len(names))
	err := parallel(ctx, len(names), func(ctx context.Context, i int) {
		if c.folder == buildsFolder {
			builds[i], problems[i] = s.build(ctx, c.day, names[i])
		} else {
			records[i], problems[i] = s.record(ctx, c.day, names[i])
		}
	})
	if err != nil {
		return nil, nil, err
	}
	var bad []Skipped
	for i, problem := range problems {
		switch {
		case problem != nil:
			bad = append(bad, Skipped{c.folder + c.day + "/" + names[i], problem.Error()})
		case c.folder == buildsFolder:
			p.builds = append(p.builds, builds[i])
		default:
			p.records = append(p.records, records[i])
		}
	}
	p.manifests, err = s.newManifests(ctx, p.records)
	return p, bad, err
}

// parallel calls f for 0 to n-1, until ctx ends, and waits for all.
func parallel(ctx context.Context, n int, f func(ctx context.Context, i int)) error {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { f(ctx, i); return nil })
	}
	return errors.Join(g.Wait(), ctx.Err())
}

var errMisplaced = errors.New("its name does not fit what it leads to")

func (s *syncer) record(ctx context.Context, day, name string) (*entry, error) {
	d, err := artifacts.ParseHex(name)
	if err != nil {
		return nil, err
	}
	record, err := s.cache.Record(ctx, d)
	if err != nil {
		return nil, err
	}
	if dayOf(record.Ended) != day {
		return nil, fmt.Errorf("%w: the record is of %s", errMisplaced, dayOf(record.Ended))
	}
	action, err := s.cache.Action(ctx, record.Key)
	if err != nil {
		return nil, err
	}
	return newEntry(d, action, record)
}

func (s *syncer) build(ctx context.Context, day, name string) (*buildEntry, error) {
	d, err := artifacts.ParseHex(name)
	if err != nil {
		return nil, err
	}
	b, err := s.cache.GetBytes(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("build: %w", err)
	}
	build, err := artifacts.DecodeBuild(b)
	if err != nil {
		return nil, err
	}
	if dayOf(build.Started) != day {
		return nil, fmt.Errorf("%w: the build is of %s", errMisplaced, dayOf(build.Started))
	}
	return &buildEntry{d, build}, nil
}

// newManifests reads the manifests of inputs and outputs that the index does not describe yet.
func (s *syncer) newManifests(ctx context.Context, records []*entry) (map[artifacts.Digest]*artifacts.Manifest, error) {
	wanted := map[artifacts.Digest]bool{}
	for _, e := range records {
		for _, d := range e.record.Outputs {
			wanted[d] = true
		}
		for _, d := range e.action.Inputs {
			wanted[d] = true
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	known, err := s.x.db.PrepareContext(ctx, `SELECT count(*) FROM _artifact WHERE digest = ? AND bytes IS NOT NULL`)
	if err != nil {
		return nil, classify("asking the lineage index", err)
	}
	defer known.Close()
	var digests []artifacts.Digest
	for d := range wanted {
		n := 0
		if err := known.QueryRowContext(ctx, d.String()).Scan(&n); err != nil {
			return nil, classify("asking the lineage index", err)
		}
		if n == 0 {
			digests = append(digests, d)
		}
	}
	return s.manifests(ctx, digests)
}

// manifests reads what it can: one that is missing or damaged costs its size and labels, not its run.
func (s *syncer) manifests(ctx context.Context, digests []artifacts.Digest) (map[artifacts.Digest]*artifacts.Manifest, error) {
	slices.SortFunc(digests, func(a, b artifacts.Digest) int { return slices.Compare(a[:], b[:]) })
	all := make([]*artifacts.Manifest, len(digests))
	err := parallel(ctx, len(digests), func(ctx context.Context, i int) {
		if m, err := s.cache.Manifest(ctx, digests[i]); err == nil {
			all[i] = m
		}
	})
	out := make(map[artifacts.Digest]*artifacts.Manifest, len(all))
	for i, m := range all {
		if m != nil {
			out[digests[i]] = m
		}
	}
	return out, err
}
