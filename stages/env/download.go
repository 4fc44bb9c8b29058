package env

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	downloadTries = 6                // without a byte more than before
	downloadIdle  = time.Minute      // without a byte: the connection is dead
	downloadPause = time.Second      // before the second try, and twice as long before each further one
	tellFrom      = 64 << 20         // bytes: a smaller file is there before anybody asks
	longestPause  = 16 * time.Second // so that all pauses together are half a minute
)

// errIdle ends a connection over which nothing came.
var errIdle = errors.New("nothing came for a while")

// errRefused marks an answer, or a fault of this machine, that another try would meet again.
type errRefused struct{ error }

func (e errRefused) Unwrap() error { return e.error }

// download brings a large file over a line that may break: it goes on where it was, if the server can. What it brings is
// compared with a digest by whoever asked for it.
type download struct {
	client   *http.Client
	from     string        // the address
	size     int64         // bytes; one more is read, so that a longer file is noticed
	progress func(string)  // told of each break
	idle     time.Duration // see downloadIdle
	pause    time.Duration // see downloadPause

	reached bool // an answer came
}

// into writes a file, or goes on with what is there of it. It gives up after tries that brought nothing more.
func (d *download) into(ctx context.Context, name string) error {
	out, err := openPart(name)
	if err != nil {
		return err
	}
	return errors.Join(d.bring(ctx, out), out.Close())
}

// openPart: in a cache that users share, another's part may not be writable; then it is begun anew.
func openPart(name string) (*os.File, error) {
	out, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
	if errors.Is(err, fs.ErrPermission) && os.Remove(name) == nil {
		out, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
	}
	return out, err
}

func (d *download) bring(ctx context.Context, out *os.File) error {
	var most int64
	whole := false // asked for without a Range: a server may refuse those, or have another file than it had
	for tries, pause := 1, d.pause; ; tries, pause = tries+1, min(2*pause, longestPause) {
		size, err := d.once(ctx, out)
		if size > most {
			most, tries, pause = size, 1, d.pause
		}
		_, refused := errors.AsType[errRefused](err)
		if refused && size > 0 && !whole && !errors.Is(err, syscall.ENOSPC) && out.Truncate(0) == nil {
			whole = true
			continue
		}
		if err == nil || refused || tries == downloadTries {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		d.progress(fmt.Sprintf("after %d MiB of %d: %v; asking for the rest", size>>20, d.size>>20, err))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// once asks for what the file does not have yet, and says how much it has then.
func (d *download) once(ctx context.Context, out *os.File) (size int64, err error) {
	size, err = out.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, errRefused{err}
	}
	if size >= d.size {
		return size, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(d.idle, func() { cancel(errIdle) })
	defer watch.Stop()
	got, err := d.ask(ctx, size)
	if err != nil {
		return size, err
	}
	defer got.Body.Close()
	if got.StatusCode == http.StatusOK && size > 0 { // the server begins anew
		if _, err := out.Seek(0, io.SeekStart); err != nil {
			return 0, errRefused{err}
		}
		if err := out.Truncate(0); err != nil {
			return 0, errRefused{err}
		}
		size = 0
	}
	told := &told{Writer: faultless{out}, at: size, of: d.size, say: d.progress}
	in := io.LimitReader(alive{got.Body, watch, d.idle}, d.size+1-size)
	n, err := io.Copy(told, in)
	if size += n; size >= d.size { // whatever the end of the answer was
		return size, nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return size, err
}

// ask sends the request, and looks at the answer's head.
func (d *download) ask(ctx context.Context, from int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.from, http.NoBody)
	if err != nil {
		return nil, errRefused{err}
	}
	begins := fmt.Sprintf("bytes %d-", from)
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	got, err := d.client.Do(req)
	if err != nil {
		return nil, d.unreached(ctx, err)
	}
	d.reached = true
	status, place := got.StatusCode, got.Header.Get("Content-Range")
	switch {
	case status == http.StatusOK && got.ContentLength >= 0 && got.ContentLength != d.size:
		err = errRefused{fmt.Errorf("what is there has %d bytes and not %d: it is another file", got.ContentLength, d.size)}
	case status == http.StatusOK, status == http.StatusPartialContent && from > 0 && strings.HasPrefix(place, begins):
		return got, nil
	case status == http.StatusPartialContent:
		err = errRefused{fmt.Errorf("asked for the bytes from %d on, it answers with %q", from, place)}
	case status == http.StatusTooManyRequests || status >= http.StatusInternalServerError:
		err = errors.New(got.Status)
	default:
		err = errRefused{errors.New(got.Status)}
	}
	return nil, errors.Join(err, got.Body.Close())
}

// unreached is why there is no answer. Who could not be reached at all is not asked again; who was a moment ago, is.
func (d *download) unreached(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if named, ok := errors.AsType[*url.Error](err); ok {
		err = named.Err // the address is told by whoever knows what is secret in it
	}
	call, calls := errors.AsType[*net.OpError](err)
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	if untrusted || errors.Is(err, http.ErrSchemeMismatch) || calls && !d.reached && (call.Op == "dial" || call.Op == "proxyconnect") {
		return errRefused{err}
	}
	return err
}

// alive puts off the end of a connection while something comes.
type alive struct {
	io.Reader
	watch *time.Timer
	idle  time.Duration
}

func (a alive) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if n > 0 {
		a.watch.Reset(a.idle)
	}
	return n, err
}

// faultless marks what the disk refuses: another connection would not mend it.
type faultless struct{ io.Writer }

func (f faultless) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	if err != nil {
		err = errRefused{err}
	}
	return n, err
}

// told says after each tenth how much has come.
type told struct {
	io.Writer
	at, of int64
	say    func(string)
}

func (w *told) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	before := w.at * 10 / w.of
	w.at += int64(n)
	if tenth := w.at * 10 / w.of; tenth > before && tenth < 10 && w.of >= tellFrom {
		w.say(fmt.Sprintf("%d of %d MiB", w.at>>20, w.of>>20))
	}
	return n, err
}
