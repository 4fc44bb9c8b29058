package pieces

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

const (
	smallFile   = 256 << 10 // bytes below which a file is joined with others
	alonePiece  = 4 << 20   // bytes from which a piece that is stored as it is has a pack to itself
	borderBytes = 4         // a joined piece ends behind a file whose digest's last byte is lower: one of 64
	mostWorkers = 4         // unless told otherwise; each holds the bytes of two pieces
)

// File is an open file. ReadAt may be called by several goroutines at a time.
type File interface {
	io.ReaderAt
	io.Closer
}

// Source is a file that is to be cut. How Name ends says what it may be.
type Source struct {
	Blob artifacts.Blob
	Name string
	// Sound says that the file is known to be what its digest says. Else the whole of it is hashed beside its pieces.
	Sound bool
	// Open is also called by who sends a pack that is a part of the file, once Tree has gone on.
	Open func() (File, error)
}

// Packer turns trees into packs and maps, one at a time.
type Packer struct {
	// Known says where a piece lies already; nil knows none. It is asked by one goroutine at a time.
	Known func(artifacts.Digest) (Loc, bool)
	// Emit is given each finished pack, by one goroutine at a time, and may block: the packer waits with it. The pack is the receiver's.
	Emit func(Pack) error
	// Workers is how many pieces are coded at once; zero stands for as many as there are processors, but no more than four.
	Workers int
}

// Tree cuts files, given in the order of their paths, and returns the map of them once Emit has had every pack that it names. Each digest
// is cut once. Of the files at most Workers+2 pieces are in memory, and two packs that are being filled. The packs and the map depend on
// the files and on what is known, not on timing. A file that is seen not to be what its digest says is ErrDamaged; then there is no map,
// and what was emitted stands for nothing.
func (p *Packer) Tree(ctx context.Context, files []Source) (*Map, error) {
	n := p.Workers
	if n <= 0 {
		n = min(runtime.GOMAXPROCS(0), mostWorkers)
	}
	t := &tree{packer: p, work: make(chan *job), ordered: make(chan *job, n), where: make(map[artifacts.Digest]Loc)}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return t.read(ctx, files) })
	for range n {
		group.Go(t.code)
	}
	group.Go(func() error { return t.pack(ctx) })
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("cutting files into pieces: %w", err)
	}
	for _, f := range t.files { // the hash of a file that is one piece is that piece's
		if f.whole && *f.parts[0].piece != f.blob.Digest {
			return nil, fmt.Errorf("cutting files into pieces: %w", wrongBytes(f.blob, *f.parts[0].piece))
		}
	}
	return draw(t.files, t.where)
}

func wrongBytes(want artifacts.Blob, got artifacts.Digest) error {
	return fmt.Errorf("a file is %w: it should be %s, and is %s", artifacts.ErrDamaged, want.Digest, got)
}
