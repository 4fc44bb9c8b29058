package artifacts

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

var (
	// ErrMissing: nothing is stored under that digest or name.
	ErrMissing = errors.New("not in the cache")
	// ErrDamaged: what is stored is not what its digest says.
	ErrDamaged = errors.New("damaged in the cache")
	// ErrConflict: a pointer was changed by someone else in between.
	ErrConflict = errors.New("changed by another build")
	// ErrShared: bytes that several stages may read were changed, and nobody can tell by which.
	ErrShared = errors.New("changed by one of those that share it")
)

// Store keeps bytes by digest. Put reads r to its end, verifies size and digest, and is idempotent.
// Open of n < 0 reads to the end. A digest that is not there is ErrMissing.
type Store interface {
	Stat(ctx context.Context, d Digest) (int64, error)
	Open(ctx context.Context, d Digest, off, n int64) (io.ReadCloser, error)
	Put(ctx context.Context, want Blob, r io.Reader) error
}

// Keeper is a Store that shows more than it keeps. Kept is Stat of what it keeps: whoever skips a Put asks that.
type Keeper interface {
	Kept(ctx context.Context, d Digest) (int64, error)
}

// Version of a pointer's value; Absent is that of a pointer that does not exist.
type Version string

const Absent Version = ""

// Pointers is the only mutable part: compare-and-swap on small values.
// Set with old = Absent creates only. A lost race is ErrConflict; Get of nothing is ErrMissing.
type Pointers interface {
	Get(ctx context.Context, name string) ([]byte, Version, error)
	Set(ctx context.Context, name string, val []byte, old Version) (Version, error)
	List(ctx context.Context, prefix, after string) iter.Seq2[string, error]
}

// Payload is a blob with its bytes.
type Payload struct {
	Blob
	Bytes []byte
	Steps []string // the named points that are reached once it is durable
}

// Change takes one pointer from a version to a value.
type Change struct {
	Name  string
	Value string
	Old   Version
	Step  string // the named point that is reached once the change is durable
}

// Batch is what is stored together: blobs, named in their order, and then pointers that lead to them.
type Batch struct {
	Blobs []Payload
	Names []Change
}

// Batcher is Store and Pointers in one, to which many batches at once cost less than one by one. A blob that is there, intact, is
// left out. The first change of a batch is made once all of its blobs are durable, each other one once those before it are; the
// first that fails ends its batch, and no other. A pointer that has the value already is no failure. The errors are those
// of the batches, in order; after an ErrConflict the blobs are stored, and the names the caller's to go through again.
type Batcher interface {
	StoreAll(ctx context.Context, all []Batch) []error
}

// Sweeper is the right to delete; only gc holds it.
type Sweeper interface {
	All(ctx context.Context) iter.Seq2[Blob, error]
	Delete(ctx context.Context, name string) error
}

// Holder knows what running builds rely on. A key or a blob that is held stays for as long as its build runs: what is
// found after Hold has returned is there to the end. Both are named by digest; a key is that of its action.
type Holder interface {
	Hold(ctx context.Context, names ...Digest) error
}

// Ground is what gc must know of a place beyond its bytes and names.
type Ground interface {
	// Held is what builds rely on that run now or have run since the collection began, and what dead ones have left half
	// published.
	Held(ctx context.Context) (map[Digest]bool, error)
	// Still calls do while no build can begin to rely on anything; held is what they rely on by then.
	Still(ctx context.Context, do func(held map[Digest]bool) error) error
	// Changed is when a blob or a pointer was last written, or its file linked.
	Changed(ctx context.Context, name string) (time.Time, error)
}
