package pieces

import (
	"io"
	"iter"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts/tensor"
)

// Span is a part of a file that becomes a piece. Width is how many bytes a number in it has: 1 where there are none, or several kinds.
type Span struct {
	Off, Len int64
	Width    int
}

// chunk is a span, and its bytes where they had to be read to find it. They are valid until the next one is asked for.
type chunk struct {
	Span
	bytes []byte
}

// Cut gives the spans of a file of size bytes, one behind the other; they depend on its bytes, on how its name ends and on which tensors
// others say that it has (nil where nobody does), on nothing else. It reads as far as the spans are asked for, and stops at the first
// error. Where the file is shorter than size, so are its spans.
func Cut(src io.ReaderAt, size int64, name string, said []tensor.Tensor) iter.Seq2[Span, error] {
	return spans(cut(src, size, name, said))
}

func cut(src io.ReaderAt, size int64, name string, said []tensor.Tensor) iter.Seq2[chunk, error] {
	h := header(src, size, name, said)
	if h == nil {
		return chunks(src, 0, size)
	}
	return func(yield func(chunk, error) bool) {
		for s, err := range cutTensors(src, size, h) {
			if !yield(chunk{Span: s}, err) {
				return
			}
		}
	}
}

func spans(all iter.Seq2[chunk, error]) iter.Seq2[Span, error] {
	return func(yield func(Span, error) bool) {
		for c, err := range all {
			if !yield(c.Span, err) {
				return
			}
		}
	}
}

// header is what a file says of its tensors, or else what others say of it. One that cannot be read is cut by its content: whoever reads
// that meets the same error.
func header(src io.ReaderAt, size int64, name string, said []tensor.Tensor) *tensor.Header {
	var h *tensor.Header
	var err error
	switch {
	case strings.HasSuffix(name, ".safetensors"):
		h, err = tensor.ReadSafetensors(src, size)
	case strings.HasSuffix(name, ".gguf"):
		h, err = tensor.ReadGGUF(src, size)
	default:
		h = told(said, size)
	}
	if err != nil {
		return nil
	}
	return h
}

// told is the header of a file whose tensors others name. Those that it cannot have are left out.
func told(said []tensor.Tensor, size int64) *tensor.Header {
	end := len(said)
	for end > 0 && said[end-1].Offset >= size {
		end--
	}
	if end == 0 {
		return nil
	}
	return &tensor.Header{Tensors: said[:end], Data: said[0].Offset}
}

// incompressible tries size bytes at off by a sample of their middle.
func incompressible(src io.ReaderAt, off, size int64, width int) (bool, error) {
	n := min(size, sampleSize)
	b := take(int(n))
	defer give(b)
	if _, err := io.ReadFull(io.NewSectionReader(src, off+(size-n)/2, n), b); err != nil {
		return false, err
	}
	c := coders.Get().(*coder)
	defer coders.Put(c)
	how, err := c.choose(b, width)
	return how == asIs, err
}
