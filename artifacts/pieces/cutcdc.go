package pieces

import (
	"errors"
	"fmt"
	"io"
	"iter"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	_ "github.com/PlakarKorp/go-cdc-chunkers/chunkers/fastcdc" // registers the algorithm
)

// algorithm is FastCDC with masks for the sizes below. The one called "fastcdc" has those for 8 KiB only, and cuts at fixed places with
// larger sizes.
const algorithm = "fastcdc-v1.0.0"

// contentSizes and denseSizes are the least, usual and most bytes between cuts; the latter are for what no codec makes smaller: archives,
// media, what is encrypted. A change within such a file mostly changes all that follows, so larger pieces lose nothing and cost fewer requests.
// Up to the least no cut is looked for. So close to the usual it halves the time that the search takes; cuts below the usual are rare in any
// case, and those behind a change fall into step as soon.
var (
	contentSizes = chunkers.ChunkerOpts{MinSize: 256 << 10, NormalSize: 1 << 20, MaxSize: 4 << 20}
	denseSizes   = chunkers.ChunkerOpts{MinSize: 7 << 20, NormalSize: 8 << 20, MaxSize: MaxPiece}
)

// denseLeast is how many bytes a file has at least to be cut by denseSizes.
const denseLeast = 32 << 20

// cutContent gives the spans of size bytes at off, cut where their content says.
func cutContent(src io.ReaderAt, off, size int64) iter.Seq2[Span, error] {
	return spans(chunks(src, off, size))
}

func chunks(src io.ReaderAt, off, size int64) iter.Seq2[chunk, error] {
	return func(yield func(chunk, error) bool) {
		opts := contentSizes
		dense, err := denseContent(src, off, size)
		if err != nil {
			yield(chunk{}, fmt.Errorf("trying a file: %w", err))
			return
		}
		if dense {
			opts = denseSizes
		}
		buf := take(max(opts.MaxSize, MaxPiece/2))
		defer give(buf)
		c, err := chunkers.NewChunkerBuffer(algorithm, io.NewSectionReader(src, off, size), &opts, buf)
		if err != nil {
			yield(chunk{}, fmt.Errorf("cutting a file: %w", err))
			return
		}
		for {
			b, err := c.Next()
			if err != nil && !errors.Is(err, io.EOF) {
				yield(chunk{}, fmt.Errorf("cutting a file: %w", err))
				return
			}
			n := int64(len(b))
			if n > 0 && !yield(chunk{Span{off, n, 1}, b}, nil) {
				return
			}
			off += n
			if err != nil {
				return
			}
		}
	}
}

// denseContent tries a large file in three places: all of them must be incompressible, since most files are of one kind of bytes.
func denseContent(src io.ReaderAt, off, size int64) (bool, error) {
	if size < denseLeast {
		return false, nil
	}
	for i := range int64(3) {
		at := size * (i + 1) / 4
		dense, err := incompressible(src, off+at, sampleSize, 1)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return false, nil // shorter than was said: whoever adds up the spans sees it
		}
		if !dense || err != nil {
			return false, err
		}
	}
	return true, nil
}
