package artifacts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// Cache is the object model over a Store and its Pointers. It is safe for concurrent use.
type Cache struct {
	Store
	Pointers
	holder Holder // nil where nothing is ever collected beside a build
	group  *group // nil where many writes at once cost as much as one by one

	elsewhere Elsewhere // nil: there is no other place
}

// NewCache joins the bytes and the names of one place. A Store that is a Holder is told what is relied on.
func NewCache(s Store, p Pointers) *Cache {
	c := &Cache{Store: s, Pointers: p}
	c.holder, _ = s.(Holder)
	if place, ok := s.(Batcher); ok && any(s) == any(p) {
		c.group = &group{place: place, rush: make(chan struct{}, 1)}
	}
	return c
}

// Hold says that this build relies on these keys and blobs. Whoever skips a write since the bytes are there, or takes a
// record for a hit, holds first and looks then: in the other order they could be collected in between.
func (c *Cache) Hold(ctx context.Context, names ...Digest) error {
	if c.holder == nil {
		return nil
	}
	return c.holder.Hold(ctx, names...)
}

// Kept gives the size of a blob that was put here, also where a Store shows others beside.
func (c *Cache) Kept(ctx context.Context, d Digest) (int64, error) {
	if k, ok := c.Store.(Keeper); ok {
		return k.Kept(ctx, d)
	}
	return c.Stat(ctx, d)
}

// maxObject bounds what is read whole into memory to be decoded: a manifest of some 200,000 files.
const maxObject = 64 << 20

// PutBytes stores b unless it is there already, intact.
func (c *Cache) PutBytes(ctx context.Context, mediaType string, b []byte) (Blob, error) {
	blob := Blob{MediaType: mediaType, Digest: Sum(b), Size: int64(len(b))}
	return blob, c.putBlob(ctx, blob, b)
}

// putBlob is PutBytes of what was summed already.
func (c *Cache) putBlob(ctx context.Context, blob Blob, b []byte) error {
	if c.group != nil {
		return c.commitGrouped(newPublication(ctx, Part{Payload: Payload{Blob: blob, Bytes: b}}))
	}
	if err := c.Hold(ctx, blob.Digest); err != nil {
		return fmt.Errorf("storing %s: %w", blob.Digest.Short(), err)
	}
	if old, err := c.GetBytes(ctx, blob.Digest); err == nil && bytes.Equal(old, b) {
		return nil
	}
	if err := c.Put(ctx, blob, bytes.NewReader(b)); err != nil {
		return fmt.Errorf("storing %s: %w", blob.Digest.Short(), err)
	}
	return nil
}

// GetBytes reads a blob whole and verifies it.
func (c *Cache) GetBytes(ctx context.Context, d Digest) ([]byte, error) { return c.getSized(ctx, d, 0) }

// getSized makes room for as much as there will be: a large object read into ever larger rooms is copied twice.
func (c *Cache) getSized(ctx context.Context, d Digest, size int64) ([]byte, error) {
	r, err := c.Open(ctx, d, 0, -1)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", d.Short(), err)
	}
	defer r.Close()
	in := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	if _, err := in.ReadFrom(r); err != nil {
		return nil, fmt.Errorf("reading %s: %w", d.Short(), err)
	}
	if Sum(in.Bytes()) != d {
		return nil, fmt.Errorf("reading %s: %w", d.Short(), ErrDamaged)
	}
	return in.Bytes(), nil
}

func (c *Cache) object(ctx context.Context, what string, d Digest) ([]byte, error) {
	n, err := c.Stat(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", what, d.Short(), err)
	}
	if n > maxObject {
		return nil, fmt.Errorf("%s %s: %w: %d bytes are too many", what, d.Short(), ErrDamaged, n)
	}
	b, err := c.getSized(ctx, d, n)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return b, nil
}

// PutManifest stores m.
func (c *Cache) PutManifest(ctx context.Context, m *Manifest) (Digest, error) {
	b, d, err := m.Encode()
	if err != nil {
		return Digest{}, err
	}
	if _, err := c.PutBytes(ctx, ManifestMediaType, b); err != nil {
		return Digest{}, fmt.Errorf("manifest: %w", err)
	}
	Reached(StepManifest)
	return d, nil
}

