package s3

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// TestReadGoesOnAfterACut: at the byte where it was cut, of the same version, however often.
func TestReadGoesOnAfterACut(t *testing.T) {
	text := strings.Repeat("0123456789", 50)
	for name, c := range map[string]struct {
		trouble []trouble
		off, n  int64
		want    string
		ranges  []string
	}{
		"EOF":       {[]trouble{cuts(100, io.ErrUnexpectedEOF)}, 0, -1, text, []string{"", "bytes=100-499"}},
		"plain EOF": {[]trouble{cuts(100, io.EOF)}, 0, -1, text, []string{"", "bytes=100-499"}},
		"reset":     {[]trouble{cuts(100, errReset), cuts(50, errReset)}, 0, -1, text, []string{"", "bytes=100-499", "bytes=150-499"}},
		"stall":     {[]trouble{cuts(100, nil)}, 0, -1, text, []string{"", "bytes=100-499"}},
		"at once":   {[]trouble{cuts(0, errReset), cuts(0, errReset)}, 0, -1, text, []string{"", "bytes=0-499", "bytes=0-499"}},
		"a range":   {[]trouble{cuts(10, errReset)}, 5, 25, text[5:30], []string{"bytes=5-29", "bytes=15-29"}},
		"past it":   {[]trouble{cuts(10, errReset)}, 480, 100, text[480:], []string{"bytes=480-579", "bytes=490-499"}},
		"to it":     {[]trouble{cuts(10, errReset)}, 480, -1, text[480:], []string{"bytes=480-", "bytes=490-499"}},
		"503 then":  {[]trouble{cuts(100, errReset), answers(503, "SlowDown")}, 0, -1, text, []string{"", "bytes=100-499", "bytes=100-499"}},
	} {
		t.Run(name, func(t *testing.T) {
			keys(t)
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.put("x", text)
				var ranges, matches []string
				next := first(c.trouble...)
				client, _ := over(t, f, func(n int, r *http.Request) trouble {
					ranges = append(ranges, r.Header.Get("Range"))
					matches = append(matches, r.Header.Get("If-Match"))
					return next(n, r)
				})
				r, o, err := client.Read(t.Context(), "x", c.off, c.n)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(r)
				r.Close()
				if err != nil || string(got) != c.want || o.Size != 500 {
					t.Errorf("%v, %d bytes of %d, want %d", err, len(got), o.Size, len(c.want))
				}
				if !slices.Equal(ranges, c.ranges) {
					t.Errorf("asked for %q, want %q", ranges, c.ranges)
				}
				for i, m := range matches {
					if (i > 0) != (m == `"`+string(o.Version)+`"`) {
						t.Errorf("request %d has If-Match %q", i, m)
					}
				}
			})
		})
	}
}

// TestReplacedWhileRead: bytes of two versions are never put together, also where the server does not know If-Match.
func TestReplacedWhileRead(t *testing.T) {
	for name, then := range map[string]func(f *fake) trouble{
		"replaced": func(f *fake) trouble { f.put("x", strings.Repeat("b", 100)); return nil },
		"shorter":  func(f *fake) trouble { f.put("x", "b"); return nil },
		"replaced, condition ignored": func(f *fake) trouble {
			f.put("x", strings.Repeat("b", 100))
			return func(w *wireTo, r *http.Request) (*http.Response, error) {
				r.Header.Del("If-Match")
				return w.serve(r)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			keys(t)
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.put("x", strings.Repeat("a", 100))
				c, _ := over(t, f, func(n int, _ *http.Request) trouble {
					if n == 1 {
						return cuts(50, errReset)
					}
					return then(f)
				})
				got, err := readAll(t, c, "x")
				if !errors.Is(err, artifacts.ErrDamaged) {
					t.Errorf("read %q, %v", got, err)
				}
			})
		})
	}
}

func TestRemovedWhileRead(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("x", strings.Repeat("a", 100))
		c, _ := over(t, f, func(n int, _ *http.Request) trouble {
			if n == 1 {
				return cuts(50, errReset)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			delete(f.objects, "x")
			return nil
		})
		if _, err := readAll(t, c, "x"); !errors.Is(err, artifacts.ErrMissing) {
			t.Error(err)
		}
	})
}

// A read that is cut after every few bytes makes progress each time, so patience never runs out.
func TestReadThatIsCutAllTheTime(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("x", strings.Repeat("a", 100*trickle))
		c, w := over(t, f, always(cuts(trickle, nil)))
		begun := time.Now()
		if got, err := readAll(t, c, "x"); err != nil || len(got) != 100*trickle {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		if took := time.Since(begun); len(w.sent) != 100 || took < 99*defaultStall {
			t.Errorf("%d requests in %v", len(w.sent), took)
		}
		w.trouble = func(n int, _ *http.Request) trouble {
			if n == 101 {
				return cuts(50, errReset)
			}
			return cuts(0, errReset)
		}
		if got, err := readAll(t, c, "x"); len(got) != 50 || !errors.Is(err, artifacts.ErrUnreachable) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
	})
}

