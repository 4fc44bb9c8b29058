package artifacts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
)

// needsOfBuild notes what a build refers to. An action is not among it: a stage that was not begun has a key and none.
func (v *verifier) needsOfBuild(b *Build) {
	v.need(b.Recipe, "the recipe of build %s", b.ID)
	v.need(b.Lock, "the lock of build %s", b.ID)
	for _, path := range slices.Sorted(maps.Keys(b.Modules)) {
		v.need(b.Modules[path], "the module %s of build %s", path, b.ID)
	}
	for _, s := range b.Steps {
		v.need(s.Record, "the record of %s in build %s", s.Address, b.ID)
		v.need(s.Log, "the log of %s in build %s", s.Address, b.ID)
	}
}

// needsOfRecord notes what is never collected: what a record was made of, and what says what it made.
func (v *verifier) needsOfRecord(ctx context.Context, d Digest, rec *Record) {
	if v.seen[d] {
		return
	}
	v.seen[d] = true
	v.need(rec.Key.Digest(), "the action of record %s", d.Short())
	v.need(rec.Log, "the log of record %s", d.Short())
	for _, port := range slices.Sorted(maps.Keys(rec.Outputs)) {
		v.need(rec.Outputs[port], "the manifest of output %s of record %s", port, d.Short())
	}
	a, err := v.c.Action(ctx, rec.Key)
	if err != nil {
		return // noted above
	}
	v.need(a.Env, "the environment of action %s", rec.Key.Short())
	v.need(a.Worker, "the worker of action %s", rec.Key.Short())
	for _, port := range slices.Sorted(maps.Keys(a.Inputs)) {
		v.need(a.Inputs[port], "the manifest of input %s of action %s", port, rec.Key.Short())
	}
	if m, err := v.c.Manifest(ctx, a.Worker); err == nil {
		for _, f := range m.Files {
			v.need(f.Digest, "%s of the worker of action %s", f.Path, rec.Key.Short())
		}
	}
}

func (v *verifier) need(d Digest, format string, args ...any) {
	if d.IsZero() || v.needs[d] != "" {
		return
	}
	v.needs[d] = fmt.Sprintf(format, args...)
}

// history reports blobs: those that are damaged, and those that are needed and are not there.
func (v *verifier) history(ctx context.Context, sw Sweeper) error {
	lost, err := v.c.losses(ctx)
	if err != nil {
		return err
	}
	for d := range lost { // also what nothing that is left refers to
		v.need(d, "of something that is gone itself")
	}
	for d := range v.needs {
		if v.bad[d] != nil {
			continue
		}
		_, err := v.c.Stat(ctx, d)
		switch {
		case err == nil:
		case errors.Is(err, ErrMissing) && lost[d]:
			v.blobProblem(d, Lost, errors.New("nothing can make it again"))
		case errors.Is(err, ErrMissing):
			v.blobProblem(d, Missing, err)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		default:
			v.blobProblem(d, Damaged, err)
		}
	}
	for d, err := range v.bad {
		v.blobProblem(d, Damaged, err)
	}
	return v.returned(ctx, sw, lost)
}

func (v *verifier) blobProblem(d Digest, kind ProblemKind, err error) {
	what := v.needs[d]
	detail := err.Error()
	if what != "" {
		detail = what + ": " + detail
	}
	v.found = append(v.found, finding{Problem{Name: blobPath(d), Kind: kind, Detail: detail, needed: what}, d})
}

// returned forgets losses that are none any more, so that a second loss is told as the first was.
func (v *verifier) returned(ctx context.Context, sw Sweeper, lost map[Digest]bool) error {
	for d := range lost {
		if _, err := v.c.Stat(ctx, d); err != nil || v.bad[d] != nil {
			continue
		}
		// Where only reading is allowed, whoever may write forgets it.
		if err := sw.Delete(ctx, lostName(d)); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
			return err
		}
	}
	return nil
}

// losses are the digests that Repair has given up.
func (c *Cache) losses(ctx context.Context) (map[Digest]bool, error) {
	lost := map[Digest]bool{}
	for name, err := range c.List(ctx, lostFolder, "") {
		if err != nil {
			return nil, fmt.Errorf("listing what is lost: %w", err)
		}
		if d, err := ParseHex(strings.TrimPrefix(name, lostFolder)); err == nil {
			lost[d] = true
		}
	}
	return lost, nil
}
