// Package shared carries results between this machine's cache and a bucket that machines share: it finds records there, writes down
// here what it has found, brings the bytes that are asked for, and brings there what was made here, in an order in which no name ever
// leads to what is not there. It knows what a record stands for. It must not know recipes, plans or people, nor how objects travel.
package shared

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
)

// LocalBlobs are the bytes of this machine's cache.
type LocalBlobs interface {
	artifacts.Store
	artifacts.Holder
	Present(ctx context.Context, blobs []artifacts.Blob) error
}

// Local is this machine's cache folder: *disk.Store.
type Local interface {
	LocalBlobs
	artifacts.Pointers
	artifacts.Batcher
}

// Options say what is joined.
type Options struct {
	Write    *bucket.Place   // where results are brought to; asked first. nil: nothing is brought anywhere
	Read     []*bucket.Place // where else they are looked for, in this order
	Local    Local
	Parallel int // small requests at once; 0: 16
}

// What may be under way at once: small requests, packs or parts of them, results on their way to the bucket, large files on their way here,
// of which some wait for the disk. partsAhead of all these are in memory, each with maxSpan bytes about as they are stored, and as many raw.
const (
	smallAtOnce   = 16
	packsAtOnce   = 6
	resultsAtOnce = 8
	filesAtOnce   = 4
	partsAhead    = 6
	batchesAtOnce = 2
)

// Remote is a bucket, or several, as one build sees them. It is safe for concurrent use. It remembers what it has found and what it
// knows to be there, and what is not there never.
type Remote struct {
	write *bucket.Place   // nil: nothing is brought anywhere
	reads []*bucket.Place // write among them
	local Local
	cache *artifacts.Cache // this machine's, and nothing beside it

	small, packs turns
	ahead        turns // parts of large files on their way here

	last atomic.Pointer[artifacts.Build] // of the recipe that Begin was told

	findings findings
	shelf    shelf
	trees    trees
	outbox   outbox

	keeping sync.Mutex // one Keep at a time
}

// New joins them. It asks nothing yet.
func New(o Options) *Remote {
	r := &Remote{
		write: o.Write, local: o.Local, cache: artifacts.NewCache(o.Local, o.Local),
		small: make(turns, cmp.Or(o.Parallel, smallAtOnce)), packs: make(turns, packsAtOnce),
		ahead: make(turns, partsAhead),
	}
	if o.Write != nil {
		r.reads = append(r.reads, o.Write)
	}
	r.reads = append(r.reads, o.Read...)
	r.outbox.init()
	return r
}

// turns bounds how many do something at once.
type turns chan struct{}

func (t turns) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turns) give() { <-t }

// maxBlob bounds what is read whole into memory, in bytes: a manifest of some 200,000 files.
const maxBlob = 64 << 20

// read gives a small object whole. Where it is larger than limit, or ends early, it is damaged.
func (r *Remote) read(ctx context.Context, p *bucket.Place, name string, limit int64) ([]byte, artifacts.Object, error) {
	if err := r.small.take(ctx); err != nil {
		return nil, artifacts.Object{}, err
	}
	defer r.small.give()
	body, o, err := p.Objects().Read(ctx, name, 0, -1)
	if err != nil {
		return nil, o, fmt.Errorf("reading %s from the shared cache: %w", name, unreadable(ctx, p, err))
	}
	defer body.Close()
	if o.Size > limit {
		return nil, o, fmt.Errorf("%s in the shared cache: %w: %d bytes are too many", name, artifacts.ErrDamaged, o.Size)
	}
	b := make([]byte, o.Size)
	if _, err := io.ReadFull(body, b); err != nil {
		return nil, o, fmt.Errorf("reading %s from the shared cache: %w", name, unreadable(ctx, p, short(err)))
	}
	return b, o, nil
}

// short: whoever sent fewer bytes than it said has damaged them; other errors are what they are, that of a connection which broke too.
func short(err error) error {
	if errors.Is(err, artifacts.ErrUnreachable) || errors.Is(err, artifacts.ErrRefused) {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends early", artifacts.ErrDamaged)
	}
	return err
}

// blob gives a small blob whole and verified: one that has come already, this machine's, else that of p.
func (r *Remote) blob(ctx context.Context, p *bucket.Place, d artifacts.Digest) ([]byte, error) {
	if b := r.shelf.get(d); b != nil {
		return b, nil
	}
	if b, err := r.cache.GetBytes(ctx, d); err == nil {
		return b, nil
	}
	b, err := r.theirs(ctx, p, d)
	if err == nil {
		r.shelf.put(d, b)
	}
	return b, err
}

// theirs gives the blob that p has, whatever there is here.
func (r *Remote) theirs(ctx context.Context, p *bucket.Place, d artifacts.Digest) ([]byte, error) {
	b, _, err := r.read(ctx, p, artifacts.BlobsFolder+d.Hex(), maxBlob)
	if err != nil {
		return nil, err
	}
	if got := artifacts.Sum(b); got != d {
		return nil, fmt.Errorf("blob %s in the shared cache: %w: it came as %s", d.Short(), artifacts.ErrDamaged, got.Short())
	}
	return b, nil
}

// shelf holds the small blobs that have come, by digest. They are verified.
type shelf struct {
	mu    sync.RWMutex
	blobs map[artifacts.Digest][]byte
}

func (s *shelf) get(d artifacts.Digest) []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.blobs[d]
}

func (s *shelf) put(d artifacts.Digest, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blobs == nil {
		s.blobs = make(map[artifacts.Digest][]byte)
	}
	s.blobs[d] = b
}

// Bytes is a small blob that has come by Find or Begin: records, actions, manifests, what describes workers and environments. nil for
// any other.
func (r *Remote) Bytes(d artifacts.Digest) []byte { return r.shelf.get(d) }
