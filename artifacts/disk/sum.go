package disk

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// pieces are what files are read into.
var pieces = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// sum reads r for its digest. It stops after limit bytes, which saves the read that would find the end of a file whose
// size is known.
func sum(ctx context.Context, r io.Reader, limit int64) (artifacts.Digest, int64, error) {
	p := pieces.Get().(*[256 << 10]byte)
	defer pieces.Put(p)
	h := sha256.New()
	var n int64
	for n < limit {
		if ctx.Err() != nil {
			return artifacts.Digest{}, n, context.Cause(ctx)
		}
		got, err := r.Read(p[:])
		h.Write(p[:got])
		n += int64(got)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return artifacts.Digest{}, n, err
		}
	}
	return artifacts.Digest(h.Sum(nil)), n, nil
}

// eagerly is after how many bytes of a file that comes here the disk begins to write them. When all have come there is little left to wait for.
const eagerly = 16 << 20

// eager writes a file that will be flushed.
type eager struct {
	f     *os.File
	fresh int // bytes that nobody has begun to flush
}

func (e *eager) Write(b []byte) (int, error) {
	n, err := e.f.Write(b)
	if e.fresh += n; e.fresh >= eagerly {
		e.fresh = 0
		startFlush(int(e.f.Fd()))
	}
	return n, err
}

// copySum copies limit bytes, or fewer where src ends before, and gives the digest of what it wrote. The kernel copies,
// while what it has copied is read again and hashed: on two cores that takes hardly longer than a copy that nobody looks at.
func copySum(ctx context.Context, dst, src *os.File, limit int64) (artifacts.Digest, int64, error) {
	const step = 1 << 20 // bytes: what was just copied is in the processor's cache still
	ctx, stop := context.WithCancel(ctx)
	t := &trail{f: dst, grown: make(chan int64, 64)}
	var copying sync.WaitGroup
	var failed error
	copying.Go(func() { // ends at the end of src, or with ctx
		defer close(t.grown)
		for done := int64(0); done < limit && failed == nil; {
			var n int64
			n, failed = io.CopyN(dst, src, min(step, limit-done))
			done += n
			select {
			case t.grown <- n:
			case <-ctx.Done():
				failed = context.Cause(ctx)
			}
		}
	})
	d, n, err := sum(ctx, t, limit)
	stop()
	copying.Wait()
	if errors.Is(failed, io.EOF) {
		failed = nil
	}
	return d, n, cmp.Or(err, failed)
}

// trail reads a file as far as it has been written, and then waits for more.
type trail struct {
	f       *os.File
	grown   chan int64 // by how many bytes
	at, end int64
}

func (t *trail) Read(p []byte) (int, error) {
	for t.at == t.end {
		n, more := <-t.grown
		if !more {
			return 0, io.EOF
		}
		t.end += n
	}
	n, err := t.f.ReadAt(p[:min(int64(len(p)), t.end-t.at)], t.at)
	t.at += int64(n)
	return n, err
}
