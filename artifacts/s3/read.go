package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Read gives bytes of a name; see artifacts.Objects. An offset behind the end is an error. The reader goes on at its place when the connection
// breaks, and ends with artifacts.ErrDamaged where other bytes have come behind the name meanwhile; so it needs ctx until it is closed.
func (c *Client) Read(ctx context.Context, name string, off, n int64) (io.ReadCloser, artifacts.Object, error) {
	if n == 0 {
		o, _, err := c.stat(ctx, name)
		return http.NoBody, o, err
	}
	if off < 0 {
		return nil, artifacts.Object{}, fmt.Errorf("reading %s: the offset %d is negative", name, off)
	}
	b := &body{call: c.call("reading", name, mayRead), ctx: ctx, pos: off, end: -1}
	if n > 0 {
		b.end = off + n
	}
	o, err := b.open(name)
	var out *refusal
	if errors.As(err, &out) && out.status == http.StatusRequestedRangeNotSatisfiable {
		return c.emptyRange(ctx, name, off)
	}
	if err != nil {
		return nil, artifacts.Object{}, err
	}
	return b, o, nil
}

// emptyRange is for a range of which no byte exists: fine at the very end only, as for files.
func (c *Client) emptyRange(ctx context.Context, name string, off int64) (io.ReadCloser, artifacts.Object, error) {
	o, _, err := c.stat(ctx, name)
	if err == nil && off != o.Size {
		err = fmt.Errorf("reading %s: offset %d is outside of its %d bytes", name, off, o.Size)
	}
	if err != nil {
		return nil, artifacts.Object{}, err
	}
	return http.NoBody, o, nil
}

const asking = "asking for" // what a HEAD is doing

// stat asks for a name without its bytes.
func (c *Client) stat(ctx context.Context, name string) (artifacts.Object, http.Header, error) {
	k := c.call(asking, name, mayRead)
	size := int64(0)
	a, err := k.repeat(ctx, func(a *attempt) error {
		info, err := c.core.StatObject(a.ctx, c.bucket, k.name, minio.StatObjectOptions{})
		size = info.Size
		return keyBelowFile(a, err)
	})
	if err != nil {
		return artifacts.Object{}, nil, err
	}
	defer a.end()
	return object(name, size, a.header), a.header, nil
}

// keyBelowFile turns the answer of servers that keep names as files, to a name below one that is a file, into what it means for a reader.
func keyBelowFile(a *attempt, err error) error {
	if err != nil && a.err == nil && a.status == http.StatusConflict {
		a.status = http.StatusNotFound
		return minio.ErrorResponse{Code: "NoSuchKey"}
	}
	return err
}

// object is what the header of an answer says.
func object(name string, size int64, h http.Header) artifacts.Object {
	o := artifacts.Object{Name: name, Size: size, Version: version(h.Get("ETag")), Now: now(h)}
	o.Modified, _ = http.ParseTime(h.Get("Last-Modified")) // zero where it says nothing
	return o
}

func version(etag string) artifacts.Version { return artifacts.Version(strings.Trim(etag, `"`)) }

func now(h http.Header) time.Time {
	t, _ := http.ParseTime(h.Get("Date"))
	return t
}

// body is the bytes of one Read, over as many connections as it takes.
type body struct {
	*call
	ctx      context.Context
	pos, end int64 // end is -1 for that of the object, until the first answer
	size     int64 // of the object
	version  artifacts.Version
	fresh    int // bytes since the last progress

	in  io.ReadCloser // nil: nothing is open
	try *attempt
	err error // of the last Read, for good
}

// open asks for what has not been read yet.
func (b *body) open(name string) (artifacts.Object, error) {
	var o artifacts.Object
	try, err := b.repeat(b.ctx, func(a *attempt) error {
		in, _, _, err := b.c.core.GetObject(a.ctx, b.c.bucket, b.name, b.request())
		if err != nil {
			return keyBelowFile(a, err)
		}
		o, err = b.check(name, a)
		if err != nil {
			in.Close()
			return ownError{err}
		}
		b.in = in
		return nil
	})
	b.try = try
	return o, err
}

