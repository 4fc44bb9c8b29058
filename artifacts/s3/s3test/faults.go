package s3test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Fault is what happens to a request on its way to next, and to the answer on its way back.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

var errCut = errors.New("cut by the test")

// Cut closes the connection after that many bytes of the answer's body.
func Cut(after int64) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		left := after
		next.ServeHTTP(&answer{ResponseWriter: w, body: func(b []byte) ([]byte, error) {
			if int64(len(b)) < left {
				left -= int64(len(b))
				return b, nil
			}
			return b[:left], errCut
		}}, r)
		panic(http.ErrAbortHandler) // also where the body was shorter
	}
}

// CutRequest closes the connections to both sides after that many bytes of the request's body.
func CutRequest(after int64) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Body = &body{r.Body, io.MultiReader(io.LimitReader(r.Body, after), broken{})}
		r.ContentLength = max(r.ContentLength, after+1) // one that had fewer is cut as well
		next.ServeHTTP(w, r)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errCut }

// Slow lets that many bytes a second through, each way.
func Slow(bytesPerSecond int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		p := pace{r.Context(), bytesPerSecond}
		r.Body = &body{r.Body, p.reader(r.Body)}
		next.ServeHTTP(&answer{ResponseWriter: w, pace: &p}, r)
	}
}

// BlackHole takes the request and never answers.
func BlackHole(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	drain(r)
	<-r.Context().Done() // the client has gone, or the test is over
	panic(http.ErrAbortHandler)
}

// Answer does not ask the server: the answer is an error of S3 with this status and code.
func Answer(status int, code string, header http.Header) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		drain(r)
		for name, vals := range header {
			w.Header()[name] = vals
		}
		fail(w, r, status, code)
	}
}

func fail(w http.ResponseWriter, r *http.Request, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message><Resource>%s</Resource></Error>`, code, code, r.URL.EscapedPath())
	}
}

// LoseAnswer lets the server do what was asked, and closes the connection in place of telling so.
func LoseAnswer(_ http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(nowhere{}, r)
	panic(http.ErrAbortHandler)
}

type nowhere http.Header

func (n nowhere) Header() http.Header       { return http.Header(n) }
func (nowhere) WriteHeader(int)             {}
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }

// Truncate ends the answer's body after n bytes as if there were no more.
func Truncate(n int64) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		left := n
		next.ServeHTTP(&answer{
			ResponseWriter: w,
			head: func(h http.Header) {
				if size, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64); err == nil {
					h.Set("Content-Length", strconv.FormatInt(min(size, n), 10))
				}
			},
			body: func(b []byte) ([]byte, error) {
				b = b[:min(int64(len(b)), left)]
				left -= int64(len(b))
				return b, nil
			},
		}, r)
	}
}

// Flip changes a bit of the byte at that offset of the answer's body.
func Flip(offset int64) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		at := offset
		next.ServeHTTP(&answer{ResponseWriter: w, body: func(b []byte) ([]byte, error) {
			if 0 <= at && at < int64(len(b)) {
				b = append([]byte(nil), b...)
				b[at] ^= 1
			}
			at -= int64(len(b))
			return b, nil
		}}, r)
	}
}

// Delay holds the request back.
func Delay(d time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if wait(r.Context(), d) {
			next.ServeHTTP(w, r)
		}
	}
}

// Clock turns the server's clock, as the client sees it by the header Date.
func Clock(skew time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&answer{ResponseWriter: w, head: func(h http.Header) {
			now, err := http.ParseTime(h.Get("Date"))
			if err != nil {
				now = time.Now()
			}
			h.Set("Date", now.Add(skew).UTC().Format(http.TimeFormat))
		}}, r)
	}
}

func drain(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // one whose client has gone is as good as read
}

// wait is false where the request ended before.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
