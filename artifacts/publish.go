package artifacts

import (
	"context"
	"errors"
	"fmt"
)

// Publish makes rec known, in an order that leaves no name dangling wherever it stops: parts, record, runs/, records/,
// keys/. Its action, its outputs' manifests and their files must be in the Store or among parts, each after what it names. The first
// record of a key wins and is returned; a later one is kept under runs/ and records/ all the same, and takes the key only
// where the winner's outputs are missing or damaged. Many may publish at once: where the place is one of batches, each group of
// them is written together.
func (c *Cache) Publish(ctx context.Context, rec *Record, parts ...Part) (*Record, Digest, error) {
	p, err := c.publication(ctx, rec, parts)
	if err == nil {
		err = c.commit(p)
	}
	if err != nil {
		return nil, Digest{}, fmt.Errorf("publishing %s: %w", rec.Key.Short(), err)
	}
	return p.won, p.wonDigest, nil
}

// publication is a record on its way to its names, or no more than bytes on their way to a blob.
type publication struct {
	ctx    context.Context
	rec    *Record // nil: parts are all there is
	digest Digest
	parts  []Part // the record is the last

	won       *Record
	wonDigest Digest
	err       error

	hurries bool

	lead chan struct{} // closed when it is this one's turn to write the next group
	done chan struct{} // closed when the group that it was in is written
}

// publication refuses a record that would name what is not there.
func (c *Cache) publication(ctx context.Context, rec *Record, parts []Part) (*publication, error) {
	b, d, err := rec.Encode()
	if err != nil {
		return nil, err
	}
	given := make(atHand, len(parts))
	for _, p := range parts {
		if given[p.Digest].manifest == nil { // a file may have the bytes of a manifest
			given[p.Digest] = p
		}
	}
	if _, ok := given[rec.Key.Digest()]; !ok {
		if _, err := c.Action(ctx, rec.Key); err != nil {
			return nil, err
		}
	}
	if err := c.complete(ctx, rec, given); err != nil {
		return nil, err
	}
	own := Part{Payload: Payload{Blob{RecordMediaType, d, int64(len(b))}, b, []string{StepRecord}}}
	p := newPublication(ctx, append(parts[:len(parts):len(parts)], own)...)
	p.rec, p.digest = rec, d
	return p, nil
}

func newPublication(ctx context.Context, parts ...Part) *publication {
	return &publication{ctx: ctx, parts: parts, lead: make(chan struct{}), done: make(chan struct{})}
}

// commit leaves what became of p in it.
func (c *Cache) commit(p *publication) error {
	if c.group != nil {
		return c.commitGrouped(p)
	}
	for _, part := range p.parts {
		if _, err := c.PutBytes(p.ctx, part.MediaType, part.Bytes); err != nil {
			return err
		}
		for _, step := range part.Steps {
			Reached(step)
		}
	}
	return c.name(p)
}

// name sets the names of a record that is stored, one by one.
func (c *Cache) name(p *publication) (err error) {
	if err := c.create(p.ctx, runName(p.rec.Key, p.digest), p.digest); err != nil {
		return err
	}
	Reached(StepRuns)
	if err := c.create(p.ctx, recordName(day(p.rec.Ended), p.digest.Hex()), p.digest); err != nil {
		return err
	}
	Reached(StepRecords)
	if p.won, p.wonDigest, err = c.claim(p.ctx, p.rec, p.digest); err != nil {
		return err
	}
	Reached(StepKeys)
	return nil
}

// create sets a pointer that has one possible value: finding that there is success. Any other is a damaged one.
func (c *Cache) create(ctx context.Context, name string, d Digest) error {
	version := Absent
	for {
		_, err := c.Set(ctx, name, []byte(d.String()), version)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return fmt.Errorf("%s: %w", name, err)
		}
		var val []byte
		val, version, err = c.Get(ctx, name)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && string(val) == d.String():
			return nil
		case err != nil && !errors.Is(err, ErrMissing):
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

// claim sets the key unless a sound record holds it. Each turn of the loop that does not end means that another build
// changed the pointer in between.
func (c *Cache) claim(ctx context.Context, rec *Record, d Digest) (*Record, Digest, error) {
	for {
		won, wd, v, err := c.lookup(ctx, rec.Key)
		if err == nil {
			return won, wd, nil
		}
		if !errors.Is(err, ErrMissing) {
			return nil, Digest{}, err
		}
		_, err = c.Set(ctx, keyName(rec.Key), []byte(d.String()), v)
		if err == nil {
			return rec, d, nil
		}
		if !errors.Is(err, ErrConflict) {
			return nil, Digest{}, err
		}
		if err := ctx.Err(); err != nil {
			return nil, Digest{}, context.Cause(ctx)
		}
	}
}