// request is for the bytes from pos on; once some have come, for those of the same version.
func (b *body) request() minio.GetObjectOptions {
	opts := minio.GetObjectOptions{}
	switch {
	case b.end >= 0:
		opts.Set("Range", fmt.Sprintf("bytes=%d-%d", b.pos, b.end-1))
	case b.pos > 0:
		opts.Set("Range", fmt.Sprintf("bytes=%d-", b.pos))
	}
	if b.version != "" {
		opts.Set("If-Match", `"`+string(b.version)+`"`)
	}
	return opts
}

// check reads the header of an answer: it must be for the bytes that were asked for, and of the same object as before.
func (b *body) check(name string, a *attempt) (artifacts.Object, error) {
	size, err := wholeSize(a, b.pos)
	if err != nil {
		return artifacts.Object{}, err
	}
	o := object(name, size, a.header)
	if b.version != "" {
		if o.Version != b.version || o.Size != b.size {
			return artifacts.Object{}, errReplaced
		}
		return o, nil
	}
	b.version, b.size = o.Version, size
	if b.end < 0 || b.end > size {
		b.end = size
	}
	return o, nil
}

var errReplaced = fmt.Errorf("%w: its bytes were replaced while they were read", artifacts.ErrDamaged)

// wholeSize is that of the object. An answer with the whole of it will do where that was asked for from its beginning.
func wholeSize(a *attempt, pos int64) (int64, error) {
	if a.status == http.StatusOK {
		n, err := strconv.ParseInt(a.header.Get("Content-Length"), 10, 64)
		switch {
		case err != nil:
			return 0, errors.New("the server does not say how long it is")
		case pos > 0:
			return 0, errors.New("the server does not give ranges")
		}
		return n, nil
	}
	said := a.header.Get("Content-Range")
	span, whole, _ := strings.Cut(strings.TrimPrefix(said, "bytes "), "/")
	first, _, _ := strings.Cut(span, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	size, err2 := strconv.ParseInt(whole, 10, 64)
	if err != nil || err2 != nil || from != pos || size < pos {
		return 0, fmt.Errorf("the server was asked for the bytes from %d on and gave %q", pos, said)
	}
	return size, nil
}

func (b *body) Read(p []byte) (int, error) {
	for b.err == nil {
		switch {
		case b.pos >= b.end:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		case b.in == nil:
			b.err = b.reopen()
			continue
		}
		n, err := b.in.Read(p[:min(int64(len(p)), b.end-b.pos)])
		if n > 0 {
			b.pos += int64(n)
			b.progress(n)
		}
		if err != nil && b.pos < b.end {
			try := b.try
			b.drop()
			b.err = b.again(b.ctx, try, err)
		}
		if n > 0 {
			return n, nil // what failed for good is told by the next Read
		}
	}
	return 0, b.err
}

// progress counts bytes; a few are none.
func (b *body) progress(n int) {
	if b.fresh += n; b.fresh >= trickle {
		b.fresh = 0
		b.moved()
	}
}

func (b *body) reopen() error {
	_, err := b.open(b.name)
	var r *refusal
	if errors.As(err, &r) && (r.status == http.StatusPreconditionFailed || r.status == http.StatusRequestedRangeNotSatisfiable) {
		return fmt.Errorf("%s: %w", b.call, errReplaced)
	}
	return err
}

func (b *body) drop() {
	if b.in != nil {
		b.try.end() // before Close, which could wait for a server that is silent
		b.in.Close()
		b.in = nil
	}
}

// Close lets the connection go; it can be used again where all was read.
func (b *body) Close() error {
	if b.in != nil && b.pos >= b.end {
		b.in.Close()
		b.try.end()
		b.in = nil
	}
	b.drop()
	b.err = errClosed
	return nil
}

var errClosed = errors.New("reading from a closed object")
