package pieces

import (
	"fmt"
	"io"
	"iter"

	"github.com/Ruihan11/tiny-infra/artifacts/tensor"
)

const (
	largeTensor = 256 << 10 // bytes from which a tensor begins a piece of its own
	tensorPiece = 4 << 20   // bytes between the cuts of a tensor
	densePiece  = 8 << 20   // the same of one that no codec makes smaller: fewer requests for as many bytes
	joinedLimit = 1 << 20   // bytes of what is joined
)

// widths are those of the types whose bytes are worth grouping. Quantized blocks are mixtures.
var widths = map[string]int{"BF16": 2, "F16": 2, "F32": 4, "F64": 8}

func width(t *tensor.Tensor) int { return max(1, widths[t.DType]) }

// tensorCutter cuts a file at its tensors. What pads a tensor belongs to it.
type tensorCutter struct {
	src   io.ReaderAt
	yield func(Span, error) bool
	run   Span // small tensors that are not given yet
}

func cutTensors(src io.ReaderAt, size int64, h *tensor.Header) iter.Seq2[Span, error] {
	return func(yield func(Span, error) bool) {
		c := &tensorCutter{src: src, yield: yield}
		data := min(h.Data, size)
		if !c.header(data) {
			return
		}
		for i := range h.Tensors {
			t := &h.Tensors[i]
			end := size
			if i+1 < len(h.Tensors) {
				end = h.Tensors[i+1].Offset
			}
			if !c.tensor(t, end-t.Offset) {
				return
			}
		}
		c.flush()
	}
}

// header is one piece, unless it is so long that a change in it is worth finding.
func (c *tensorCutter) header(size int64) bool {
	if size <= joinedLimit {
		return size == 0 || c.yield(Span{0, size, 1}, nil)
	}
	for s, err := range cutContent(c.src, 0, size) {
		if !c.yield(s, err) {
			return false
		}
	}
	return true
}

// tensor takes one of size bytes, padding included.
func (c *tensorCutter) tensor(t *tensor.Tensor, size int64) bool {
	w := width(t)
	if t.Size < largeTensor && size < joinedLimit {
		if c.run.Len+size > joinedLimit && !c.flush() {
			return false
		}
		if c.run.Len == 0 {
			c.run = Span{t.Offset, 0, w}
		}
		if size > 0 && c.run.Width != w {
			c.run.Width = 1
		}
		c.run.Len += size
		return true
	}
	return c.flush() && c.large(t.Offset, size, w)
}

func (c *tensorCutter) flush() bool {
	run := c.run
	c.run = Span{}
	return run.Len == 0 || c.yield(run, nil)
}

// large cuts at equal steps from the tensor's own beginning, so that it has the same pieces wherever it lies.
func (c *tensorCutter) large(off, size int64, w int) bool {
	step := int64(tensorPiece)
	if size > step {
		dense, err := incompressible(c.src, off, size, w)
		if err != nil {
			return c.yield(Span{}, fmt.Errorf("trying a tensor: %w", err))
		}
		if dense {
			step = densePiece
		}
	}
	for size > 0 {
		n := min(size, step)
		if size-n < largeTensor {
			n = size // no piece of a few bytes at the end
		}
		if !c.yield(Span{off, n, w}, nil) {
			return false
		}
		off, size = off+n, size-n
	}
	return true
}
