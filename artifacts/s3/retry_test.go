package s3

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

var absent = artifacts.Absent

func readAll(t *testing.T, c *Client, name string) (string, error) {
	t.Helper()
	r, _, err := c.Read(t.Context(), name, 0, -1)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

func TestRetries(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for name, c := range map[string]struct {
		trouble []trouble
		least   time.Duration
	}{
		"503":                {[]trouble{answers(503, "SlowDown"), answers(503, "SlowDown")}, 1},
		"500":                {[]trouble{answers(500, "InternalError")}, 1},
		"502 of a proxy":     {[]trouble{answers(502, "")}, 1},
		"429":                {[]trouble{answers(429, "TooManyRequests", "Retry-After", "7")}, 7 * time.Second},
		"Retry-After is cut": {[]trouble{answers(503, "SlowDown", "Retry-After", "3000")}, longestAsked},
		"408":                {[]trouble{answers(408, "RequestTimeout")}, 1},
		"slow body":          {[]trouble{answers(400, "RequestTimeout")}, 1},
		"reset":              {[]trouble{fails(errReset), fails(io.EOF), fails(refused)}, 1},
		"stall":              {[]trouble{silent}, defaultStall},
		"every kind":         {[]trouble{silent, fails(errReset), answers(503, "SlowDown"), silent}, 2 * defaultStall},
	} {
		t.Run(name, func(t *testing.T) {
			keys(t)
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.put("x", "hello")
				client, w := over(t, f, first(c.trouble...))
				client.wire.answered.Store(true)
				begun := time.Now()
				got, err := readAll(t, client, "x")
				if err != nil || got != "hello" {
					t.Fatalf("read %q, %v", got, err)
				}
				if n := int64(len(c.trouble) + 1); client.Requests() != n || int64(len(w.sent)) != n {
					t.Errorf("%d requests counted, %d sent, want %d", client.Requests(), len(w.sent), n)
				}
				if took := time.Since(begun); took < c.least || took > c.least+2*time.Second {
					t.Errorf("took %v, want %v and a little", took, c.least)
				}
			})
		})
	}
}

// Another write of the name that is under way is no loss yet.
func TestConflictUnderWayIsAskedAgain(t *testing.T) {
	for _, code := range []string{"ConditionalRequestConflict", "OperationAborted"} {
		keys(t)
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			c, w := over(t, f, first(answers(409, code)))
			if _, err := c.Write(t.Context(), "x", artifacts.Text([]byte("v")), &absent); err != nil || f.get("x") != "v" {
				t.Errorf("%s: %v, the value is %q", code, err, f.get("x"))
			}
			if len(w.sent) != 2 {
				t.Errorf("%s: sent %v", code, w.sent)
			}
		})
	}
}

func TestPatienceRunsOut(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("x", "hello")
		down := false
		c, w := over(t, f, func(int, *http.Request) trouble {
			if down {
				return answers(503, "SlowDown")
			}
			return nil
		})
		if _, err := readAll(t, c, "x"); err != nil {
			t.Fatal(err)
		}
		down = true
		begun := time.Now()
		_, err := readAll(t, c, "x")
		if !errors.Is(err, artifacts.ErrUnreachable) || !strings.Contains(err.Error(), "SlowDown") || !strings.Contains(err.Error(), "s3://box/x") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begun); took < defaultPatience || took > defaultPatience+time.Second {
			t.Errorf("gave up after %v", took)
		}
		if n := len(w.sent); n < 15 || n > 80 {
			t.Errorf("asked %d times", n)
		}
	})
}

// The first word is not waited for as long as an answer in the middle of a build is.
func TestServerThatNeverAnswered(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		c, _ := over(t, newFake(), always(fails(&net.OpError{Op: "dial", Err: errors.New("connection refused")})))
		begun := time.Now()
		_, err := readAll(t, c, "x")
		if !errors.Is(err, artifacts.ErrUnreachable) || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begun); took > firstPatience+time.Second {
			t.Errorf("gave up after %v", took)
		}
	})
}

func TestCallersContextEndsTheWait(t *testing.T) {
	keys(t)
	for name, trouble := range map[string]trouble{"waiting": answers(503, "SlowDown", "Retry-After", "20"), "asking": silent} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := over(t, newFake(), always(trouble))
			why := errors.New("the user pressed Ctrl-C")
			ctx, end := context.WithCancelCause(t.Context())
			time.AfterFunc(5*time.Second, func() { end(why) })
			begun := time.Now()
			_, _, err := c.Read(ctx, "x", 0, -1)
			if !errors.Is(err, why) || time.Since(begun) != 5*time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(begun))
			}
		})
	}
}

func TestSourceThatCannotBeRead(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("input/output error")
		c, w := over(t, newFake(), nil)
		b := artifacts.Text([]byte("0123456789"))
		b.Bytes = &failing{b.Bytes, broken}
		if _, err := c.Write(t.Context(), "x", b, nil); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		short := artifacts.Text([]byte("0123456789"))
		short.Size = 20
		if _, err := c.Write(t.Context(), "x", short, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v", err)
		}
		if len(w.sent) != 2 {
			t.Errorf("sent %v", w.sent)
		}
	})
}

