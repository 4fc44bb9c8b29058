package shared

import (
	"context"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts/pieces"
)

// stream is the bytes of a file, of which several parts are asked for at once and read in their order. Whoever reads it ends it.
type stream struct {
	tree   *tree
	ctx    context.Context
	cancel context.CancelFunc
	group  *errgroup.Group
	parts  []chan *came // of one each
	next   int
	ahead  turns // of all streams. Each has those of its next parts, so all come on
	taken  int   // of ahead: of the group's first goroutine, until the group has ended
	given  int   // back
	rest   [][]byte
	now    *came // which rest is of
	read   int64 // bytes of it
	meter  *meter
}

func (r *Remote) stream(ctx context.Context, t *tree, w wanted, m *meter) *stream {
	s := &stream{tree: t, ahead: r.ahead, meter: m}
	ctx, s.cancel = context.WithCancel(ctx)
	s.group, s.ctx = errgroup.WithContext(ctx)
	all := t.parts(w.extents)
	s.parts = make([]chan *came, len(all))
	for i := range s.parts {
		s.parts[i] = make(chan *came, 1)
	}
	s.group.Go(func() error {
		for i, part := range all {
			if err := s.ahead.take(s.ctx); err != nil {
				return err
			}
			s.taken++
			s.group.Go(func() error {
				b, err := r.part(s.ctx, t, part)
				s.parts[i] <- b
				return err
			})
		}
		return nil
	})
	return s
}

// end waits for all that is under way.
func (s *stream) end() {
	s.cancel()
	_ = s.group.Wait() // Read has said it
	for ; s.given < s.taken; s.given++ {
		s.ahead.give()
	}
}

// whole tells whether all parts came: then what is wrong with the file, Read does not know of.
func (s *stream) whole() bool { return s.next == len(s.parts) }

// Read gives what comes next.
func (s *stream) Read(b []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.next == len(s.parts) {
			return 0, io.EOF
		}
		select {
		case s.now = <-s.parts[s.next]:
		case <-s.ctx.Done():
			return 0, context.Cause(s.ctx)
		}
		if s.now == nil {
			<-s.ctx.Done() // its reader has failed
			return 0, context.Cause(s.ctx)
		}
		s.rest = s.now.chunks
		s.next++
	}
	n := copy(b, s.rest[0])
	s.read += int64(n)
	if s.rest[0] = s.rest[0][n:]; len(s.rest[0]) == 0 {
		if s.rest = s.rest[1:]; len(s.rest) == 0 {
			s.tree.give(s.now.buffers...)
			s.ahead.give()
			s.given++
			s.meter.add(s.read)
			s.read = 0
		}
	}
	return n, nil
}

// part is some extents, one behind the other, that are asked for at once.
type part struct {
	span
	extents []pieces.Extent
}

// parts divides the extents of a file.
func (t *tree) parts(extents []pieces.Extent) []part {
	var all []part
	var raw uint32
	for _, e := range extents {
		if n := len(all); n > 0 && raw+e.Length <= maxSpan && all[n-1].grow(t, e.Piece) {
			all[n-1].extents = append(all[n-1].extents, e)
			raw += e.Length
			continue
		}
		all = append(all, part{t.span(e.Piece), []pieces.Extent{e}})
		raw = e.Length
	}
	return all
}

// came is a part that has come.
type came struct {
	chunks  [][]byte
	buffers [][]byte // that the chunks lie in
}

// part reads one.
func (r *Remote) part(ctx context.Context, t *tree, p part) (*came, error) {
	stored, err := r.readSpan(ctx, t, p.span)
	if err != nil {
		return nil, err
	}
	c := &came{buffers: [][]byte{stored}}
	var raw []byte
	last := -1
	for _, e := range p.extents {
		if last != int(e.Piece) {
			if raw, err = r.decode(t, p.span, stored, e.Piece); err != nil {
				return nil, err
			}
			if t.Pieces[e.Piece].Codec != pieces.Raw {
				c.buffers = append(c.buffers, raw)
			}
			last = int(e.Piece)
		}
		c.chunks = append(c.chunks, raw[e.Offset:e.Offset+e.Length])
	}
	if len(c.buffers) > 1 && !t.anyRaw(p.extents) {
		t.give(stored) // all that is needed of it was decoded
		c.buffers = c.buffers[1:]
	}
	return c, nil
}

func (t *tree) anyRaw(extents []pieces.Extent) bool {
	return slices.ContainsFunc(extents, func(e pieces.Extent) bool { return t.Pieces[e.Piece].Codec == pieces.Raw })
}
