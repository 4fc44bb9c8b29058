package s3

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake speaks as much S3 as the client does, in memory, for one bucket "box". It checks the digest of what it is given, no signatures.
type fake struct {
	careless bool // no condition is honoured
	foldered bool // listings put folders in the order of directories
	noLength bool // GET does not say how long the object is
	pageSize int

	mu      sync.Mutex
	objects map[string]stored
	uploads map[string][]byte
	writes  int // counts, for versions
}

type stored struct {
	bytes []byte
	etag  string
	mark  string
	at    time.Time
}

func newFake() *fake {
	return &fake{objects: map[string]stored{}, uploads: map[string][]byte{}, pageSize: 1000}
}

func (f *fake) put(name, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store(name, []byte(value), "another client's")
}

func (f *fake) get(name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return string(f.objects[name].bytes)
}

func (f *fake) store(name string, b []byte, mark string) string {
	f.writes++
	sum := md5.Sum(fmt.Appendf(b[:len(b):len(b)], "#%d", f.writes))
	etag := `"` + hex.EncodeToString(sum[:]) + `"`
	f.objects[name] = stored{b, etag, mark, time.Now().UTC().Truncate(time.Second)}
	return etag
}

type fault struct {
	XMLName xml.Name `xml:"Error"`
	Code    string
	Message string
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(fault{Code: code, Message: "said the fake"})
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	w.Header().Set("Server", "fake")
	bucket, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := r.URL.Query()
	sum := sha256.Sum256(body)
	switch said := r.Header.Get("X-Amz-Content-Sha256"); {
	case bucket != "box":
		refuse(w, 404, "NoSuchBucket")
	case r.Header.Get("Authorization") != "" && said != hex.EncodeToString(sum[:]) && !q.Has("uploads"):
		refuse(w, 400, "XAmzContentSHA256Mismatch")
	case r.Method == http.MethodGet && name == "":
		f.list(w, q)
	case r.Method == http.MethodPost && q.Has("uploads"):
		f.writes++
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><Bucket>box</Bucket><UploadId>u%d</UploadId></InitiateMultipartUploadResult>", f.writes)
	case r.Method == http.MethodPut && q.Has("partNumber"):
		f.uploads[q.Get("uploadId")] = body
		w.Header().Set("ETag", `"part"`)
	case r.Method == http.MethodPost && q.Has("uploadId"):
		if f.allowed(w, r, name) {
			f.store(name, f.uploads[q.Get("uploadId")], "")
			delete(f.uploads, q.Get("uploadId"))
			fmt.Fprint(w, "<CompleteMultipartUploadResult><Bucket>box</Bucket><Key>k</Key><ETag>e</ETag></CompleteMultipartUploadResult>")
		}
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		delete(f.uploads, q.Get("uploadId"))
		w.WriteHeader(204)
	case r.Method == http.MethodPut:
		if f.allowed(w, r, name) {
			w.Header().Set("ETag", f.store(name, body, r.Header.Get(writeMarkHeader)))
		}
	case r.Method == http.MethodDelete:
		delete(f.objects, name)
		w.WriteHeader(204)
	default:
		f.give(w, r, name)
	}
}

// allowed asks the conditions of a write.
func (f *fake) allowed(w http.ResponseWriter, r *http.Request, name string) bool {
	there, ok := f.objects[name]
	match := r.Header.Get("If-Match")
	switch {
	case f.careless:
	case r.Header.Get("If-None-Match") == "*" && ok:
		refuse(w, 412, "PreconditionFailed")
		return false
	case match != "" && !ok:
		refuse(w, 404, "NoSuchKey")
		return false
	case match != "" && match != there.etag:
		refuse(w, 412, "PreconditionFailed")
		return false
	}
	return true
}

func (f *fake) give(w http.ResponseWriter, r *http.Request, name string) {
	o, ok := f.objects[name]
	if !ok {
		if r.Method == http.MethodHead {
			w.WriteHeader(404)
			return
		}
		refuse(w, 404, "NoSuchKey")
		return
	}
	w.Header().Set("ETag", o.etag)
	if o.mark != "" {
		w.Header().Set(writeMarkHeader, o.mark)
	}
	if f.noLength {
		w.Header().Set("Last-Modified", o.at.Format(http.TimeFormat))
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		return
	}
	http.ServeContent(w, r, "", o.at, bytes.NewReader(o.bytes))
}

