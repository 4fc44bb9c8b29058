package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

// delayed stands between a tool and the server: each answer comes so much later, as from a bucket that is far away. It counts the
// requests.
type delayed struct {
	server   *httptest.Server
	requests atomic.Int64
}

func delay(endpoint string, by time.Duration) (*delayed, error) {
	target, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	d := &delayed{}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.Host = r.In.Host // it is signed
		},
		Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
		ModifyResponse: func(r *http.Response) error {
			late := time.NewTimer(by)
			defer late.Stop()
			select {
			case <-late.C:
				return nil
			case <-r.Request.Context().Done():
				return r.Request.Context().Err()
			}
		},
	}
	d.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.requests.Add(1)
		forward.ServeHTTP(w, r)
	}))
	return d, nil
}
