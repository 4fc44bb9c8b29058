package s3

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"
)

// wire is the transport below minio-go. It counts requests, and tells each try's attempt what came of it: minio-go rewords some errors
// so that their kind is lost, and keeps the header of an answer from us where that is an error.
type wire struct {
	network  http.RoundTripper
	wallet   *wallet
	requests atomic.Int64
	answered atomic.Bool // the server has said something at least once
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	w.requests.Add(1)
	a := attemptOf(req.Context())
	if a == nil {
		return w.network.RoundTrip(req)
	}
	a.status, a.header, a.err, a.keys = 0, nil, nil, w.wallet.current()
	a.dog.wake()
	resp, err := w.network.RoundTrip(req)
	a.dog.rest()
	a.dog.fed(trickle) // an answer is progress however short
	if err != nil {
		a.err = err
		return nil, err
	}
	w.answered.Store(true)
	a.status, a.header = resp.StatusCode, resp.Header
	resp.Body = &watched{resp.Body, a.dog}
	return resp, nil
}

// attempt is one try of a call. A try sends one request after the other, all from the goroutine that makes it.
type attempt struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	dog    *watchdog

	status int // of the last answer; 0 where there was none
	header http.Header
	err    error // of the network, in its own words
	keys   int   // generation of the credentials that signed
}

type attemptKey struct{}

func attemptOf(ctx context.Context) *attempt {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	return a
}

// begin is a new try. Whoever has it must end it.
func (s *server) begin(ctx context.Context) *attempt {
	a := &attempt{}
	a.ctx, a.cancel = context.WithCancelCause(context.WithValue(ctx, attemptKey{}, a))
	a.dog = &watchdog{after: s.stall, left: s.stall}
	a.dog.timer = time.AfterFunc(s.stall, func() { a.cancel(errStalled) })
	a.dog.rest()
	return a
}

func (a *attempt) end() {
	a.dog.rest()
	a.cancel(nil)
}

func (a *attempt) stalled() bool { return errors.Is(context.Cause(a.ctx), errStalled) }
