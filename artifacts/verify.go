package artifacts

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// ProblemKind says what is wrong with a stored thing.
type ProblemKind string

// Kinds of problems.
const (
	Damaged   ProblemKind = "damaged"   // the bytes are not those of the name, or say what they must not
	Dangling  ProblemKind = "dangling"  // a name leads to something that is not there
	Malformed ProblemKind = "malformed" // a name or a pointer's value has no meaning
	Missing   ProblemKind = "missing"   // it is not there, and something that is there needs it
	Lost      ProblemKind = "lost"      // missing, and known to be so: Repair has said it before. No problem any more
)

// Problem is one thing that Verify found. Repair mends it.
type Problem struct {
	Name   string // as in the layout: blobs/sha256/…, keys/…
	Kind   ProblemKind
	Detail string
	Builds []string // IDs of the builds that used it, oldest first

	needed string // of a blob: what of the history it is; "" for a file of an output, which its stage makes again
}

// Verify reads everything: each blob against its digest, each pointer against what it leads to, and that all is there
// which they need. Problems come sorted by name. Files of outputs that no key leads to may be missing, since lineage
// outlives the bytes.
func (c *Cache) Verify(ctx context.Context, sw Sweeper, report func(Problem)) error {
	v := newVerifier(c)
	for _, step := range []func(context.Context) error{
		// First, since whoever else meets a file that shows by its times that it was changed removes it.
		func(ctx context.Context) error { return v.blobs(ctx, sw) },
		v.pointers,
		func(ctx context.Context) error { return v.history(ctx, sw) },
	} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("verifying the cache: %w", err)
		}
	}
	about := make([]Digest, 0, len(v.found))
	for _, f := range v.found {
		about = append(about, f.about)
	}
	used, err := c.Uses(ctx, about...)
	if err != nil {
		return fmt.Errorf("verifying the cache: %w", err)
	}
	slices.SortStableFunc(v.found, func(a, b finding) int { return cmp.Compare(a.Name, b.Name) })
	for _, f := range v.found {
		f.Builds = append(f.Builds, used.Of(f.about)...)
		report(f.Problem)
	}
	return nil
}

type verifier struct {
	c     *Cache
	found []finding
	bad   map[Digest]error  // blobs whose bytes are wrong
	needs map[Digest]string // what history must hold → what it is of whom
	seen  map[Digest]bool   // records whose needs are noted

	missing map[string]bool // names that are reported as such
}

func newVerifier(c *Cache) *verifier {
	return &verifier{c: c, bad: map[Digest]error{}, needs: map[Digest]string{}, seen: map[Digest]bool{}, missing: map[string]bool{}}
}

type finding struct {
	Problem        // its builds are added at the end
	about   Digest // the blob, or what the pointer leads to
}

func blobPath(d Digest) string { return BlobsFolder + d.Hex() }

func (v *verifier) report(name string, kind ProblemKind, about Digest, err error) {
	v.found = append(v.found, finding{Problem{Name: name, Kind: kind, Detail: err.Error()}, about})
}

func (v *verifier) blobs(ctx context.Context, sw Sweeper) error {
	for b, err := range sw.All(ctx) {
		if err != nil {
			return err
		}
		if err := v.blob(ctx, b.Digest); err != nil && !errors.Is(err, ErrMissing) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			v.bad[b.Digest] = err
		}
	}
	return nil
}

func (v *verifier) blob(ctx context.Context, d Digest) error {
	r, err := v.c.Open(ctx, d, 0, -1)
	if err != nil {
		return err
	}
	defer r.Close()
	got, n, err := SumReader(contextReader{ctx, r})
	if err != nil {
		return err
	}
	if got != d {
		return fmt.Errorf("%w: its %d bytes have the digest %s", ErrDamaged, n, got)
	}
	return nil
}

