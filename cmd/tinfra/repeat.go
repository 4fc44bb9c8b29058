package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/reading"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// fallen is where a build of what is remembered was not possible.
type fallen struct {
	name  artifacts.Digest // what this build is to be remembered by, zero if by nothing
	known *known
}

// repeat builds out of what the last build of the same request has remembered. done is false where that does not hold any
// more, or there is none.
func (b *building) repeat(ctx context.Context, path string, started time.Time) (_ fallen, done bool, err error) {
	h, name, s := b.recall(path)
	if !name.IsZero() {
		b.app.reads = reading.NewLog()
	}
	if s == nil {
		return fallen{name: name}, false, nil
	}
	if err := h.begin(); err != nil {
		return fallen{}, false, err
	}
	if err := h.cache.Hold(ctx, s.names()...); err != nil {
		return fallen{}, false, &failure{code: exitCache, err: err}
	}
	found := s.look(ctx, h, b.offline)
	if found.holds {
		s.Build.Commit = b.commit()
	}
	if ctx.Err() != nil || !found.holds || !b.json && !s.showsOn(b.app.stdout) {
		return fallen{name, found.known}, false, nil
	}
	if found.learnt {
		s.keep(h, name)
	}
	return fallen{}, true, b.tellAgain(ctx, h, s, started)
}

// recall finds what is remembered of the request, nil where nothing is. What goes wrong here the build that follows meets again, and
// tells it.
func (b *building) recall(path string) (h *house, name artifacts.Digest, s *standing) {
	h, err := b.app.openCache(path)
	if err != nil || b.selection.check() != nil || run.HasCredentials(os.Environ()) {
		return nil, name, nil
	}
	name, ok := b.requestName(h, path)
	if !ok {
		return h, artifacts.Digest{}, nil
	}
	if s, err = decodeStanding(h.store.Recall(name)); err != nil {
		return h, name, nil
	}
	s.name = name
	return h, name, s
}

// tellAgain says what Execute and the outcome of a build of nothing but hits would say.
func (b *building) tellAgain(ctx context.Context, h *house, s *standing, started time.Time) error {
	build := s.Build
	build.ID, build.Host, build.Started = buildID(started), hostName(), started.UTC()
	o := run.Options{Cache: h.cache, Clock: clock, Build: build}
	err := b.repeated(ctx, s, o)
	if sweep := h.store.SweepWork(context.WithoutCancel(ctx)); sweep != nil {
		fmt.Fprintln(b.app.stderr, "tinfra: cleaning up:", sweep)
	}
	told := summary{rows: s.rows(), values: s.Values, took: clock.Now().Sub(started), recipeFlag: h.recipeFlag}
	if s.Compared != nil {
		told.between = func() { fmt.Fprint(b.app.stdout, s.Compared.Text) }
	}
	if !b.json {
		if werr := told.write(b.app.stdout); err == nil && werr != nil {
			return werr
		}
	}
	if err == nil {
		return nil
	}
	var failed *run.Error
	if errors.As(err, &failed) {
		return &failure{code: failed.Exit, err: err}
	}
	return err
}

// repeated stores the build and shows it. Of many hits people are shown how many they are, so nobody is told of each.
func (b *building) repeated(ctx context.Context, s *standing, o run.Options) error {
	hits := s.hits()
	if !b.json && len(hits) > view.ManyStages {
		view.Cached(b.app.stderr, len(hits))
		_, err := run.Repeat(ctx, hits, nil, o)
		return err
	}
	outlook := make(view.Outlook, len(hits))
	for i := range hits {
		outlook[hits[i].Address] = view.Prospect{Metrics: s.Orders[hits[i].Kind]}
	}
	return b.shown(outlook, func(bus *event.Bus) error {
		o.Events = bus
		_, err := run.Repeat(ctx, hits, s.told, o)
		return err
	})
}

func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return host
}
