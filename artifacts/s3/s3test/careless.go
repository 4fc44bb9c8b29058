package s3test

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// careless is a server that looks like S3 and honours no condition on a write. It also asks for no credentials.
type careless struct {
	mu      sync.Mutex
	objects map[string]kept // by path: /bucket/name
	parts   map[string]map[int][]byte
	uploads int
}

type kept struct {
	bytes    []byte
	meta     http.Header
	modified time.Time
}

func (k kept) etag() string {
	sum := md5.Sum(k.bytes)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// Careless starts one within this process; it ends with the test. Any bucket is there.
func Careless(t testing.TB) *Server {
	t.Helper()
	server := httptest.NewServer(&careless{objects: make(map[string]kept), parts: make(map[string]map[int][]byte)})
	t.Cleanup(server.Close)
	return &Server{Kind: "careless", Endpoint: server.URL, home: t.TempDir()}
}

func (c *careless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sent, err := sentBytes(r)
	if err != nil {
		fail(w, r, http.StatusBadRequest, "IncompleteBody")
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	q := r.URL.Query()
	_, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case name == "":
		c.bucket(w, r)
	case q.Has("uploads") || q.Has("uploadId"):
		c.multipart(w, r, sent)
	case r.Method == http.MethodPut:
		c.keep(w, r, sent)
	case r.Method == http.MethodDelete:
		delete(c.objects, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	default:
		c.give(w, r)
	}
}

// sentBytes reads a body; one that is signed piece by piece is a row of chunks, each behind a line with its size in hex.
func sentBytes(r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil || !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return b, err
	}
	var out []byte
	for rest := string(b); ; {
		line, after, _ := strings.Cut(rest, "\r\n")
		hexSize, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseUint(hexSize, 16, 31)
		switch {
		case err != nil:
			return nil, err
		case n == 0:
			return out, nil
		case len(after) < int(n)+2:
			return nil, io.ErrUnexpectedEOF
		}
		out = append(out, after[:n]...)
		rest = after[n+2:]
	}
}

func (c *careless) keep(w http.ResponseWriter, r *http.Request, b []byte) {
	k := kept{b, http.Header{}, time.Now()}
	for name, vals := range r.Header {
		if strings.HasPrefix(name, "X-Amz-Meta-") {
			k.meta[name] = vals
		}
	}
	c.objects[r.URL.Path] = k
	w.Header().Set("ETag", k.etag())
}

func (c *careless) give(w http.ResponseWriter, r *http.Request) {
	k, ok := c.objects[r.URL.Path]
	if !ok {
		fail(w, r, http.StatusNotFound, "NoSuchKey")
		return
	}
	maps.Copy(w.Header(), k.meta)
	w.Header().Set("ETag", k.etag())
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", k.modified, strings.NewReader(string(k.bytes)))
}

type listed struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	Contents              []listedObject
}

type listedObject struct {
	Key          string
	LastModified time.Time
	ETag         string
	Size         int
}

// bucket answers what is asked of a bucket: whether it is there, where it is, and what is in it.
func (c *careless) bucket(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Has("location") {
		fmt.Fprint(w, `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></LocationConstraint>`)
		return
	}
	if r.Method != http.MethodGet {
		return
	}
	limit, err := strconv.Atoi(q.Get("max-keys"))
	if err != nil || limit < 1 || limit > 1000 {
		limit = 1000
	}
	root, after := strings.TrimSuffix(r.URL.Path, "/")+"/", max(q.Get("start-after"), q.Get("continuation-token"))
	var out listed
	for _, path := range slices.Sorted(maps.Keys(c.objects)) {
		name, in := strings.CutPrefix(path, root)
		if !in || name <= after || !strings.HasPrefix(name, q.Get("prefix")) {
			continue
		}
		if len(out.Contents) == limit {
			out.IsTruncated, out.NextContinuationToken = true, out.Contents[limit-1].Key
			break
		}
		k := c.objects[path]
		out.Contents = append(out.Contents, listedObject{name, k.modified.UTC(), k.etag(), len(k.bytes)})
	}
	answerXML(w, out)
}

// multipart keeps the parts of an upload until it is completed, over whatever is there.
func (c *careless) multipart(w http.ResponseWriter, r *http.Request, b []byte) {
	q := r.URL.Query()
	id := q.Get("uploadId")
	parts, begun := c.parts[id]
	switch {
	case q.Has("uploads"):
		c.uploads++
		id = strconv.Itoa(c.uploads)
		c.parts[id] = make(map[int][]byte)
		answerXML(w, struct {
			XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
			UploadId string
		}{UploadId: id})
	case !begun:
		fail(w, r, http.StatusNotFound, "NoSuchUpload")
	case r.Method == http.MethodPut:
		n, err := strconv.Atoi(q.Get("partNumber"))
		if err != nil {
			fail(w, r, http.StatusBadRequest, "InvalidArgument")
			return
		}
		parts[n] = b
		w.Header().Set("ETag", kept{bytes: b}.etag())
	case r.Method == http.MethodPost:
		var whole []byte
		for _, n := range slices.Sorted(maps.Keys(parts)) {
			whole = append(whole, parts[n]...)
		}
		k := kept{whole, http.Header{}, time.Now()}
		c.objects[r.URL.Path] = k
		delete(c.parts, id)
		answerXML(w, struct {
			XMLName      xml.Name `xml:"CompleteMultipartUploadResult"`
			Bucket, ETag string
		}{Bucket: strings.Split(r.URL.Path, "/")[1], ETag: k.etag()})
	default:
		delete(c.parts, id)
		w.WriteHeader(http.StatusNoContent)
	}
}

func answerXML(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(v) // a client that has gone needs no answer
}
