package pieces

import (
	"context"
	"fmt"
	"sync"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// tree is the work on one tree. One goroutine reads and cuts, several code, and one fills packs, in the order in which was read.
type tree struct {
	packer *Packer

	// Of the reader, until it has ended.
	files  []layout
	joined *job // small files that are no piece yet
	all    bool // every file was read

	// Each piece goes through both, first the one whose order counts. The reader closes them.
	ordered, work chan *job

	mu    sync.Mutex
	where map[artifacts.Digest]Loc // pieces that lie somewhere; without a pack while that is being filled

	// Of the goroutine that fills packs. Small files have packs of their own, which are fetched whole.
	small, large openPack
}

// job is one piece on its way.
type job struct {
	size  int
	width int
	raw   []byte // nil: the worker reads it

	// Where it lies, if it is not joined of small files.
	from    *Source
	src     File // open as long as somebody is reading
	off     int64
	reading *sync.WaitGroup

	// Set by the worker before it closes done.
	digest artifacts.Digest
	there  bool   // the piece was known
	stored []byte // raw itself with codec Raw, else a buffer of its own; nil where the piece is a pack by itself
	codec  Codec
	err    error
	done   chan struct{}
}

// alone tells that the piece is stored as it is and has a pack to itself, whose bytes stay where they are.
func (j *job) alone() bool { return j.codec == Raw && j.size >= alonePiece && j.from != nil }

// code is a worker: it ends when there is no more work, also after a failure, and never waits for anything else.
func (t *tree) code() error {
	c := coders.Get().(*coder)
	defer coders.Put(c)
	for j := range t.work {
		if j.err = t.codeOne(c, j); j.err != nil {
			j.err = j.from.wrong(j.err)
		}
		if j.reading != nil {
			j.reading.Done()
		}
		close(j.done)
	}
	return nil
}

func (t *tree) codeOne(c *coder, j *job) error {
	if j.raw == nil {
		if err := j.read(nil); err != nil {
			return err
		}
	}
	j.digest = artifacts.Sum(j.raw)
	if j.there = t.known(j); j.there {
		return nil
	}
	var err error
	j.stored, j.codec, err = c.encode(j.raw, j.width)
	if err == nil && j.alone() { // it is read again when it is sent: what is on its way then takes no memory
		give(j.raw)
		j.raw, j.stored = nil, nil
	}
	return err
}

// known tells whether the piece lies somewhere, or is about to.
func (t *tree) known(j *job) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.where[j.digest]; ok {
		return true
	}
	if t.packer.Known == nil {
		return false
	}
	l, ok := t.packer.Known(j.digest)
	if ok = ok && l.Check() == nil && int(l.Raw) == j.size; ok {
		t.where[j.digest] = l
	}
	return ok
}

// pack takes pieces in their order into packs.
func (t *tree) pack(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case j, ok := <-t.ordered:
			if !ok {
				return t.finish()
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-j.done:
			}
			if err := t.place(j); err != nil {
				return err
			}
		}
	}
}

func (t *tree) place(j *job) error {
	raw, stored := j.raw, j.stored
	j.raw, j.stored = nil, nil
	switch {
	case j.err != nil:
		return j.err
	case j.there, t.placed(j.digest):
	case j.alone():
		return t.emit(alonePack(j))
	default:
		if err := t.fill(j, stored); err != nil {
			return err
		}
	}
	if j.codec != Raw {
		give(stored)
	}
	give(raw)
	return nil
}

func (t *tree) fill(j *job, stored []byte) error {
	open := &t.large
	if j.from == nil {
		open = &t.small
	}
	if len(open.pieces) > 0 && !open.fits(len(stored)) {
		if err := t.emit(open.close()); err != nil {
			return err
		}
	}
	open.add(PieceIn{Digest: j.digest, Raw: uint32(j.size), Codec: j.codec}, stored)
	return nil
}

// placed notes that the piece will lie in a pack of ours; true if one lies already.
func (t *tree) placed(d artifacts.Digest) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.where[d]
	if !ok {
		t.where[d] = Loc{}
	}
	return ok
}

// finish emits what is left: in one pack where it fits.
func (t *tree) finish() error {
	if !t.all {
		return nil // the reader's error ends the tree
	}
	if len(t.large.pieces) > 0 && t.large.fits(len(t.small.bytes)) {
		t.large.join(&t.small)
	}
	for _, open := range []*openPack{&t.large, &t.small} {
		if len(open.pieces) == 0 {
			continue
		}
		if err := t.emit(open.close()); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) emit(p Pack) error {
	t.mu.Lock()
	for i := range p.Pieces {
		t.where[p.Pieces[i].Digest] = p.Loc(i)
	}
	t.mu.Unlock()
	if err := t.packer.Emit(p); err != nil {
		return fmt.Errorf("pack %s: %w", p.Digest.Short(), err)
	}
	return nil
}
