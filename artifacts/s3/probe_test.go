package s3

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// probed is what Probe finds, with its checks.
func probed(t *testing.T, ctx context.Context, c *Client) (Finding, []Check, error) {
	t.Helper()
	var checks []Check
	f, err := c.Probe(ctx, func(k Check) { checks = append(checks, k) })
	return f, checks, err
}

func failed(checks []Check) (names []string) {
	for _, k := range checks {
		if !k.OK {
			names = append(names, k.Name)
		}
		if k.Detail == "" {
			names = append(names, k.Name+" says nothing")
		}
	}
	return names
}

func (f *fake) left() (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.objects {
		names = append(names, name)
	}
	for id := range f.uploads {
		names = append(names, "upload "+id)
	}
	return names
}

func TestProbe(t *testing.T) {
	keys(t)
	f := newFake()
	f.put("team/a/main/format", "there")
	found, checks, err := probed(t, t.Context(), serve(t, f))
	if err != nil || len(failed(checks)) != 0 || len(checks) != 9 {
		t.Fatalf("%v, failed: %q, %+v", err, failed(checks), checks)
	}
	if !found.Create || !found.Replace || !found.Multipart || !found.Ordered || found.Server != "fake" || found.Skew.Abs() > 2*time.Second {
		t.Errorf("found %+v", found)
	}
	if left := f.left(); !slices.Equal(left, []string{"team/a/main/format"}) {
		t.Errorf("it leaves %q", left)
	}
}

// TestProbeSeesThatConditionsAreIgnored: the server takes every write for the first.
func TestProbeSeesThatConditionsAreIgnored(t *testing.T) {
	keys(t)
	f := newFake()
	f.careless = true
	found, checks, err := probed(t, t.Context(), serve(t, f))
	if err != nil {
		t.Fatal(err)
	}
	if found.Create || found.Replace || found.Multipart {
		t.Errorf("found %+v", found)
	}
	if got := failed(checks); !slices.Equal(got, []string{"create on condition", "replace on condition", "create in parts on condition"}) {
		t.Errorf("failed: %q", got)
	}
	for _, k := range checks {
		if k.Name == "create on condition" && !strings.Contains(k.Detail, "16 of 16") {
			t.Errorf("it says %q", k.Detail)
		}
	}
	if left := f.left(); len(left) != 0 {
		t.Errorf("it leaves %q", left)
	}
}

