package s3

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/s3/s3test"
)

func TestMain(m *testing.M) { os.Exit(s3test.Around(m).Run()) }

// onServers runs the test on each real server, in a bucket of its own.
func onServers(t *testing.T, test func(t *testing.T, s *s3test.Server, at func(endpoint string) *Client)) {
	t.Helper()
	for kind, start := range map[string]func(testing.TB) *s3test.Server{s3test.KindMinIO: s3test.MinIO, s3test.KindVersity: s3test.Versity} {
		t.Run(kind, func(t *testing.T) {
			s := start(t)
			s.Setenv(t)
			t.Setenv("AWS_SESSION_TOKEN", "")
			bucket := s.Bucket(t)
			test(t, s, func(endpoint string) *Client {
				c, err := New(t.Context(), Config{Bucket: bucket, Endpoint: endpoint, Prefix: "team/main"})
				if err != nil {
					t.Fatal(err)
				}
				return c
			})
		})
	}
}

func TestRangesAndEmptyObjectsOnServers(t *testing.T) {
	onServers(t, func(t *testing.T, s *s3test.Server, at func(string) *Client) {
		rangesAndEmptyObjects(t, at(s.Endpoint))
	})
}

func TestListOrderOnServers(t *testing.T) {
	onServers(t, func(t *testing.T, s *s3test.Server, at func(string) *Client) { listOrder(t, at(s.Endpoint)) })
}

func TestProbeOnServers(t *testing.T) {
	onServers(t, func(t *testing.T, s *s3test.Server, at func(string) *Client) {
		c := at(s.Endpoint)
		if _, err := c.Write(t.Context(), "format", artifacts.Text([]byte("there")), nil); err != nil {
			t.Fatal(err)
		}
		found, checks, err := probed(t, t.Context(), c)
		if err != nil || len(failed(checks)) != 0 {
			t.Fatalf("%v, failed: %q, %+v", err, failed(checks), checks)
		}
		if !found.Create || !found.Replace || !found.Multipart || !found.Ordered || found.Skew.Abs() > 5*time.Second {
			t.Errorf("found %+v", found)
		}
		if left := names(t, c, "", ""); !slices.Equal(left, []string{"format"}) {
			t.Errorf("it leaves %q", left)
		}
	})
}

// TestProbeOnACarelessServer that was written by someone else than this package's fake.
func TestProbeOnACarelessServer(t *testing.T) {
	s := s3test.Careless(t)
	s.Setenv(t)
	c, err := New(t.Context(), Config{Bucket: "box", Endpoint: s.Endpoint})
	if err != nil {
		t.Fatal(err)
	}
	found, checks, err := probed(t, t.Context(), c)
	if err != nil || found.Create || found.Replace || found.Multipart || !found.Ordered {
		t.Errorf("%v, found %+v, %+v", err, found, checks)
	}
}