// Manifest reads a stored manifest.
func (c *Cache) Manifest(ctx context.Context, d Digest) (*Manifest, error) {
	b, err := c.object(ctx, "manifest", d)
	if err != nil {
		return nil, err
	}
	return DecodeManifest(b)
}

// PutAction stores a.
func (c *Cache) PutAction(ctx context.Context, a *Action) (Key, error) {
	b, k, err := a.Encode()
	if err != nil {
		return Key{}, err
	}
	if _, err := c.PutBytes(ctx, ActionMediaType, b); err != nil {
		return Key{}, fmt.Errorf("action: %w", err)
	}
	Reached(StepAction)
	return k, nil
}

// Action reads the stored action whose key is k.
func (c *Cache) Action(ctx context.Context, k Key) (*Action, error) {
	b, err := c.object(ctx, "action", k.Digest())
	if err != nil {
		return nil, err
	}
	return DecodeAction(b)
}

// Record reads a stored record.
func (c *Cache) Record(ctx context.Context, d Digest) (*Record, error) {
	b, err := c.object(ctx, "record", d)
	if err != nil {
		return nil, err
	}
	return DecodeRecord(b)
}

// Lookup finds the record that stands for a key. It is a hit only if the record, its manifests and every output file
// are there with the right size; otherwise the error is ErrMissing, and ErrDamaged too where something is broken. What is Beside is
// asked for what is not here.
func (c *Cache) Lookup(ctx context.Context, k Key) (*Record, Digest, error) { return c.found(ctx, k) }

// lookup also gives the pointer's version, so that a broken winner can be replaced.
func (c *Cache) lookup(ctx context.Context, k Key) (*Record, Digest, Version, error) {
	if err := c.Hold(ctx, k.Digest()); err != nil {
		return nil, Digest{}, Absent, fmt.Errorf("key %s: %w", k.Short(), err)
	}
	val, v, err := c.Get(ctx, keyName(k))
	if err != nil {
		return nil, Digest{}, Absent, fmt.Errorf("key %s: %w", k.Short(), err)
	}
	rec, d, err := c.named(ctx, k, val)
	if err != nil {
		return nil, Digest{}, v, fmt.Errorf("key %s: %w", k.Short(), miss(err))
	}
	return rec, d, v, nil
}

func (c *Cache) named(ctx context.Context, k Key, val []byte) (*Record, Digest, error) {
	d, err := ParseDigest(string(val))
	if err != nil {
		return nil, Digest{}, fmt.Errorf("%w: pointer: %w", ErrDamaged, err)
	}
	rec, err := c.Record(ctx, d)
	if err != nil {
		return nil, Digest{}, err
	}
	if rec.Key != k {
		return nil, Digest{}, fmt.Errorf("%w: record %s is of key %s", ErrDamaged, d.Short(), rec.Key.Short())
	}
	if err := c.complete(ctx, rec, atHand{}); err != nil {
		return nil, Digest{}, err
	}
	return rec, d, nil
}

// complete: every output of rec is there or at hand.
func (c *Cache) complete(ctx context.Context, rec *Record, parts atHand) error {
	for port, d := range rec.Outputs {
		m := parts[d].manifest
		if m == nil {
			var err error
			if m, err = c.Manifest(ctx, d); err != nil {
				return fmt.Errorf("output %s: %w", port, err)
			}
		}
		for _, f := range m.Files {
			n, err := c.sizeOf(ctx, f.Digest, parts)
			if err != nil {
				return fmt.Errorf("output %s: %s: %w", port, f.Path, err)
			}
			if n != f.Size {
				return fmt.Errorf("output %s: %s: %w: %d bytes instead of %d", port, f.Path, ErrDamaged, n, f.Size)
			}
		}
	}
	return nil
}

func (c *Cache) sizeOf(ctx context.Context, d Digest, parts atHand) (int64, error) {
	if part, ok := parts[d]; ok {
		return part.Size, nil
	}
	return c.Kept(ctx, d)
}

// miss makes a damaged result a missing one; a cache that cannot be read stays an error of its own.
func miss(err error) error {
	if errors.Is(err, ErrDamaged) && !errors.Is(err, ErrMissing) {
		return fmt.Errorf("%w: %w", ErrMissing, err)
	}
	return err
}
