package artifacts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Repaired says what Repair did about a problem.
type Repaired string

// What Repair can do.
const (
	Removed Repaired = "removed" // the next build makes it again, or nothing needs it
	Remade  Repaired = "remade"  // from what else the cache holds
	Righted Repaired = "righted" // a build did it meanwhile; nothing is left to do
	GivenUp Repaired = "lost"    // nothing can make it again; the loss is noted under lost/, and told by each Verify
)

// Repair mends one problem of Verify's, so that the next Verify is clean. A file of an output is removed with the key
// that promises it, and so made again. A name is made again where the cache still says what it led to, else removed.
// History, such as a log, cannot be made again by itself: that it is gone is noted, and what refers to it stays.
// Verify looked long ago: what a build has set right since is left alone.
func (c *Cache) Repair(ctx context.Context, sw Sweeper, p Problem) (Repaired, error) {
	did, err := c.repair(ctx, sw, p)
	if err != nil {
		return "", fmt.Errorf("repairing %s: %w", p.Name, err)
	}
	return did, nil
}

func (c *Cache) repair(ctx context.Context, sw Sweeper, p Problem) (Repaired, error) {
	if p.Kind == Lost {
		return GivenUp, nil
	}
	if fine, err := c.righted(ctx, p); fine || err != nil {
		return Righted, err
	}
	if err := sw.Delete(ctx, p.Name); err != nil {
		return "", err
	}
	hex, blob := strings.CutPrefix(p.Name, BlobsFolder)
	switch {
	case !blob:
		return c.remake(ctx, p.Name)
	case p.needed == "":
		return Removed, nil
	}
	d, err := ParseHex(hex)
	if err != nil {
		return "", err
	}
	return GivenUp, c.create(ctx, lostName(d), d)
}

// righted looks at one thing once more.
func (c *Cache) righted(ctx context.Context, p Problem) (bool, error) {
	v := newVerifier(c)
	hex, blob := strings.CutPrefix(p.Name, BlobsFolder)
	if !blob {
		if _, _, err := c.Get(ctx, p.Name); err != nil {
			return false, except(err, ErrMissing)
		}
		err := v.pointer(ctx, p.Name)
		if err == nil && strings.HasPrefix(p.Name, keysFolder) && len(v.found) == 0 {
			err = v.promised(ctx, p.Name)
		}
		found := slices.ContainsFunc(v.found, func(f finding) bool { return f.Name == p.Name })
		return err == nil && !found, except(err, ErrMissing, ErrDamaged)
	}
	d, err := ParseHex(hex)
	if err == nil {
		err = v.blob(ctx, d)
	}
	return err == nil, except(err, ErrMissing, ErrDamaged)
}

// promised reads all that a key leads to.
func (v *verifier) promised(ctx context.Context, name string) error {
	rec, _, err := v.c.Lookup(ctx, Key(meant(name)))
	if err != nil {
		return err
	}
	return v.c.intact(ctx, rec)
}

// except is nil where err is one of those.
func except(err error, those ...error) error {
	if slices.ContainsFunc(those, func(one error) bool { return errors.Is(err, one) }) {
		return nil
	}
	return err
}

// remake sets a name that was removed to what it must lead to, where that is known and sound.
func (c *Cache) remake(ctx context.Context, name string) (Repaired, error) {
	find := c.nameSays
	switch {
	case strings.HasPrefix(name, keysFolder):
		find = c.firstRun
	case strings.HasPrefix(name, refsFolder):
		find = c.newestOf
	}
	d, err := find(ctx, name)
	if errors.Is(err, ErrMissing) || errors.Is(err, ErrDamaged) {
		return c.removed(ctx, name)
	}
	if err != nil {
		return "", err
	}
	if _, err = c.Set(ctx, name, []byte(d.String()), Absent); errors.Is(err, ErrConflict) {
		return Righted, nil // a build has set it since it was deleted
	}
	return Remade, err
}

// removed: with a name in builds/ or records/, a build or a record is lost itself.
func (c *Cache) removed(ctx context.Context, name string) (Repaired, error) {
	d := meant(name)
	if d.IsZero() || !strings.HasPrefix(name, buildsFolder) && !strings.HasPrefix(name, recordsFolder) {
		return Removed, nil
	}
	if _, err := c.Stat(ctx, d); err == nil {
		return Removed, nil // under a name that was never its own
	}
	return GivenUp, c.create(ctx, lostName(d), d)
}

// nameSays is what a name in runs/, records/ or builds/ says itself that it leads to.
func (c *Cache) nameSays(ctx context.Context, name string) (Digest, error) {
	d := meant(name)
	if b, err := c.build(ctx, d); err == nil && name == buildName(day(b.Started), d.Hex()) {
		return d, nil
	}
	rec, err := c.Record(ctx, d)
	if err == nil && fits(name, runName(rec.Key, d), recordName(day(rec.Ended), d.Hex())) != nil {
		err = ErrMissing
	}
	return d, err
}

// firstRun is the first record of a key whose outputs are there: the one that won, unless that was damaged.
func (c *Cache) firstRun(ctx context.Context, name string) (Digest, error) {
	key := meant(name)
	if err := c.Hold(ctx, key); err != nil {
		return Digest{}, err
	}
	var first Digest
	var ended time.Time
	for run, err := range c.List(ctx, runsFolder+key.Hex()+"/", "") {
		if err != nil {
			return Digest{}, err
		}
		d := meant(run)
		rec, _, err := c.named(ctx, Key(key), []byte(d.String()))
		if err != nil || c.intact(ctx, rec) != nil {
			continue
		}
		if first.IsZero() || rec.Ended.Before(ended) {
			first, ended = d, rec.Ended
		}
	}
	if first.IsZero() {
		return first, ErrMissing
	}
	return first, nil
}

// intact reads all that a record made.
func (c *Cache) intact(ctx context.Context, rec *Record) error {
	v := verifier{c: c}
	for _, out := range rec.Outputs {
		m, err := c.Manifest(ctx, out)
		if err != nil {
			return err
		}
		if err := c.Hold(ctx, m.digests()...); err != nil {
			return err
		}
		for _, f := range m.Files {
			if err := v.blob(ctx, f.Digest); err != nil {
				return err
			}
		}
	}
	return nil
}

// newestOf is the newest build that belongs under a name in refs/.
func (c *Cache) newestOf(ctx context.Context, name string) (Digest, error) {
	for b, err := range c.buildsNamed(ctx) {
		if ctx.Err() != nil {
			return Digest{}, context.Cause(ctx)
		}
		if err == nil && refName(b.RecipePath) == name {
			return b.digest, nil
		}
	}
	return Digest{}, ErrMissing
}

func (m *Manifest) digests() []Digest {
	all := make([]Digest, 0, len(m.Files))
	for _, f := range m.Files {
		all = append(all, f.Digest)
	}
	return all
}
