package s3

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// TestLostAnswerToACreate: the server has done it, and says 412 to the repeat.
func TestLostAnswerToACreate(t *testing.T) {
	for name, c := range map[string]trouble{
		"reset": loses,
		"504": func(w *wireTo, r *http.Request) (*http.Response, error) {
			if _, err := loses(w, r); !errors.Is(err, errReset) {
				return nil, err
			}
			return answers(504, "")(w, r)
		},
		"stall": func(w *wireTo, r *http.Request) (*http.Response, error) {
			if _, err := loses(w, r); !errors.Is(err, errReset) {
				return nil, err
			}
			return silent(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			keys(t)
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				client, w := over(t, f, first(c))
				client.wire.answered.Store(true)
				o, err := client.Write(t.Context(), "keys/k", artifacts.Text([]byte("mine")), &absent)
				if err != nil || f.get("keys/k") != "mine" {
					t.Fatalf("%v, the value is %q", err, f.get("keys/k"))
				}
				if got := strings.Join(w.sent, " "); got != "PUT /box/keys/k PUT /box/keys/k HEAD /box/keys/k" {
					t.Errorf("sent %s", got)
				}
				f.mu.Lock()
				want := version(f.objects["keys/k"].etag)
				f.mu.Unlock()
				if o.Version != want || o.Size != 4 || o.Name != "keys/k" || o.Modified.IsZero() {
					t.Errorf("it is %+v, want version %s", o, want)
				}
				newer, err := client.Write(t.Context(), "keys/k", artifacts.Text([]byte("newer")), &o.Version)
				if err != nil || newer.Version == o.Version {
					t.Errorf("replacing it: %+v, %v", newer, err)
				}
			})
		})
	}
}

// The same for If-Match, where the repeat finds a version that is not the old one any more: its own.
func TestLostAnswerToAReplace(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("x", "old")
		c, w := over(t, f, nil)
		_, old, err := c.Read(t.Context(), "x", 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.trouble = only(http.MethodPut, loses)
		if _, err := c.Write(t.Context(), "x", artifacts.Text([]byte("new")), &old.Version); err != nil || f.get("x") != "new" {
			t.Errorf("%v, the value is %q", err, f.get("x"))
		}
	})
}

// TestLostAnswerAndAnotherWinner: the try whose answer was lost had not taken effect, another write has; or it had, and was replaced or
// removed since. Equal bytes do not make a write ours.
func TestLostAnswerAndAnotherWinner(t *testing.T) {
	for name, between := range map[string]func(f *fake, w *wireTo, r *http.Request){
		"never took effect": func(f *fake, _ *wireTo, _ *http.Request) { f.put("x", "mine") },
		"replaced since": func(f *fake, w *wireTo, r *http.Request) {
			if _, err := loses(w, r); err == nil { //nolint:bodyclose // it never has one
				panic("an answer came")
			}
			f.put("x", "theirs")
		},
	} {
		t.Run(name, func(t *testing.T) {
			keys(t)
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				c, _ := over(t, f, first(func(w *wireTo, r *http.Request) (*http.Response, error) {
					between(f, w, r)
					return nil, errReset
				}))
				c.wire.answered.Store(true)
				_, err := c.Write(t.Context(), "x", artifacts.Text([]byte("mine")), &absent)
				if !errors.Is(err, artifacts.ErrConflict) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// A conflict that no lost answer came before is believed at once.
func TestConflictsAreTold(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("there", "a")
		c, w := over(t, f, nil)
		stale := artifacts.Version("0123456789abcdef0123456789abcdef")
		for _, x := range []struct {
			name string
			old  artifacts.Version
		}{{"there", artifacts.Absent}, {"there", stale}, {"absent", stale}} {
			if _, err := c.Write(t.Context(), x.name, artifacts.Text([]byte("b")), &x.old); !errors.Is(err, artifacts.ErrConflict) || errors.Is(err, artifacts.ErrMissing) {
				t.Errorf("%s over %q: %v", x.name, x.old, err)
			}
		}
		if f.get("there") != "a" || f.get("absent") != "" || len(w.sent) != 3 {
			t.Errorf("the bytes changed, or it asked too often: %v", w.sent)
		}
	})
}

// TestRepeatsSendTheWholeBody: also after a try that has read a part of it, and while the network still holds the old one.
func TestRepeatsSendTheWholeBody(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		big := strings.Repeat("0123456789", 100_000)
		var held []*http.Request
		half := func(_ *wireTo, r *http.Request) (*http.Response, error) {
			held = append(held, r)
			_, err := r.Body.Read(make([]byte, 1000))
			return nil, errors.Join(err, errReset)
		}
		c, _ := over(t, f, first(half, half))
		c.wire.answered.Store(true)
		if _, err := c.Write(t.Context(), "x", artifacts.Text([]byte(big)), nil); err != nil || f.get("x") != big {
			t.Errorf("%v, %d bytes are there", err, len(f.get("x")))
		}
		for _, r := range held {
			if n, err := r.Body.Read(make([]byte, 10)); n != 0 || !errors.Is(err, errOver) {
				t.Errorf("a try that is over still reads the body: %d bytes, %v", n, err)
			}
		}
	})
}

// The server compares what comes with the digest that was signed.
func TestOtherBytesThanTheDigestAreRefused(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c, _ := over(t, f, nil)
		b := artifacts.Text([]byte("right"))
		b.Digest = artifacts.Sum([]byte("wrong"))
		if _, err := c.Write(t.Context(), "x", b, nil); !errors.Is(err, artifacts.ErrRefused) || f.get("x") != "" {
			t.Errorf("%v, there is %q", err, f.get("x"))
		}
	})
}

func TestRemove(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.put("x", "a")
		c, w := over(t, f, nil)
		for range 2 {
			if err := c.Remove(t.Context(), "x"); err != nil {
				t.Error(err)
			}
		}
		if _, _, err := c.Read(t.Context(), "x", 0, -1); !errors.Is(err, artifacts.ErrMissing) {
			t.Errorf("it is still there: %v", err)
		}
		for status, want := range map[int]error{200: nil, 404: nil, 403: artifacts.ErrRefused} {
			w.trouble = always(answers(status, map[int]string{200: "", 404: "NoSuchKey", 403: "AccessDenied"}[status]))
			if err := c.Remove(t.Context(), "x"); !errors.Is(err, want) {
				t.Errorf("%d: %v", status, err)
			}
		}
	})
}

// TestConflictThatIsOnlyAReset: some servers answer 412 while a large body is still being sent, and close: the answer is lost each time. It is
// asked what is there before the body is sent again.
func TestConflictThatIsOnlyAReset(t *testing.T) {
	large := make([]byte, worthAsking)
	for name, c := range map[string]struct {
		there string
		puts  []trouble
		want  error
	}{
		"ours, of a lost try": {"", []trouble{loses, fails(errReset), fails(errReset)}, nil},
		"another's":           {"other", []trouble{fails(errReset), fails(errReset)}, artifacts.ErrConflict},
		"nobody's":            {"", []trouble{fails(errReset)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			keys(t)
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				if c.there != "" {
					f.put("x", c.there)
				}
				client, w := over(t, f, only(http.MethodPut, c.puts...))
				client.wire.answered.Store(true)
				o, err := client.Write(t.Context(), "x", artifacts.Text(large), &absent)
				if !errors.Is(err, c.want) || err == nil && (o.Size != worthAsking || f.get("x") != string(large)) {
					t.Errorf("%+v, %v; want %v", o, err, c.want)
				}
				if len(w.sent) > 4 {
					t.Errorf("sent %s", w.sent)
				}
			})
		})
	}
}
