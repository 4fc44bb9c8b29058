package s3

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

func TestStalledCallsEnd(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("x", "hello")
		c, w := over(t, f, nil)
		for o, err := range c.Walk(t.Context(), "", "") { // so that the server has answered once
			if err != nil || o.Name != "x" {
				t.Fatal(o, err)
			}
		}
		w.trouble = always(silent)
		calls := map[string]func() error{
			"read":   func() error { _, _, err := c.Read(t.Context(), "x", 0, -1); return err },
			"stat":   func() error { _, _, err := c.Read(t.Context(), "x", 0, 0); return err },
			"write":  func() error { _, err := c.Write(t.Context(), "x", artifacts.Text([]byte("v")), nil); return err },
			"remove": func() error { return c.Remove(t.Context(), "x") },
			"walk": func() error {
				for _, err := range c.Walk(t.Context(), "", "") {
					return err
				}
				return nil
			},
		}
		for name, do := range calls {
			begun := time.Now()
			err := do()
			if !errors.Is(err, artifacts.ErrUnreachable) || !strings.Contains(err.Error(), "nothing moved for 30s") {
				t.Errorf("%s: got %v", name, err)
			}
			if took := time.Since(begun); took < defaultPatience || took > defaultPatience+defaultStall+time.Second {
				t.Errorf("%s: ended after %v", name, took)
			}
		}
	})
}

// A transfer that moves is not ended, however long it takes; nor is one whose reader takes its time.
func TestSlowIsNotStalled(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		const size = 10 * trickle
		f.put("x", strings.Repeat("x", size))
		c, w := over(t, f, func(_ int, r *http.Request) trouble {
			return func(w *wireTo, r *http.Request) (*http.Response, error) {
				<-time.After(20 * time.Second)
				resp, err := w.serve(r)
				if err == nil && r.Method == http.MethodGet {
					resp.Body = &paced{resp.Body, r.Context(), trickle, 20 * time.Second}
				}
				return resp, err
			}
		})
		r, _, err := c.Read(t.Context(), "x", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		<-time.After(time.Hour) // the reader's own pause
		if n, err := io.ReadFull(r, make([]byte, size)); err != nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
		b := artifacts.Text(make([]byte, size))
		b.Bytes = &slowSource{b.Bytes, 20 * time.Second}
		if _, err := c.Write(t.Context(), "y", b, nil); err != nil || len(f.get("y")) != size {
			t.Errorf("wrote %d bytes, %v", len(f.get("y")), err)
		}
		if len(w.sent) != 2 {
			t.Errorf("sent %v", w.sent)
		}
	})
}

type slowSource struct {
	io.ReadSeeker
	each time.Duration
}

func (s *slowSource) Read(p []byte) (int, error) {
	<-time.After(s.each)
	return s.ReadSeeker.Read(p[:min(len(p), trickle)])
}

// One byte a second is a stall, each try of it and all together.
func TestTrickleIsAStall(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("x", strings.Repeat("x", 1000))
		c, w := over(t, f, func(_ int, r *http.Request) trouble {
			return func(w *wireTo, r *http.Request) (*http.Response, error) {
				if r.Body != nil {
					r.Body = &paced{r.Body, r.Context(), 1, time.Second}
				}
				resp, err := w.serve(r)
				if err == nil {
					resp.Body = &paced{resp.Body, r.Context(), 1, time.Second}
				}
				return resp, err
			}
		})
		c.wire.answered.Store(true)
		begun := time.Now()
		got, err := readAll(t, c, "x")
		if took := time.Since(begun); !errors.Is(err, artifacts.ErrUnreachable) || took > defaultPatience+defaultStall+time.Second || len(got) < 100 {
			t.Errorf("%v after %v and %d bytes", err, took, len(got))
		}
		if n := len(w.sent); n < 4 || n > 6 {
			t.Errorf("sent %v", w.sent)
		}
		begun = time.Now()
		_, err = c.Write(t.Context(), "y", artifacts.Text(make([]byte, 1000)), nil)
		if took := time.Since(begun); !errors.Is(err, artifacts.ErrUnreachable) || took > defaultPatience+defaultStall+time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// paced gives n bytes at a time, and waits before each.
type paced struct {
	io.ReadCloser
	ctx   context.Context
	n     int
	every time.Duration
}

func (p *paced) Read(b []byte) (int, error) {
	select {
	case <-time.After(p.every):
		return p.ReadCloser.Read(b[:min(len(b), p.n)])
	case <-p.ctx.Done():
		return 0, p.ctx.Err()
	}
}