// TestProbeSees: each fault of a server is found by the check that is for it.
func TestProbeSees(t *testing.T) {
	header := func(r *http.Request, name string) bool { return r.Header.Get(name) != "" }
	put := func(r *http.Request) bool { return r.Method == http.MethodPut }
	for name, c := range map[string]struct {
		change func(f *fake, w http.ResponseWriter, r *http.Request) bool // true: it has answered
		failed []string
		fatal  error
		found  func(Finding) bool
	}{
		"create is checked, but not atomically": {
			func(f *fake, w http.ResponseWriter, r *http.Request) bool {
				if header(r, "If-None-Match") && strings.Contains(r.URL.Path, "/create/") {
					r.Header.Del("If-None-Match")
				}
				return false
			}, []string{"create on condition"}, nil, func(f Finding) bool { return !f.Create && f.Replace }},
		"create over what is there": {
			func(f *fake, w http.ResponseWriter, r *http.Request) bool {
				if header(r, "If-None-Match") && strings.HasSuffix(r.URL.Path, "/plain") && put(r) {
					r.Header.Del("If-None-Match")
				}
				return false
			}, []string{"create on condition"}, nil, func(f Finding) bool { return !f.Create && f.Replace }},
		"the loser's bytes are there": {
			func(f *fake, w http.ResponseWriter, r *http.Request) bool {
				if header(r, "If-None-Match") && strings.HasSuffix(r.URL.Path, "/plain") && put(r) {
					f.put(strings.TrimPrefix(r.URL.Path, "/box/"), "too late")
				}
				return false
			}, []string{"create on condition"}, nil, func(f Finding) bool { return !f.Create && f.Replace && f.Multipart }},
		"conditions are not implemented": {
			func(f *fake, w http.ResponseWriter, r *http.Request) bool {
				if header(r, "If-None-Match") || header(r, "If-Match") && put(r) {
					refuse(w, 501, "NotImplemented")
					return true
				}
				return false
			}, []string{"create on condition", "replace on condition", "create in parts on condition"}, nil, func(f Finding) bool { return !f.Create && !f.Replace }},
		"parts are not implemented": {
			func(f *fake, w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Query().Has("uploads") {
					refuse(w, 501, "NotImplemented")
					return true
				}
				return false
			}, []string{"create in parts on condition"}, nil, func(f Finding) bool { return f.Create && f.Replace && !f.Multipart }},
		"replace of what is not there": {
			func(f *fake, w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/absent") {
					r.Header.Del("If-Match")
				}
				return false
			}, []string{"replace on condition"}, nil, func(f Finding) bool { return f.Create && !f.Replace }},
		"listing in the order of folders": {
			func(f *fake, w http.ResponseWriter, r *http.Request) bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.foldered = true
				return false
			},
			[]string{"list after write"}, nil, func(f Finding) bool { return f.Create && !f.Ordered }},
		"listings begin anywhere": {
			func(f *fake, w http.ResponseWriter, r *http.Request) bool {
				q := r.URL.Query()
				q.Del("start-after")
				r.URL.RawQuery = q.Encode()
				return false
			}, []string{"list after write"}, nil, func(f Finding) bool { return f.Create && !f.Ordered }},
		"a name is not listed": {
			func(f *fake, w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/list/a/1") {
					w.Header().Set("ETag", `"e"`)
					return true
				}
				return false
			}, []string{"list after write"}, errAny, nil},
		"other bytes are read": {
			func(f *fake, w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/plain") {
					f.put(strings.TrimPrefix(r.URL.Path, "/box/"), strings.Repeat("x", probeLength))
				}
				return false
			}, []string{"read back"}, errAny, nil},
		"ranges are one off": {
			func(f *fake, w http.ResponseWriter, r *http.Request) bool {
				if header(r, "Range") {
					r.Header.Set("Range", "bytes=1-1")
				}
				return false
			}, []string{"read ranges"}, errAny, nil},
		"deletes nothing": {
			func(f *fake, w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodDelete {
					w.WriteHeader(204)
					return true
				}
				return false
			}, []string{"delete"}, errAny, nil},
		"no right to write": {
			func(f *fake, w http.ResponseWriter, r *http.Request) bool {
				if put(r) {
					refuse(w, 403, "AccessDenied")
				}
				return put(r)
			}, []string{"reach and write"}, artifacts.ErrRefused, nil},
		"no right to delete": {
			func(f *fake, w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodDelete && !r.URL.Query().Has("uploadId") {
					refuse(w, 403, "AccessDenied")
					return true
				}
				return false
			}, []string{"delete"}, artifacts.ErrRefused, nil},
	} {
		t.Run(name, func(t *testing.T) {
			keys(t)
			f := newFake()
			found, checks, err := probed(t, t.Context(), serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !c.change(f, w, r) {
					f.ServeHTTP(w, r)
				}
			})))
			if !errors.Is(err, c.fatal) && (err == nil || !errors.Is(c.fatal, errAny)) || !slices.Equal(failed(checks), c.failed) {
				t.Errorf("%v, failed: %q\n%+v", err, failed(checks), checks)
			}
			if c.found != nil && !c.found(found) {
				t.Errorf("found %+v", found)
			}
		})
	}
}

var errAny = errors.New("any error")

// What is left of a probe is removed also when it is interrupted.
func TestProbeThatIsInterrupted(t *testing.T) {
	keys(t)
	f := newFake()
	ctx, end := context.WithCancel(t.Context())
	_, checks, err := probed(t, ctx, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.ServeHTTP(w, r)
		if r.Header.Get("If-None-Match") != "" {
			end()
		}
	})))
	if !errors.Is(err, context.Canceled) || len(checks) != 6 {
		t.Errorf("%v after %d checks", err, len(checks))
	}
	if left := f.left(); len(left) != 0 {
		t.Errorf("it leaves %q", left)
	}
}

// Who only reads asks for what reading takes, and leaves the bucket as it is.
func TestProbeReading(t *testing.T) {
	keys(t)
	f := newFake()
	f.put("format", "what the bucket says of itself")
	var writes atomic.Int64
	client, _ := over(t, f, func(_ int, r *http.Request) trouble {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			writes.Add(1)
		}
		return nil
	})
	var checks []Check
	if err := client.ProbeReading(t.Context(), "format", func(k Check) { checks = append(checks, k) }); err != nil {
		t.Fatal(err)
	}
	if len(failed(checks)) != 0 || len(checks) != 5 || writes.Load() != 0 {
		t.Errorf("failed: %q of %+v, %d writes", failed(checks), checks, writes.Load())
	}
}
