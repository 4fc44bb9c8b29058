package artifacts

import (
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
)

// Problem is one thing that Verify found. Name can be given to Sweeper.Delete: the stage that made it then runs again.
type Problem struct {
	Name   string // as in the layout: blobs/sha256/…, keys/…
	Kind   ProblemKind
	Detail string
	Builds []string // IDs of the builds that used it, oldest first
}

// Verify reads everything: each blob against its digest, each pointer against what it leads to. Problems come sorted by
// name. Outputs of records that no key leads to may be missing, since lineage outlives the bytes.
func (c *Cache) Verify(ctx context.Context, sw Sweeper, report func(Problem)) error {
	v := verifier{c: c, bad: make(map[Digest]bool), uses: make(map[Digest]map[string]bool)}
	for _, step := range []func(context.Context) error{
		v.builds,
		func(ctx context.Context) error { return v.blobs(ctx, sw) },
		v.pointers,
	} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("verifying the cache: %w", err)
		}
	}
	slices.SortStableFunc(v.found, func(a, b Problem) int { return cmp.Compare(a.Name, b.Name) })
	for _, p := range v.found {
		report(p)
	}
	return nil
}

type verifier struct {
	c     *Cache
	found []Problem
	bad   map[Digest]bool            // blobs whose bytes are wrong
	uses  map[Digest]map[string]bool // what → IDs of builds
}

func blobPath(d Digest) string { return BlobsFolder + d.Hex() }

func (v *verifier) report(name string, kind ProblemKind, used map[string]bool, err error) {
	v.found = append(v.found, Problem{name, kind, err.Error(), slices.Sorted(maps.Keys(used))})
}

// builds learns which build used what. What cannot be read is reported later, by the steps that look for it.
func (v *verifier) builds(ctx context.Context) error {
	for b, err := range v.c.Builds(ctx) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			continue
		}
		for _, d := range []Digest{b.Recipe, b.Lock} {
			v.use(b.ID, d)
		}
		for _, d := range b.Modules {
			v.use(b.ID, d)
		}
		if _, d, err := b.Encode(); err == nil {
			v.use(b.ID, d)
		}
		for _, s := range b.Steps {
			v.use(b.ID, s.Log)
			v.use(b.ID, s.Key.Digest())
			v.useRecord(ctx, b.ID, s.Record)
		}
	}
	return nil
}

func (v *verifier) use(build string, d Digest) {
	if d.IsZero() {
		return
	}
	if v.uses[d] == nil {
		v.uses[d] = make(map[string]bool)
	}
	v.uses[d][build] = true
}

func (v *verifier) useRecord(ctx context.Context, build string, d Digest) {
	v.use(build, d)
	if d.IsZero() {
		return
	}
	rec, err := v.c.Record(ctx, d)
	if err != nil {
		return
	}
	v.use(build, rec.Log)
	for _, out := range rec.Outputs {
		v.use(build, out)
		if m, err := v.c.Manifest(ctx, out); err == nil {
			for _, f := range m.Files {
				v.use(build, f.Digest)
			}
		}
	}
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
			v.bad[b.Digest] = true
			v.report(blobPath(b.Digest), Damaged, v.uses[b.Digest], err)
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
		if strings.HasPrefix(name, leasesFolder) {
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
		v.report(name, Malformed, nil, fmt.Errorf("its value: %w", err))
		return nil
	}
	if err := v.follow(ctx, name, d); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		kind := Damaged
		if errors.Is(err, ErrMissing) {
			kind = Dangling
		} else if errors.Is(err, errName) {
			kind = Malformed
		}
		v.report(name, kind, v.uses[d], err)
	}
	return nil
}

var errName = errors.New("its name does not fit what it leads to")

func (v *verifier) follow(ctx context.Context, name string, d Digest) error {
	folder, rest, _ := strings.Cut(name, "/")
	switch folder + "/" {
	case buildsFolder:
		b, err := v.c.build(ctx, d)
		if err == nil && rest != day(b.Started)+"/"+d.Hex() {
			err = fmt.Errorf("%w: build %s", errName, b.ID)
		}
		return err
	case refsFolder:
		_, err := v.c.build(ctx, d)
		return err
	}
	rec, err := v.c.Record(ctx, d)
	if err != nil {
		return err
	}
	switch folder + "/" {
	case keysFolder:
		if rest != rec.Key.Hex() {
			return fmt.Errorf("%w: record %s is of key %s", errName, d.Short(), rec.Key.Short())
		}
		if err := v.history(ctx, rec); err != nil {
			return err
		}
		return v.outputs(ctx, rec)
	case runsFolder:
		if rest != path.Join(rec.Key.Hex(), d.Hex()) {
			return fmt.Errorf("%w: record %s is of key %s", errName, d.Short(), rec.Key.Short())
		}
	case recordsFolder:
		if rest != day(rec.Ended)+"/"+d.Hex() {
			return fmt.Errorf("%w: record %s", errName, d.Short())
		}
	}
	return v.history(ctx, rec)
}

// history is what gc never deletes: it must be there for every record.
func (v *verifier) history(ctx context.Context, rec *Record) error {
	if _, err := v.c.Action(ctx, rec.Key); err != nil {
		return err
	}
	for _, port := range slices.Sorted(maps.Keys(rec.Outputs)) {
		if _, err := v.c.Manifest(ctx, rec.Outputs[port]); err != nil {
			return fmt.Errorf("output %s: %w", port, err)
		}
	}
	return nil
}

// outputs: a key promises every byte.
func (v *verifier) outputs(ctx context.Context, rec *Record) error {
	if err := v.c.complete(ctx, rec); err != nil {
		return err
	}
	for port, d := range rec.Outputs {
		m, err := v.c.Manifest(ctx, d)
		if err != nil {
			return err
		}
		for _, f := range m.Files {
			if v.bad[f.Digest] {
				return fmt.Errorf("output %s: %s: %w", port, f.Path, ErrDamaged)
			}
		}
	}
	return nil
}