// TestRangesAndEmptyObjects against a real HTTP server, which counts bytes as real ones do.
func TestRangesAndEmptyObjects(t *testing.T) {
	keys(t)
	f := newFake()
	c := serve(t, f)
	rangesAndEmptyObjects(t, c)
}

// serve is a client of the fake on the loopback.
func serve(t *testing.T, h http.Handler) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := New(t.Context(), Config{Bucket: "box", Endpoint: s.URL, Prefix: "/team/a/"})
	if err != nil {
		t.Fatal(err)
	}
	return c.Below("main")
}

// rangesAndEmptyObjects is what each server must do.
func rangesAndEmptyObjects(t *testing.T, c *Client) {
	t.Helper()
	for _, size := range []int64{0, 1, 10, 100_000} {
		name := fmt.Sprintf("ranges/%d", size)
		text := strings.Repeat("0123456789", int(size/10)) + "x"[:size%10]
		wrote, err := c.Write(t.Context(), name, artifacts.Text([]byte(text)), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, off := range []int64{0, 1, size / 2, size - 1, size, size + 1} {
			for _, n := range []int64{-1, 1, size, size + 7} {
				if off < 0 || n == 0 {
					continue
				}
				r, o, err := c.Read(t.Context(), name, off, n)
				if off > size {
					if err == nil {
						t.Errorf("%s: no error for an offset of %d", name, off)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s from %d, %d bytes: %v", name, off, n, err)
					continue
				}
				got, err := io.ReadAll(r)
				r.Close()
				end := size
				if n >= 0 {
					end = min(size, off+n)
				}
				if err != nil || string(got) != text[off:end] {
					t.Errorf("%s from %d, %d bytes: got %d of them, %v", name, off, n, len(got), err)
				}
				if o.Size != size || o.Version != wrote.Version || o.Name != name || o.Modified.IsZero() || o.Now.IsZero() {
					t.Errorf("%s from %d, %d bytes: it is %+v, want version %s", name, off, n, o, wrote.Version)
				}
			}
		}
		if r, o, err := c.Read(t.Context(), name, 99, 0); err != nil || o.Size != size || o.Version != wrote.Version {
			t.Errorf("asking for %s: %+v, %v, %v", name, o, r, err)
		}
	}
	for _, n := range []int64{-1, 0, 5} {
		if _, _, err := c.Read(t.Context(), "ranges/none", 0, n); !errors.Is(err, artifacts.ErrMissing) {
			t.Errorf("reading %d bytes of nothing: %v", n, err)
		}
		if _, _, err := c.Read(t.Context(), "ranges/10/below", 0, n); !errors.Is(err, artifacts.ErrMissing) {
			t.Errorf("reading %d bytes below a name: %v", n, err)
		}
	}
	if _, _, err := c.Read(t.Context(), "ranges/10", -1, 5); err == nil {
		t.Error("no error for a negative offset")
	}
}

// A server that does not do what it was asked must not be taken by its word.
func TestAnswersToAnotherQuestion(t *testing.T) {
	drop := func(names ...string) trouble {
		return func(w *wireTo, r *http.Request) (*http.Response, error) {
			for _, name := range names {
				r.Header.Del(name)
			}
			return w.serve(r)
		}
	}
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("x", "0123456789")
		c, w := over(t, f, always(drop("Range")))
		if r, _, err := c.Read(t.Context(), "x", 0, 5); err != nil {
			t.Error(err)
		} else if b, err := io.ReadAll(r); err != nil || string(b) != "01234" {
			t.Errorf("%q, %v", b, err)
		}
		if _, _, err := c.Read(t.Context(), "x", 3, 5); err == nil || !strings.Contains(err.Error(), "does not give ranges") {
			t.Errorf("got %v", err)
		}
		w.trouble = always(func(w *wireTo, r *http.Request) (*http.Response, error) {
			r.Header.Set("Range", "bytes=4-")
			return w.serve(r)
		})
		if _, _, err := c.Read(t.Context(), "x", 3, 5); err == nil || !strings.Contains(err.Error(), "bytes 4-9/10") {
			t.Errorf("got %v", err)
		}
		w.trouble = nil
		f.noLength = true
		if _, _, err := c.Read(t.Context(), "x", 0, -1); err == nil || !strings.Contains(err.Error(), "how long") {
			t.Errorf("got %v", err)
		}
	})
}

func TestReadAfterClose(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("x", "0123456789")
		c, w := over(t, f, nil)
		r, _, err := c.Read(t.Context(), "x", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		r.Close()
		if n, err := r.Read(make([]byte, 4)); n != 0 || err == nil || errors.Is(err, io.EOF) {
			t.Errorf("read %d bytes, %v", n, err)
		}
		if len(w.sent) != 1 {
			t.Errorf("sent %v", w.sent)
		}
	})
}
