package shared

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Joined is this machine's cache folder in which the small blobs that have come can be read too, before Keep has written them down. It
// asks no network, and whatever is written is written to the folder.
type Joined struct {
	Local
	remote *Remote
}

// Joined gives it. A cache over it that is Beside r is what plans are made of.
func (r *Remote) Joined() Joined { return Joined{r.local, r} }

// Stat gives the size of a blob that is here, or has come.
func (j Joined) Stat(ctx context.Context, d artifacts.Digest) (int64, error) {
	n, err := j.Local.Stat(ctx, d)
	if err == nil || !gone(err) {
		return n, err
	}
	if b := j.remote.Bytes(d); b != nil {
		return int64(len(b)), nil
	}
	return 0, err
}

// Kept gives the size of a blob that is here. What has come may never be written down: that is done for what belongs to a record which
// was found.
func (j Joined) Kept(ctx context.Context, d artifacts.Digest) (int64, error) {
	return j.Local.Stat(ctx, d)
}

// Open reads n bytes from off, fewer where the blob ends before.
func (j Joined) Open(ctx context.Context, d artifacts.Digest, off, n int64) (io.ReadCloser, error) {
	r, err := j.Local.Open(ctx, d, off, n)
	if err == nil || !gone(err) {
		return r, err
	}
	b := j.remote.Bytes(d)
	if b == nil {
		return nil, err
	}
	size := int64(len(b))
	if off < 0 || off > size {
		return nil, fmt.Errorf("blob %s: offset %d is outside of its %d bytes", d.Short(), off, size)
	}
	if n < 0 || n > size-off {
		n = size - off
	}
	return io.NopCloser(bytes.NewReader(b[off : off+n])), nil
}

// gone: it is not there, or not as it was. Who could not ask does not know that.
func gone(err error) bool {
	if errors.Is(err, artifacts.ErrUnreachable) || errors.Is(err, artifacts.ErrRefused) {
		return false
	}
	return errors.Is(err, artifacts.ErrMissing) || errors.Is(err, artifacts.ErrDamaged)
}

// absent: it is not there at all.
func absent(err error) bool {
	return errors.Is(err, artifacts.ErrMissing) && !errors.Is(err, artifacts.ErrDamaged)
}
