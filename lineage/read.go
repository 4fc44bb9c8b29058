package lineage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// part is what was read of some names of a day.
type part struct {
	change
	last      bool // no more names of the day come
	records   []*entry
	builds    []*buildEntry
	skipped   []Skipped
	manifests map[artifacts.Digest]*artifacts.Manifest
}

func (p *part) names() int { return len(p.records) + len(p.builds) + len(p.skipped) }

func (p *part) digests() []artifacts.Digest {
	var out []artifacts.Digest
	for _, e := range p.records {
		out = append(out, e.digest)
	}
	for _, b := range p.builds {
		out = append(out, b.digest)
	}
	return out
}

type buildEntry struct {
	digest artifacts.Digest
	build  *artifacts.Build
}

// readAll reads what is new in each day, and hands on parts of some days that make a batch.
func (s *syncer) readAll(ctx context.Context, changes []change, batches chan<- []*part) error {
	var parts []*part
	n := 0
	for i, c := range changes {
		for names, sound := c.added, true; ; {
			p, err := s.read(ctx, c, names[:min(batch, len(names))])
			if err != nil {
				return err
			}
			names = names[p.names():]
			if sound = sound && len(p.skipped) == 0; !sound {
				p.mark = "" // what is damaged now may be whole the next time
			}
			p.last = len(names) == 0
			parts, n = append(parts, p), n+p.names()
			if n >= batch || p.last && i == len(changes)-1 {
				select {
				case batches <- parts:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
				parts, n = nil, 0
			}
			if p.last {
				break
			}
		}
	}
	return nil
}

// read reads names of a day from the cache, on all processors. What cannot be read is told beside the rest.
func (s *syncer) read(ctx context.Context, c change, names []string) (*part, error) {
	p := &part{change: c}
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
		return nil, err
	}
	for i, problem := range problems {
		switch {
		case problem != nil:
			p.skipped = append(p.skipped, Skipped{c.folder + c.day + "/" + names[i], problem.Error()})
		case c.folder == buildsFolder:
			p.builds = append(p.builds, builds[i])
		default:
			p.records = append(p.records, records[i])
		}
	}
	p.manifests, err = s.newManifests(ctx, p.records)
	return p, err
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
	for d := range wanted {
		if s.described[d] {
			delete(wanted, d)
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	known, err := column(ctx, s.x.db, artifacts.ParseDigest, `SELECT a.digest FROM json_each(?) w CROSS JOIN _artifact a
		ON a.digest = w.value WHERE a.bytes IS NOT NULL`, digestList(slices.Collect(maps.Keys(wanted))))
	if err != nil {
		return nil, err
	}
	for _, d := range known {
		s.described[d] = true
		delete(wanted, d)
	}
	found, err := s.manifests(ctx, slices.Collect(maps.Keys(wanted)))
	for d := range found {
		s.described[d] = true
	}
	return found, err
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
