package bucket

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"os"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// maxInMemory is how many bytes of a blob are taken into memory to be verified before the first is sent.
const maxInMemory = 8 << 20

func blobName(d artifacts.Digest) string { return artifacts.BlobsFolder + d.Hex() }

// Stat gives the size of a blob. It asks, and reads nothing: the bytes may be damaged.
func (p *Place) Stat(ctx context.Context, d artifacts.Digest) (int64, error) {
	r, o, err := p.objects.Read(ctx, blobName(d), 0, 0)
	if err != nil {
		return 0, fmt.Errorf("blob %s in the shared cache: %w", d.Short(), err)
	}
	if r != nil {
		r.Close()
	}
	return o.Size, nil
}

// Open reads n bytes from off, fewer where the blob ends before. Of a whole blob the digest is checked before its end is told:
// ErrDamaged comes in place of io.EOF.
func (p *Place) Open(ctx context.Context, d artifacts.Digest, off, n int64) (io.ReadCloser, error) {
	if off < 0 {
		return nil, fmt.Errorf("blob %s: offset %d is outside of it", d.Short(), off)
	}
	if n == 0 {
		return p.openNothing(ctx, d, off)
	}
	if n > math.MaxInt64-off {
		n = -1
	}
	r, o, err := p.objects.Read(ctx, blobName(d), off, n)
	if err != nil {
		return nil, fmt.Errorf("blob %s in the shared cache: %w", d.Short(), err)
	}
	if off > 0 || n >= 0 && n < o.Size {
		return r, nil
	}
	return &verified{r, sha256.New(), d}, nil
}

// openNothing is its own case, since a request for no bytes would be one for all of them.
func (p *Place) openNothing(ctx context.Context, d artifacts.Digest, off int64) (io.ReadCloser, error) {
	size, err := p.Stat(ctx, d)
	if err != nil {
		return nil, err
	}
	if off > size {
		return nil, fmt.Errorf("blob %s: offset %d is outside of its %d bytes", d.Short(), off, size)
	}
	return io.NopCloser(bytes.NewReader(nil)), nil
}

// verified is a whole blob on its way in.
type verified struct {
	io.ReadCloser
	hash hash.Hash
	want artifacts.Digest
}

func (v *verified) Read(b []byte) (int, error) {
	n, err := v.ReadCloser.Read(b)
	v.hash.Write(b[:n])
	if errors.Is(err, io.EOF) {
		if got := artifacts.Digest(v.hash.Sum(nil)); got != v.want {
			return n, fmt.Errorf("blob %s in the shared cache: %w: it came as %s", v.want.Short(), artifacts.ErrDamaged, got.Short())
		}
	}
	return n, err
}

// Put stores the bytes of r, which must be those that want names: they are verified before the first is sent, and the server
// compares what arrives with the digest again. A blob of more than 8 MiB should be an io.ReadSeeker at its beginning, or it is written
// to a file in between. What is there already is written again, which mends it where it was damaged.
func (p *Place) Put(ctx context.Context, want artifacts.Blob, r io.Reader) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err := p.put(ctx, want, r)
	if err != nil {
		return fmt.Errorf("storing %s in the shared cache: %w", want.Digest.Short(), err)
	}
	return nil
}

func (p *Place) put(ctx context.Context, want artifacts.Blob, r io.Reader) error {
	if want.Size <= maxInMemory {
		b := bytes.NewBuffer(make([]byte, 0, max(want.Size, 0)))
		if err := copyExactly(b, r, want); err != nil {
			return err
		}
		return p.send(ctx, want, bytes.NewReader(b.Bytes()))
	}
	if s, ok := atBeginning(r); ok {
		if err := copyExactly(io.Discard, r, want); err != nil {
			return err
		}
		return p.send(ctx, want, s)
	}
	f, err := os.CreateTemp("", "tinfra-put-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := copyExactly(f, r, want); err != nil {
		return err
	}
	return p.send(ctx, want, f)
}

// atBeginning tells a reader that can be read twice, and would be the same both times. A pipe is an *os.File too.
func atBeginning(r io.Reader) (io.ReadSeeker, bool) {
	s, ok := r.(io.ReadSeeker)
	if !ok {
		return nil, false
	}
	at, err := s.Seek(0, io.SeekCurrent)
	return s, err == nil && at == 0
}

func (p *Place) send(ctx context.Context, want artifacts.Blob, s io.ReadSeeker) error {
	_, err := p.objects.Write(ctx, blobName(want.Digest), artifacts.Body{Bytes: s, Size: want.Size, Digest: want.Digest}, nil)
	return err
}

// copyExactly copies r to its end, and refuses it where it is not what want says.
func copyExactly(w io.Writer, r io.Reader, want artifacts.Blob) error {
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(r, want.Size+1))
	switch got := artifacts.Digest(h.Sum(nil)); {
	case err != nil:
		return err
	case n != want.Size:
		return fmt.Errorf("%w: it does not have %d bytes", artifacts.ErrDamaged, want.Size)
	case got != want.Digest:
		return fmt.Errorf("%w: it came as %s", artifacts.ErrDamaged, got.Short())
	}
	return nil
}
