package env

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// flaky is a repository whose answers end early: the n-th after cuts[n] bytes of what it was asked for.
type flaky struct {
	body   []byte
	cuts   []int
	ranges bool // it can begin in the middle

	mu    sync.Mutex
	asked []string // Range of each request
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	n := len(f.asked)
	f.asked = append(f.asked, r.Header.Get("Range"))
	f.mu.Unlock()
	rest, from := f.body, 0
	if f.ranges && r.Header.Get("Range") != "" {
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err != nil || from >= len(f.body) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		rest = f.body[from:]
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(f.body)-1, len(f.body)))
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(rest)))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	if n < len(f.cuts) {
		_, _ = w.Write(rest[:min(f.cuts[n], len(rest))])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(rest)
}

// download brings the body of f into a file, without waiting between attempts, and gives what is in the file.
func (f *flaky) download(t *testing.T) ([]byte, []string, error) {
	t.Helper()
	server := httptest.NewServer(f)
	defer server.Close()
	part, said := filepath.Join(t.TempDir(), "part"), []string{}
	d := download{client: server.Client(), from: server.URL, size: int64(len(f.body)), progress: func(s string) { said = append(said, s) }, idle: time.Minute}
	err := d.into(t.Context(), part)
	got, readErr := os.ReadFile(part)
	if readErr != nil && !errors.Is(readErr, os.ErrNotExist) {
		t.Fatal(readErr)
	}
	return got, said, err
}

func TestADownloadGoesOnWhereItBroke(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
	for name, c := range map[string]struct {
		cuts   []int
		ranges bool
		asked  []string
	}{
		"unbroken":        {nil, true, []string{""}},
		"broken twice":    {[]int{1000, 500}, true, []string{"", "bytes=1000-", "bytes=1500-"}},
		"nothing came":    {[]int{0, 700, 0}, true, []string{"", "", "bytes=700-", "bytes=700-"}},
		"from the start":  {[]int{1000, 500}, false, []string{"", "bytes=1000-", "bytes=500-"}},
		"a long bad line": {slices.Repeat([]int{10}, 40), true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := &flaky{body: body, cuts: c.cuts, ranges: c.ranges}
			got, said, err := f.download(t)
			if err != nil || !bytes.Equal(got, body) {
				t.Fatalf("%d bytes of %d, %v", len(got), len(body), err)
			}
			if c.asked != nil && !slices.Equal(f.asked, c.asked) {
				t.Errorf("asked for %q, want %q", f.asked, c.asked)
			}
			if len(said) != len(c.cuts) {
				t.Errorf("%d breaks, and it says %q", len(c.cuts), said)
			}
		})
	}
}

func TestADownloadThatBringsNothingGivesUp(t *testing.T) {
	f := &flaky{body: []byte(strings.Repeat("x", 1000)), cuts: slices.Repeat([]int{0}, 100), ranges: true}
	if _, _, err := f.download(t); err == nil || len(f.asked) != downloadTries {
		t.Errorf("asked %d times, %v", len(f.asked), err)
	}
}

func TestADownloadIsRefused(t *testing.T) {
	elsewhere := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == "" {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Range", "bytes 7-999/1000")
		w.WriteHeader(http.StatusPartialContent)
	}
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		says  string
		asked int
	}{
		"another file":        {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("please log in")) }, "what is there has 13 bytes and not 1000", 1},
		"missing":             {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "404 Not Found", 1},
		"another place":       {elsewhere, `it answers with "bytes 7-999/1000"`, 4},
		"trouble that passes": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, "503 Service Unavailable", downloadTries},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				c.serve(w, r)
			}))
			defer server.Close()
			d := download{client: server.Client(), from: server.URL, size: 1000, progress: func(string) {}, idle: time.Minute}
			err := d.into(t.Context(), filepath.Join(t.TempDir(), "part"))
			if err == nil || !strings.Contains(err.Error(), c.says) || asked != c.asked {
				t.Errorf("asked %d times, %v", asked, err)
			}
		})
	}
}

// answer is what a request meets: an error, or a status and a body.
type answer struct {
	err    error
	status int
	body   io.Reader
}

// line answers requests in turn; the last answer stands for all that follow.
type line struct {
	answers []answer
	asked   int
}

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	l.asked++
	a := l.answers[min(l.asked, len(l.answers))-1]
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{StatusCode: a.status, Status: http.StatusText(a.status), Body: io.NopCloser(during{r.Context(), a.body}), ContentLength: -1}, nil
}