type failing struct {
	io.ReadSeeker
	err error
}

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func TestExpiredTokenIsRenewedOnce(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c, w := over(t, f, first(answers(400, "ExpiredToken")))
		if _, err := c.Write(t.Context(), "x", artifacts.Text([]byte("v")), nil); err != nil {
			t.Fatal(err)
		}
		if got := c.wallet.current(); got != 2 {
			t.Errorf("credentials were asked for %d times", got)
		}
		w.trouble = always(answers(400, "ExpiredToken"))
		_, err := c.Write(t.Context(), "x", artifacts.Text([]byte("v")), nil)
		if !errors.Is(err, artifacts.ErrRefused) || len(w.sent) != 4 {
			t.Errorf("got %v after %v", err, w.sent)
		}
	})
}

// HEAD has no body that could say so.
func TestExpiredTokenOfAHead(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("x", "v")
		bare := func(*wireTo, *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 400, Status: "400 Bad Request", Header: http.Header{}, Body: http.NoBody}, nil
		}
		c, w := over(t, f, first(bare))
		if _, _, err := c.Read(t.Context(), "x", 0, 0); err != nil || c.wallet.current() != 2 {
			t.Errorf("%v after credentials were asked for %d times", err, c.wallet.current())
		}
		w.trouble = always(bare)
		if _, _, err := c.Read(t.Context(), "x", 0, 0); !errors.Is(err, artifacts.ErrRefused) || len(w.sent) != 4 {
			t.Errorf("%v after %v", err, w.sent)
		}
	})
}

// A server that takes the first half of a body again and again makes no progress.
func TestUploadThatAlwaysBreaksAtOnePlace(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		c, _ := over(t, newFake(), always(func(_ *wireTo, r *http.Request) (*http.Response, error) {
			_, err := io.CopyN(io.Discard, r.Body, 2*trickle)
			return nil, errors.Join(err, errReset)
		}))
		c.wire.answered.Store(true)
		begun := time.Now()
		_, err := c.Write(t.Context(), "x", artifacts.Text(make([]byte, 4*trickle)), nil)
		if took := time.Since(begun); !errors.Is(err, artifacts.ErrUnreachable) || took > defaultPatience+time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// TestDelays: they double, are random below that, and end at ten seconds.
func TestDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for tries, most := range []time.Duration{firstDelay, 2 * firstDelay, 4 * firstDelay, 8 * firstDelay} {
			p := &patience{since: time.Now(), tries: tries}
			if d, ok := p.next(time.Hour, 0); !ok || d <= 0 || d > most {
				t.Errorf("after %d tries it waits %v, want at most %v", tries, d, most)
			}
		}
		longest := time.Duration(0)
		for range 200 {
			p := &patience{since: time.Now(), tries: 1000}
			d, _ := p.next(time.Hour, 0)
			longest = max(longest, d)
		}
		if longest > longestDelay || longest < longestDelay*9/10 {
			t.Errorf("the longest of 200 late delays is %v", longest)
		}
		p := &patience{since: time.Now().Add(-time.Minute)}
		if _, ok := p.next(time.Minute, 0); ok {
			t.Error("patience does not run out")
		}
		p.moved()
		if _, ok := p.next(time.Minute, 0); !ok {
			t.Error("progress gives no new patience")
		}
	})
}

// An object that the server answers for, and does not give, is waited for less long than a server, and told apart from one that is away.
func TestWhatTheServerWithholds(t *testing.T) {
	for name, c := range map[string]struct {
		trouble  trouble
		withheld bool
		patience time.Duration
	}{
		"bits that have flipped on MinIO's disk": {answers(503, "SlowDownRead"), true, rottenPatience},
		"a description that has":                 {answers(500, "InternalError"), true, rottenPatience},
		"too many requests":                      {answers(503, "SlowDown"), false, defaultPatience},
		"nobody there":                           {fails(errReset), false, defaultPatience},
		"silence":                                {silent, false, defaultPatience},
	} {
		t.Run(name, func(t *testing.T) {
			keys(t)
			synctest.Test(t, func(t *testing.T) {
				client, _ := over(t, newFake(), always(c.trouble))
				client.wire.answered.Store(true)
				begun := time.Now()
				_, err := readAll(t, client, "x")
				if took := time.Since(begun); took < c.patience || took > c.patience+defaultStall {
					t.Errorf("it took %v, want %v", took, c.patience)
				}
				if !errors.Is(err, artifacts.ErrUnreachable) || errors.Is(err, artifacts.ErrWithheld) != c.withheld {
					t.Errorf("the error is %v", err)
				}
			})
		})
	}
}

// It is told how long it really took: a try that stalls ends after the patience does.
func TestHowLongThereWasNoSuccess(t *testing.T) {
	for name, c := range map[string]struct {
		answered bool
		trouble  trouble
		want     string
	}{
		"the first call stalls":    {false, silent, "no success for 30s, at last: nothing moved for 30s"},
		"nobody has ever answered": {false, fails(errReset), "no success for 10s, at last: "},
		"patience":                 {true, answers(503, "SlowDown"), "no success for 2m0s, at last: 503"},
	} {
		t.Run(name, func(t *testing.T) {
			keys(t)
			synctest.Test(t, func(t *testing.T) {
				client, _ := over(t, newFake(), always(c.trouble))
				client.wire.answered.Store(c.answered)
				if _, err := readAll(t, client, "x"); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v; want %q", err, c.want)
				}
			})
		})
	}
}
