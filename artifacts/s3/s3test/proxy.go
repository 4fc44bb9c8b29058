package s3test

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// Faults stands between a client and a server. It passes all requests on as they are, but for those that a rule matches.
type Faults struct {
	Endpoint string // URL, without a slash at its end

	mu    sync.Mutex
	rules []*rule
	seen  []string
}

type rule struct {
	match func(*http.Request) bool
	left  int // how many requests yet; negative: any number
	do    Fault
}

// Proxy starts one before s; it ends with the test. A server that is killed looks through it like a connection that is cut.
func Proxy(t testing.TB, s *Server) *Faults {
	t.Helper()
	target, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	quiet := log.New(io.Discard, "", 0)
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.Host = r.In.Host // it is signed
		},
		Transport:    transport,
		ErrorLog:     quiet,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	f := &Faults{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.take(r)(w, r, forward)
	}))
	life, end := context.WithCancel(context.WithoutCancel(t.Context()))
	server.Config.BaseContext = func(net.Listener) context.Context { return life }
	server.Config.ErrorLog = quiet
	server.Start()
	t.Cleanup(func() {
		end() // of what hangs in a black hole, for which Close would wait
		server.Close()
		transport.CloseIdleConnections()
	})
	f.Endpoint = server.URL
	return f
}

// On makes do happen to the next times requests that match, to all for times < 1. Of several rules that match the first that was made
// counts; match is called for one request at a time.
func (f *Faults) On(match func(*http.Request) bool, times int, do Fault) {
	if times < 1 {
		times = -1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, &rule{match, times, do})
}

// Calm forgets all rules.
func (f *Faults) Calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// Seen gives the requests that came so far, as "PUT /bucket/name?query". Go's HTTP client repeats some of a connection that was closed
// before it answered by itself.
func (f *Faults) Seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.seen...)
}

func (f *Faults) take(r *http.Request) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, r.Method+" "+r.URL.RequestURI())
	for _, rule := range f.rules {
		if rule.left != 0 && rule.match(r) {
			rule.left--
			return rule.do
		}
	}
	return pass
}

func pass(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) }

// Any matches each request.
func Any(*http.Request) bool { return true }

// Method matches requests with one of the methods.
func Method(methods ...string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		for _, m := range methods {
			if r.Method == m {
				return true
			}
		}
		return false
	}
}
