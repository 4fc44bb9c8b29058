package s3test

import (
	"context"
	"io"
	"net/http"
	"time"
)

// answer changes an answer on its way to the client. What it lets through is flushed, so that it arrives before what comes next happens.
type answer struct {
	http.ResponseWriter
	head func(http.Header)
	body func([]byte) ([]byte, error) // what leaves of some bytes; an error closes the connection behind them
	pace *pace
}

func (a *answer) WriteHeader(status int) {
	if a.head != nil && status >= http.StatusOK {
		a.head(a.Header())
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	out, failed := b, error(nil)
	if a.body != nil {
		out, failed = a.body(b)
	}
	for len(out) > 0 {
		n := len(out)
		if a.pace != nil {
			n = min(n, a.pace.step())
		}
		if _, err := a.ResponseWriter.Write(out[:n]); err != nil {
			return 0, err
		}
		if err := http.NewResponseController(a.ResponseWriter).Flush(); err != nil {
			return 0, err
		}
		out = out[n:]
		if a.pace != nil && !a.pace.wait(n) {
			return 0, errCut
		}
	}
	if failed != nil {
		_ = http.NewResponseController(a.ResponseWriter).Flush() // of the head, where no byte was let through
		return 0, failed
	}
	return len(b), nil
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// body reads from one thing and closes another.
type body struct {
	io.Closer
	io.Reader
}

// pace is a number of bytes a second, for as long as a request lasts.
type pace struct {
	ctx       context.Context
	perSecond int
}

// step is what passes at once: a tenth of a second's.
func (p pace) step() int { return max(1, p.perSecond/10) }

func (p pace) wait(n int) bool {
	return wait(p.ctx, time.Duration(n)*time.Second/time.Duration(p.perSecond))
}

func (p pace) reader(r io.Reader) io.Reader { return &paced{p, r} }

type paced struct {
	pace
	r io.Reader
}

func (p *paced) Read(b []byte) (int, error) {
	n, err := p.r.Read(b[:min(len(b), p.step())])
	if !p.wait(n) {
		return n, errCut
	}
	return n, err
}
