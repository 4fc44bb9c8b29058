package s3

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Walk lists; see artifacts.Objects. The order is the server's own: Probe finds out whether it is that of names. A listing that breaks goes on
// behind the last name, where names have come in order so far; else it ends with artifacts.ErrUnreachable.
func (c *Client) Walk(ctx context.Context, prefix, after string) iter.Seq2[artifacts.Object, error] {
	return func(yield func(artifacts.Object, error) bool) {
		w := &walk{call: c.call("listing", prefix, mayList), ctx: ctx, yield: yield}
		if after != "" {
			w.last = c.root + after
		}
		for w.pages() {
			if err := w.resume(); err != nil {
				yield(artifacts.Object{}, err)
				return
			}
		}
	}
}

type walk struct {
	*call
	ctx   context.Context
	yield func(artifacts.Object, error) bool

	last     string // whole name of the last one that was given, or of that to begin behind
	given    bool
	disorder bool

	try *attempt // that has failed
	err error
}

// pages gives names until the listing ends or the caller has enough. It is true where it failed.
func (w *walk) pages() (failed bool) {
	owner := false
	a := w.c.begin(w.ctx)
	defer a.end()
	for info := range w.c.core.ListObjectsIter(a.ctx, w.c.bucket, minio.ListObjectsOptions{
		Prefix: w.name, StartAfter: w.last, Recursive: true, FetchOwner: &owner,
	}) {
		if info.Err != nil {
			w.try, w.err = a, info.Err
			return true
		}
		w.moved()
		w.disorder = w.disorder || w.given && info.Key <= w.last
		w.last, w.given = info.Key, true
		if !strings.HasPrefix(info.Key, w.name) || strings.HasSuffix(info.Key, "/") { // a folder that a person has made
			continue
		}
		o := artifacts.Object{Name: strings.TrimPrefix(info.Key, w.c.root), Size: info.Size, Version: version(info.ETag), Modified: info.LastModified, Now: now(a.header)}
		if !w.yield(o, nil) {
			return false
		}
	}
	if a.ctx.Err() != nil { // minio-go ends a listing that was interrupted as if that were all
		w.try, w.err = a, a.ctx.Err()
		return true
	}
	return false
}

// resume waits until the rest can be asked for.
func (w *walk) resume() error {
	if err := w.again(w.ctx, w.try, w.err); err != nil {
		return err
	}
	if w.disorder {
		return fmt.Errorf("%s: %w: the listing broke off, and this server lists in no order by which it could go on: %s",
			w.call, artifacts.ErrUnreachable, w.c.words(w.try, w.err))
	}
	return nil
}