// over downloads a thousand bytes by a line.
func (l *line) over(t *testing.T, name string) error {
	d := download{client: &http.Client{Transport: l}, from: "http://u:secret@repository/x.jar", size: 1000, progress: func(string) {}, idle: time.Minute, pause: time.Second}
	return d.into(t.Context(), name)
}

// trickle gives a hundred bytes every half minute, and then an end that is none.
type trickle struct{ left int }

func (s *trickle) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	<-time.After(30 * time.Second) // by the clock of synctest
	s.left -= 100
	return copy(p, make([]byte, 100)), nil
}

func TestWhichTroubleOfADownloadPasses(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	whole := func() answer {
		return answer{status: http.StatusOK, body: strings.NewReader(strings.Repeat("x", 1000))}
	}
	for name, c := range map[string]struct {
		answers []answer
		to      string
		asked   int
		says    string
	}{
		"a slow line, whose answer has no end": {[]answer{{status: http.StatusOK, body: &trickle{1000}}}, "", 1, ""},
		"nobody is there":                      {[]answer{{err: refused}}, "", 1, "connection refused"},
		"no proxy is there":                    {[]answer{{err: &net.OpError{Op: "proxyconnect", Err: refused}}}, "", 1, "connection refused"},
		"a server that begins anew":            {[]answer{{status: http.StatusServiceUnavailable, body: http.NoBody}, {err: refused}, {err: refused}, whole()}, "", 4, ""},
		"a line that is cut":                   {[]answer{{err: io.EOF}, whole()}, "", 2, ""},
		"a certificate of nobody's":            {[]answer{{err: &tls.CertificateVerificationError{Err: errors.New("signed by nobody")}}}, "", 1, "signed by nobody"},
		"no TLS":                               {[]answer{{err: http.ErrSchemeMismatch}}, "", 1, "HTTP response to HTTPS client"},
		"a full disk":                          {[]answer{whole()}, "/dev/full", 1, "no space left"},
	} {
		t.Run(name, func(t *testing.T) {
			to := cmp.Or(c.to, filepath.Join(t.TempDir(), "part"))
			synctest.Test(t, func(t *testing.T) {
				l := &line{answers: c.answers}
				err := l.over(t, to)
				if l.asked != c.asked || c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
					t.Errorf("asked %d times, %v", l.asked, err)
				}
				if err != nil && strings.Contains(err.Error(), "repository") {
					t.Errorf("%v tells the address, of which its caller says what it may", err)
				}
			})
		})
	}
}

// silent is a connection over which a byte comes, and then nothing more.
type silent struct{ asked int }

func (s *silent) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked++
	return &http.Response{StatusCode: http.StatusOK, ContentLength: -1, Body: &silentBody{done: r.Context().Done(), cause: func() error { return context.Cause(r.Context()) }}}, nil
}

type silentBody struct {
	begun bool
	done  <-chan struct{}
	cause func() error
}

func (b *silentBody) Read(p []byte) (int, error) {
	if !b.begun {
		b.begun = true
		return copy(p, "x"), nil
	}
	<-b.done
	return 0, b.cause()
}

func (b *silentBody) Close() error { return nil }

func TestADownloadOverADeadConnectionIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := &silent{}
		d := download{client: &http.Client{Transport: line}, from: "http://repository/x.jar", size: 1000, progress: func(string) {}, idle: time.Minute}
		err := d.into(t.Context(), filepath.Join(t.TempDir(), "part"))
		if !errors.Is(err, errIdle) || line.asked != downloadTries {
			t.Errorf("asked %d times, %v", line.asked, err)
		}
	})
}

func TestADownloadIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("the person said so")
		ctx, cancel := context.WithCancelCause(t.Context())
		line := &silent{}
		d := download{client: &http.Client{Transport: line}, from: "http://repository/x.jar", size: 1000, progress: func(string) {}, idle: time.Minute}
		time.AfterFunc(time.Second, func() { cancel(why) })
		if err := d.into(ctx, filepath.Join(t.TempDir(), "part")); !errors.Is(err, why) || line.asked != 1 {
			t.Errorf("asked %d times, %v", line.asked, err)
		}
	})
}
