package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"sync"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// piece is how much of a file is read at once.
type piece [256 << 10]byte

var pieces = sync.Pool{New: func() any { return new(piece) }}

// sum reads r for its digest. It stops after limit bytes, which saves the read that would find the end of a file whose
// size is known.
func sum(ctx context.Context, r io.Reader, limit int64) (artifacts.Digest, int64, error) {
	p := pieces.Get().(*piece)
	defer pieces.Put(p)
	return sumPieces(ctx, r, limit, func() *piece { return p }, func([]byte) {})
}

// copySum does the same and writes what it reads. One piece is written while the next is hashed, so that on two cores a
// copy that is looked at takes hardly longer than one that is not.
func copySum(ctx context.Context, w io.Writer, r io.Reader, limit int64) (artifacts.Digest, int64, error) {
	const ahead = 8
	full, free := make(chan []byte, ahead), make(chan *piece, ahead)
	for range ahead {
		free <- pieces.Get().(*piece)
	}
	defer func() {
		for range ahead {
			pieces.Put(<-free)
		}
	}()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var written sync.WaitGroup
	var failed error
	written.Go(func() { // ends when full is closed
		for p := range full {
			if failed == nil {
				if _, failed = w.Write(p); failed != nil {
					stop(failed)
				}
			}
			free <- (*piece)(p[:cap(p)])
		}
	})
	// Nobody but this goroutine takes a piece again, and not before it has hashed it.
	d, n, err := sumPieces(ctx, r, limit, func() *piece { return <-free }, func(p []byte) { full <- p })
	close(full)
	written.Wait()
	if failed != nil {
		err = failed
	}
	return d, n, err
}

// sumPieces hands each piece on before it hashes it; one that take gave is always handed on.
func sumPieces(ctx context.Context, r io.Reader, limit int64, take func() *piece, hand func([]byte)) (artifacts.Digest, int64, error) {
	h := sha256.New()
	var n int64
	var err error
	for n < limit && err == nil {
		if ctx.Err() != nil {
			return artifacts.Digest{}, n, context.Cause(ctx)
		}
		p := take()
		var got int
		got, err = r.Read(p[:])
		hand(p[:got])
		h.Write(p[:got])
		n += int64(got)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return artifacts.Digest{}, n, err
	}
	return artifacts.Digest(h.Sum(nil)), n, nil
}