// TestConditions: create and replace as artifacts.Objects has them, with one winner among many at once.
func TestConditions(t *testing.T) {
	onServers(t, func(t *testing.T, s *s3test.Server, at func(string) *Client) {
		c := at(s.Endpoint)
		first, err := c.Write(t.Context(), "x", artifacts.Text([]byte("one")), &absent)
		if err != nil {
			t.Fatal(err)
		}
		second, err := c.Write(t.Context(), "x", artifacts.Text([]byte("two")), &first.Version)
		if err != nil || second.Version == first.Version {
			t.Fatalf("%+v after %+v, %v", second, first, err)
		}
		for what, old := range map[string]*artifacts.Version{"create": &absent, "replace of what is gone": &first.Version} {
			if _, err := c.Write(t.Context(), "x", artifacts.Text([]byte("late")), old); !errors.Is(err, artifacts.ErrConflict) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := c.Write(t.Context(), "nothing", artifacts.Text([]byte("late")), &first.Version); !errors.Is(err, artifacts.ErrConflict) {
			t.Errorf("replace of nothing: %v", err)
		}
		if got, err := readAll(t, c, "x"); err != nil || got != "two" {
			t.Errorf("the value is %q, %v", got, err)
		}
		if err := c.Remove(t.Context(), "x"); err != nil {
			t.Error(err)
		}
		if _, err := c.Write(t.Context(), "x", artifacts.Text([]byte("again")), &absent); err != nil {
			t.Errorf("creating what was removed: %v", err)
		}
		p := &probe{Client: c.Below("race")}
		for _, step := range []func() (string, error){
			func() (string, error) { return p.create(t.Context()) }, func() (string, error) { return p.replace(t.Context()) },
		} {
			if _, err := step(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestFaultsOnTheWay: what the fake's network does, over real connections.
func TestFaultsOnTheWay(t *testing.T) {
	onServers(t, func(t *testing.T, s *s3test.Server, at func(string) *Client) {
		f := s3test.Proxy(t, s)
		c := at(f.Endpoint)
		c.stall = 500 * time.Millisecond // longer than any answer takes, mostly; where not, it is asked again
		big := make([]byte, 3<<20)
		rng := rand.NewChaCha8([32]byte{7})
		_, _ = rng.Read(big)
		put, get := s3test.Method(http.MethodPut), s3test.Method(http.MethodGet)
		for name, do := range map[string]s3test.Fault{
			"lost": s3test.LoseAnswer, "cut": s3test.CutRequest(1 << 20), "black hole": s3test.BlackHole, "503": s3test.Answer(503, "SlowDown", nil),
		} {
			f.Calm()
			f.On(put, 1, do)
			o, err := c.Write(t.Context(), name, artifacts.Text(big), &absent)
			if err != nil {
				t.Errorf("create, %s: %v", name, err)
				continue
			}
			f.On(put, 1, do)
			if _, err := c.Write(t.Context(), name, artifacts.Text(big[1:]), &o.Version); err != nil {
				t.Errorf("replace, %s: %v", name, err)
			}
			if got, err := readAll(t, c, name); err != nil || got != string(big[1:]) {
				t.Errorf("%s: %d bytes are there, %v", name, len(got), err)
			}
			if _, err := c.Write(t.Context(), name, artifacts.Text(big), &o.Version); !errors.Is(err, artifacts.ErrConflict) {
				t.Errorf("%s: a version that is gone is replaced: %v", name, err)
			}
		}
		if _, err := c.Write(t.Context(), "big", artifacts.Text(big), nil); err != nil {
			t.Fatal(err)
		}
		for name, do := range map[string]s3test.Fault{
			"cut": s3test.Cut(1 << 20), "cut at once": s3test.Cut(0), "black hole": s3test.BlackHole, "503": s3test.Answer(503, "SlowDown", nil),
		} {
			f.Calm()
			f.On(get, 2, do)
			if got, err := readAll(t, c, "big"); err != nil || got != string(big) {
				t.Errorf("read, %s: %d bytes, %v", name, len(got), err)
			}
			if got := names(t, c, "big", ""); !slices.Equal(got, []string{"big"}) {
				t.Errorf("list, %s: %q", name, got)
			}
		}
	})
}

// TestCredentialsThatAreRefused: at once, and no miss.
func TestCredentialsThatAreRefused(t *testing.T) {
	onServers(t, func(t *testing.T, s *s3test.Server, at func(string) *Client) {
		for name, env := range map[string][2]string{"secret": {s3test.AccessKey, testSecret}, "key": {testKey, testSecret}} {
			t.Setenv("AWS_ACCESS_KEY_ID", env[0])
			t.Setenv("AWS_SECRET_ACCESS_KEY", env[1])
			c := at(s.Endpoint)
			_, _, err := c.Read(t.Context(), "format", 0, -1)
			if !errors.Is(err, artifacts.ErrRefused) || errors.Is(err, artifacts.ErrMissing) || strings.Contains(err.Error(), env[0]) || strings.Contains(err.Error(), testSecret) {
				t.Errorf("wrong %s: %v", name, err)
			}
			if _, err := c.Write(t.Context(), "format", artifacts.Text([]byte("x")), nil); !errors.Is(err, artifacts.ErrRefused) {
				t.Errorf("wrong %s: %v", name, err)
			}
			if c.Requests() != 2 {
				t.Errorf("wrong %s: %d requests", name, c.Requests())
			}
		}
	})
}

func TestBucketThatIsNotThere(t *testing.T) {
	onServers(t, func(t *testing.T, s *s3test.Server, _ func(string) *Client) {
		c, err := New(t.Context(), Config{Bucket: "no-such-bucket", Endpoint: s.Endpoint})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Read(t.Context(), "format", 0, -1); !errors.Is(err, artifacts.ErrRefused) || !strings.Contains(err.Error(), `"no-such-bucket"`) {
			t.Error(err)
		}
	})
}

// TestManyAtOnce: one client, many goroutines, whole bodies both ways.
func TestManyAtOnce(t *testing.T) {
	onServers(t, func(t *testing.T, s *s3test.Server, at func(string) *Client) {
		c := at(s.Endpoint)
		var all sync.WaitGroup
		for i := range 24 {
			all.Go(func() {
				name := "many/" + string(rune('a'+i))
				b := bytes.Repeat([]byte{byte(i)}, 10_000*(i+1))
				if _, err := c.Write(t.Context(), name, artifacts.Text(b), &absent); err != nil {
					t.Error(err)
					return
				}
				r, _, err := c.Read(t.Context(), name, 5000, -1)
				if err != nil {
					t.Error(err)
					return
				}
				defer r.Close()
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, b[5000:]) {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
			})
		}
		all.Wait()
		if got := names(t, c, "many/", ""); len(got) != 24 || c.Requests() != 49 {
			t.Errorf("%d names after %d requests", len(got), c.Requests())
		}
	})
}