func (f *fake) list(w http.ResponseWriter, q url.Values) {
	key := func(s string) string {
		if f.foldered {
			return strings.ReplaceAll(s, "/", "\x00")
		}
		return s
	}
	names := slices.SortedFunc(maps.Keys(f.objects), func(a, b string) int { return strings.Compare(key(a), key(b)) })
	after := key(max(q.Get("start-after"), q.Get("continuation-token")))
	out := struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		EncodingType          string
		Contents              []struct {
			Key, ETag, LastModified string
			Size                    int
		}
	}{EncodingType: "url"}
	for _, name := range names {
		if !strings.HasPrefix(name, q.Get("prefix")) || key(name) <= after {
			continue
		}
		if len(out.Contents) == f.pageSize {
			out.IsTruncated = true
			out.NextContinuationToken, _ = url.QueryUnescape(out.Contents[len(out.Contents)-1].Key)
			break
		}
		o := f.objects[name]
		out.Contents = append(out.Contents, struct {
			Key, ETag, LastModified string
			Size                    int
		}{url.QueryEscape(name), o.etag, o.at.Format(time.RFC3339), len(o.bytes)})
	}
	_ = xml.NewEncoder(w).Encode(out)
}

// wireTo is a network without a network: requests go to the handler, and trouble may come in between. trouble is asked with the number of the
// request, from 1 on; nil lets it pass.
type wireTo struct {
	to      http.Handler
	trouble func(n int, r *http.Request) trouble

	mu   sync.Mutex
	sent []string // methods and paths
	when []time.Time
}

// trouble makes the answer of a request.
type trouble func(w *wireTo, r *http.Request) (*http.Response, error)

func (w *wireTo) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.sent = append(w.sent, r.Method+" "+r.URL.Path)
	w.when = append(w.when, time.Now())
	n := len(w.sent)
	w.mu.Unlock()
	if w.trouble != nil {
		if t := w.trouble(n, r); t != nil {
			return t(w, r)
		}
	}
	return w.serve(r)
}

func (w *wireTo) serve(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	b, err := io.ReadAll(in.Body)
	if err != nil {
		return nil, err
	}
	in.Body = io.NopCloser(bytes.NewReader(b))
	rec := httptest.NewRecorder()
	w.to.ServeHTTP(rec, in)
	resp := rec.Result()
	if r.Method != http.MethodHead {
		resp.ContentLength = int64(rec.Body.Len())
	}
	return resp, nil
}

func answers(status int, code string, header ...string) trouble {
	return func(_ *wireTo, _ *http.Request) (*http.Response, error) {
		rec := httptest.NewRecorder()
		rec.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
		for i := 0; i < len(header); i += 2 {
			rec.Header().Set(header[i], header[i+1])
		}
		refuse(rec, status, code)
		return rec.Result(), nil
	}
}

func fails(err error) trouble {
	return func(*wireTo, *http.Request) (*http.Response, error) { return nil, err }
}

var errReset = errors.New("read tcp: connection reset by peer")

// loses lets the server do it, and no answer come.
func loses(w *wireTo, r *http.Request) (*http.Response, error) {
	resp, err := w.serve(r)
	if err == nil {
		resp.Body.Close()
		err = errReset
	}
	return nil, err
}

// silent never answers.
func silent(_ *wireTo, r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// cuts breaks the answer's body off after n bytes, with err, or with silence.
func cuts(n int64, err error) trouble {
	return func(w *wireTo, r *http.Request) (*http.Response, error) {
		resp, failed := w.serve(r)
		if failed != nil {
			return nil, failed
		}
		resp.Body = &cutBody{io.LimitReader(resp.Body, n), resp.Body, r, err}
		return resp, nil
	}
}

type cutBody struct {
	io.Reader
	io.Closer
	r   *http.Request
	err error
}

func (c *cutBody) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	if c.err == nil {
		<-c.r.Context().Done()
		return n, c.r.Context().Err()
	}
	return n, c.err
}

// keys gives the test credentials of its own, and no others.
func keys(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_ACCESS_KEY", "AWS_SECRET_KEY",
		"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_ACCESS_KEY_ID", testKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", testSecret)
}

const (
	testKey    = "AKIAIOSFODNNEXAMPLE7"
	testSecret = "wJalrXUtnFEMI+K7MDENG/bPxRfiCYEXAMPLEKEY"
)

// over is a client whose network is the fake, with trouble. Keys must have been called.
func over(t *testing.T, f http.Handler, trouble func(int, *http.Request) trouble) (*Client, *wireTo) {
	t.Helper()
	w := &wireTo{to: f, trouble: trouble}
	c, err := New(t.Context(), Config{Bucket: "box", Endpoint: "http://127.0.0.1:9", Transport: w})
	if err != nil {
		t.Fatal(err)
	}
	return c, w
}

// first is trouble for the first requests, one after the other.
func first(ts ...trouble) func(int, *http.Request) trouble {
	return func(n int, _ *http.Request) trouble {
		if n > len(ts) {
			return nil
		}
		return ts[n-1]
	}
}

// only is trouble for one method, its first requests.
func only(method string, ts ...trouble) func(int, *http.Request) trouble {
	n := 0
	return func(_ int, r *http.Request) trouble {
		if r.Method != method {
			return nil
		}
		n++
		if n > len(ts) {
			return nil
		}
		return ts[n-1]
	}
}

func always(t trouble) func(int, *http.Request) trouble {
	return func(int, *http.Request) trouble { return t }
}
