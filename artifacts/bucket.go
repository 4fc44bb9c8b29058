package artifacts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

var (
	// ErrUnreachable: a place on the network did not answer for as long as patience lasts.
	ErrUnreachable = errors.New("the shared cache cannot be reached")
	// ErrWithheld: it answered as servers do that cannot read an object, for as long as patience with that lasts. Whether the object is damaged or
	// the server gives nothing at all, asking for something else tells; until then it is ErrUnreachable.
	ErrWithheld = fmt.Errorf("%w for this", ErrUnreachable)
	// ErrRefused: it answered that this may not be done, and would again.
	ErrRefused = errors.New("the shared cache refuses")
)

// Object is one named thing of a bucket. Modified and Now, when it answered, are by the server's clock.
type Object struct {
	Name          string
	Size          int64
	Version       Version // another one after every write of other bytes
	Modified, Now time.Time
}

// Body is what a write sends. It is read again from its beginning when a write is repeated.
type Body struct {
	Bytes  io.ReadSeeker
	Size   int64
	Digest Digest
}

// Text is b as a body.
func Text(b []byte) Body {
	return Body{Bytes: bytes.NewReader(b), Size: int64(len(b)), Digest: Sum(b)}
}

// Objects is a flat bucket, of which names are below the place that it was opened for.
//
// Read gives n bytes from off, to the end for n < 0; with n == 0 it only asks, and off does not count. Object.Size is that of the whole.
// What is not there is ErrMissing.
//
// Write with old == nil writes in any case; with *old == Absent it creates only, else it replaces that version only: ErrConflict. A write
// whose answer was lost is read back before it is believed.
//
// Walk gives all whose names begin with prefix and come behind after, in bytewise order. Remove of what is not there is no error.
type Objects interface {
	Read(ctx context.Context, name string, off, n int64) (io.ReadCloser, Object, error)
	Write(ctx context.Context, name string, b Body, old *Version) (Object, error)
	Walk(ctx context.Context, prefix, after string) iter.Seq2[Object, error]
	Remove(ctx context.Context, name string) error
}
