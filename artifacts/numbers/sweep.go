package numbers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

const (
	// pieceSize is how much is read at once, in bytes; whole numbers of any width.
	pieceSize = 4 << 20
	// maxWorkers bounds memory: each holds a piece of either side.
	maxWorkers = 8
)

// piece is a part of a tensor.
type piece struct {
	pair, index int
	offset      int64
	size        int
}

// sweep gives the pieces of tensors out, in order, to as many workers as there are cores.
type sweep struct {
	pairs []pair
	skip  func(pair int) bool // the rest of a tensor
	tell  func(done, total int64)

	mu          sync.Mutex // of what follows
	at          piece      // the next
	done, total int64
}

// worker compares pieces; a and b are what it has read.
type worker struct {
	a, b []byte
	scratch
}

func (s *sweep) run(ctx context.Context, each func(w *worker, p piece) error) error {
	largest := int64(0)
	for i := range s.pairs {
		s.total += s.pairs[i].a.Size
		largest = max(largest, min(s.pairs[i].a.Size, pieceSize))
	}
	if len(s.pairs) == 0 {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	for range min(runtime.GOMAXPROCS(0), maxWorkers) {
		group.Go(func() error {
			w := &worker{a: make([]byte, largest), b: make([]byte, largest)}
			for p, ok := s.next(); ok; p, ok = s.next() {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err := s.one(w, p, each); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// next is the piece that nobody has taken yet.
func (s *sweep) next() (piece, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.at.pair < len(s.pairs) {
		left := s.pairs[s.at.pair].a.Size - s.at.offset
		if left > 0 && !s.skip(s.at.pair) {
			p := s.at
			p.size = int(min(left, pieceSize))
			s.at.index++
			s.at.offset += int64(p.size)
			return p, true
		}
		s.done += left
		s.at = piece{pair: s.at.pair + 1}
	}
	return piece{}, false
}

// one reads both sides of a piece and lets it be compared.
func (s *sweep) one(w *worker, p piece, each func(w *worker, p piece) error) error {
	pair := &s.pairs[p.pair]
	whole := w.a[:cap(w.a)]
	w.a, w.b = whole[:p.size], w.b[:cap(w.b)][:p.size]
	if err := pair.a.read(w.a, p.offset); err != nil {
		return err
	}
	if err := pair.b.read(w.b, p.offset); err != nil {
		return err
	}
	if err := each(w, p); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done += int64(p.size)
	if s.tell != nil {
		s.tell(s.done, s.total)
	}
	return nil
}

// read fills into, with numbers little-endian where it is known how wide they are.
func (p place) read(into []byte, offset int64) error {
	n, err := p.file.Bytes.ReadAt(into, p.Offset+offset)
	if n < len(into) {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the file became shorter meanwhile")
		}
		return fmt.Errorf("reading tensor %q of %s: %w", p.Name, p.file.Name, err)
	}
	if p.bigEndian {
		turn(into, max(formats[p.DType].width, 1))
	}
	return nil
}

// unequal keeps the tensors of which a byte differs. Each is read up to the first piece in which one does.
func unequal(ctx context.Context, pairs []pair, tell func(done, total int64)) ([]pair, error) {
	differ := make([]atomic.Bool, len(pairs))
	s := &sweep{pairs: pairs, tell: tell, skip: func(i int) bool { return differ[i].Load() }}
	err := s.run(ctx, func(w *worker, p piece) error {
		if !bytes.Equal(w.a, w.b) {
			differ[p.pair].Store(true)
		}
		return nil
	})
	var kept []pair
	for i := range pairs {
		if differ[i].Load() {
			kept = append(kept, pairs[i])
		}
	}
	return kept, err
}

// ordered adds up the tallies of a tensor's pieces in their order, whichever is ready first: sums of floating-point numbers are the
// same each time only then.
type ordered struct {
	tally
	next    int
	waiting map[int]*tally
}

func (o *ordered) add(index int, t *tally) {
	if o.waiting == nil {
		o.waiting = map[int]*tally{}
	}
	o.waiting[index] = t
	for t := o.waiting[o.next]; t != nil; t = o.waiting[o.next] {
		o.merge(t)
		delete(o.waiting, o.next)
		o.next++
	}
}

// measured tells by how much each pair differs.
func measured(ctx context.Context, pairs []pair, tell func(done, total int64)) ([]tally, error) {
	sums := make([]ordered, len(pairs))
	var mu sync.Mutex // of sums
	s := &sweep{pairs: pairs, tell: tell, skip: func(int) bool { return false }}
	err := s.run(ctx, func(w *worker, p piece) error {
		t := &tally{}
		if f, known := formats[pairs[p.pair].a.DType]; known {
			t.measure(f, w.a, w.b, &w.scratch)
		} else {
			t.differ = differing(w.a, w.b, 1)
		}
		mu.Lock()
		defer mu.Unlock()
		sums[p.pair].add(p.index, t)
		return nil
	})
	all := make([]tally, len(pairs))
	for i := range sums {
		all[i] = sums[i].tally
	}
	return all, err
}
