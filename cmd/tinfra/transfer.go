package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/shared"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
)

// keepTime bounds how long a build that cannot bring its results to the bucket writes down what it has found there.
const keepTime = 10 * time.Second

// sharer brings results to the shared cache. What was found there is written down here before the Build is that names it.
type sharer struct{ *shared.Remote }

// Wait also waits for that.
func (s sharer) Wait(ctx context.Context) error {
	err := s.Remote.Wait(ctx)
	if err != nil { // the bucket need not be asked for long once more, nor a person who has pressed Ctrl-C wait
		tooLong := errors.New("it takes too long")
		bounded, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), keepTime, tooLong)
		defer cancel()
		ctx = bounded
	}
	if kept := s.Remote.Keep(ctx); kept != nil {
		err = errors.Join(err, fmt.Errorf("writing down here what was found there: %w", kept))
	}
	return err
}

// lost is of bytes that the shared cache has promised and does not have. It is no ErrMissing: that is of bytes of this machine.
type lost struct {
	key  artifacts.Key
	text string
}

func (l *lost) Error() string          { return l.text }
func (l *lost) GoneKey() artifacts.Key { return l.key }

// bring fetches the files of a manifest that are not on this machine. Where they are gone, the error is a lost.
func bring(ctx context.Context, from *shared.Remote, m *artifacts.Manifest) error {
	err := from.Fetch(ctx, m, func(done, total int64) {
		if tell := artifacts.Teller(ctx); tell != nil {
			tell(artifacts.Progress{What: "downloading", Done: done, Total: total, Unit: "bytes"})
		}
	})
	if gone, ok := errors.AsType[*shared.Gone](err); ok {
		return &lost{gone.Key, gone.Error()}
	}
	return err
}

// fetch brings the files of what a verb asks for, shown to who waits. false where there is no shared cache.
func (h *house) fetch(ctx context.Context, what string, m *artifacts.Manifest) (bool, error) {
	if !h.asks {
		return false, nil
	}
	if h.remote == nil {
		if err := h.join(ctx, false); err != nil || h.remote == nil {
			return false, err
		}
	}
	if err := h.begin(); err != nil { // what comes must not be collected before it was read
		return false, err
	}
	line := h.app.passing()
	defer line.end()
	ctx = artifacts.Telling(ctx, func(p artifacts.Progress) {
		line.say(fmt.Sprintf("%s %s: %s of %s", p.What, what, view.Bytes(p.Done), view.Bytes(p.Total)))
	})
	err := bring(ctx, h.remote, m)
	if _, gone := errors.AsType[*lost](err); gone { // a build that finds a result has no need of its files
		err = fmt.Errorf("%w; `tinfra build --force STAGE` makes them again", err)
	}
	if err != nil {
		return false, h.remoteTrouble(ctx, fmt.Errorf("%s: %w", what, err))
	}
	return true, nil
}