func (v *verifier) pointers(ctx context.Context) error {
	for name, err := range v.c.List(ctx, "", "") {
		if err != nil {
			return err
		}
		if strings.HasPrefix(name, leasesFolder) || strings.HasPrefix(name, lostFolder) {
			continue
		}
		if err := v.pointer(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// pointer follows one name as far as it leads.
func (v *verifier) pointer(ctx context.Context, name string) error {
	val, _, err := v.c.Get(ctx, name)
	if errors.Is(err, ErrMissing) {
		return nil // deleted since it was listed
	}
	if err != nil {
		return err
	}
	d, err := ParseDigest(string(val))
	if err != nil {
		v.report(name, Malformed, meant(name), fmt.Errorf("its value: %w", err))
		return nil
	}
	if err := v.follow(ctx, name, d); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if now, _, gone := v.c.Get(ctx, name); errors.Is(gone, ErrMissing) || gone == nil && !bytes.Equal(now, val) {
			return nil // it was collected meanwhile, or leads elsewhere now
		}
		kind := Damaged
		if errors.Is(err, ErrMissing) {
			kind = Dangling
		} else if errors.Is(err, errName) {
			kind = Malformed
		}
		if m := meant(name); !m.IsZero() {
			d = m
		}
		v.report(name, kind, d, err)
	}
	return nil
}

// meant is what a name says by itself that it leads to, or concerns; zero for names that say nothing.
func meant(name string) Digest {
	d, _ := ParseHex(path.Base(name))
	return d
}

var errName = errors.New("its name does not fit what it leads to")

func (v *verifier) follow(ctx context.Context, name string, d Digest) error {
	if strings.HasPrefix(name, buildsFolder) || strings.HasPrefix(name, refsFolder) {
		b, err := v.c.build(ctx, d)
		if err != nil {
			return err
		}
		if err := fits(name, buildName(day(b.Started), d.Hex()), refName(b.RecipePath)); err != nil {
			return fmt.Errorf("%w: build %s", err, b.ID)
		}
		v.needsOfBuild(b)
		return v.listed(ctx, buildName(day(b.Started), d.Hex()), d, b.ID) // not listed, it is none of Uses's
	}
	rec, err := v.c.Record(ctx, d)
	if err != nil {
		return err
	}
	listed := []string{runName(rec.Key, d), recordName(day(rec.Ended), d.Hex())}
	if err := fits(name, append(listed, keyName(rec.Key))...); err != nil {
		return fmt.Errorf("%w: record %s is of key %s", err, d.Short(), rec.Key.Short())
	}
	v.needsOfRecord(ctx, d, rec)
	if strings.HasPrefix(name, runsFolder) {
		return nil // written before the others: a build may have died there
	}
	if strings.HasPrefix(name, recordsFolder) {
		listed = listed[:1]
	}
	for _, n := range listed {
		if err := v.listed(ctx, n, d); err != nil {
			return err
		}
	}
	if strings.HasPrefix(name, keysFolder) {
		return v.outputs(ctx, rec)
	}
	return nil
}

func fits(name string, may ...string) error {
	if !slices.Contains(may, name) {
		return errName
	}
	return nil
}

// listed finds a name that must be there, since it is written before the one that was followed.
func (v *verifier) listed(ctx context.Context, name string, d Digest, builds ...string) error {
	_, _, err := v.c.Get(ctx, name)
	if errors.Is(err, ErrMissing) {
		if !v.missing[name] {
			v.missing[name] = true
			v.report(name, Missing, d, errors.New("other names lead to it, and this one does not list it"))
			v.found[len(v.found)-1].Builds = builds
		}
		return nil
	}
	return err
}

// outputs: a key promises every byte.
func (v *verifier) outputs(ctx context.Context, rec *Record) error {
	if err := v.c.complete(ctx, rec, nil); err != nil {
		return err
	}
	for _, port := range slices.Sorted(maps.Keys(rec.Outputs)) {
		m, err := v.c.Manifest(ctx, rec.Outputs[port])
		if err != nil {
			return err
		}
		for _, f := range m.Files {
			if v.bad[f.Digest] != nil {
				return fmt.Errorf("output %s: %s: %w", port, f.Path, ErrDamaged)
			}
		}
	}
	return nil
}
