package artifacts

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// PutBuild stores b, lists it under builds/ and makes it its recipe's last build, unless a later one is that already.
func (c *Cache) PutBuild(ctx context.Context, b *Build) (Digest, error) {
	raw, d, err := b.Encode()
	if err != nil {
		return Digest{}, err
	}
	var last reference
	var looking sync.WaitGroup
	looking.Go(func() { last = c.refBy(ctx, refName(b.RecipePath), c.buildHead) }) // as large as this one; meanwhile the disk is waited for
	err = c.putBlob(ctx, Blob{BuildMediaType, d, int64(len(raw))}, raw)
	if looking.Wait(); err != nil {
		return Digest{}, fmt.Errorf("build %s: %w", b.ID, err)
	}
	Reached(StepBuildBlob)
	if err := c.create(ctx, buildName(day(b.Started), d.Hex()), d); err != nil {
		return Digest{}, fmt.Errorf("build %s: %w", b.ID, err)
	}
	Reached(StepBuilds)
	if err := c.setLast(ctx, b, d, last); err != nil {
		return Digest{}, fmt.Errorf("build %s: %w", b.ID, err)
	}
	Reached(StepRefs)
	return d, nil
}

// setLast is told what ref was found just before.
func (c *Cache) setLast(ctx context.Context, b *Build, d Digest, last reference) error {
	name := refName(b.RecipePath)
	for {
		switch {
		case last.err == nil && last.ID >= b.ID && !ahead(last.Build):
			return nil
		case last.err != nil && !errors.Is(last.err, ErrMissing) && !errors.Is(last.err, ErrDamaged):
			return last.err
		}
		_, err := c.Set(ctx, name, []byte(d.String()), last.version)
		if !errors.Is(err, ErrConflict) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		last = c.refBy(ctx, name, c.buildHead)
	}
}

// ahead tells a build of a clock that has been set back since, or of another machine's: nothing of ours is later than it for
// a long time, and still it is older.
func ahead(b *Build) bool { return b.Started.After(time.Now()) }

// reference is what a name of refs/ leads to.
type reference struct {
	*Build
	version Version
	err     error
}

func (c *Cache) ref(ctx context.Context, name string) (*Build, Version, error) {
	r := c.refBy(ctx, name, c.build)
	return r.Build, r.version, r.err
}

func (c *Cache) refBy(ctx context.Context, name string, read func(context.Context, Digest) (*Build, error)) reference {
	val, v, err := c.Get(ctx, name)
	if err != nil {
		return reference{nil, Absent, err}
	}
	d, err := ParseDigest(string(val))
	if err != nil {
		return reference{nil, v, fmt.Errorf("%s: %w: %w", name, ErrDamaged, err)}
	}
	b, err := read(ctx, d)
	if err == nil && refName(b.RecipePath) != name {
		err = fmt.Errorf("%s: %w: it leads to a build of %s", name, ErrDamaged, b.RecipePath)
	}
	if err != nil {
		return reference{nil, v, err}
	}
	return reference{b, v, nil}
}

func (c *Cache) build(ctx context.Context, d Digest) (*Build, error) {
	raw, err := c.object(ctx, "build", d)
	if err != nil {
		return nil, err
	}
	return DecodeBuild(raw)
}

// beforeSteps stands once in a build at most: in a text its quotes would be escaped, and nothing else that a build holds is a list
// of that name.
var beforeSteps = []byte(`,"steps":[`)

// buildHead is a build without its steps and what follows them: they may be megabytes, and who only wants to know which of two is
// later decodes none of them.
func (c *Cache) buildHead(ctx context.Context, d Digest) (*Build, error) {
	raw, err := c.object(ctx, "build", d)
	if err != nil {
		return nil, err
	}
	head, _, found := bytes.Cut(raw, beforeSteps)
	if !found {
		return nil, fmt.Errorf("build %s: %w: it has no steps", d.Short(), ErrDamaged)
	}
	b := new(Build)
	if err := json.Unmarshal(append(slices.Clip(head), '}'), b); err != nil {
		return nil, fmt.Errorf("build %s: %w: %w", d.Short(), ErrDamaged, err)
	}
	return b, nil
}

// Builds gives all builds, the newest first; those that a clock which has been set back since puts into the future come
// last. An unreadable one is given as an error, and the others go on.
func (c *Cache) Builds(ctx context.Context) iter.Seq2[*Build, error] {
	return func(yield func(*Build, error) bool) {
		for b, err := range c.buildsNamed(ctx) {
			if !yield(b.Build, err) {
				return
			}
		}
	}
}

type namedBuild struct {
	*Build
	digest Digest
}

// buildsNamed reads one day's builds at a time, so that whoever wants the last few reads only those.
func (c *Cache) buildsNamed(ctx context.Context) iter.Seq2[namedBuild, error] {
	return func(yield func(namedBuild, error) bool) {
		var days []string
		names := make(map[string][]string)
		for name, err := range c.List(ctx, buildsFolder, "") {
			if err != nil {
				yield(namedBuild{}, fmt.Errorf("listing builds: %w", err))
				return
			}
			d, hex := path.Split(strings.TrimPrefix(name, buildsFolder))
			if names[d] == nil {
				days = append(days, d)
			}
			names[d] = append(names[d], hex)
		}
		slices.Sort(days)
		future, _ := slices.BinarySearch(days, day(time.Now().AddDate(0, 0, 1))+"/")
		for _, part := range [][]string{days[:future], days[future:]} {
			for _, d := range slices.Backward(part) {
				if !c.buildsOfDay(ctx, names[d], yield) {
					return
				}
			}
		}
	}
}

func (c *Cache) buildsOfDay(ctx context.Context, names []string, yield func(namedBuild, error) bool) bool {
	var builds []namedBuild
	for _, hex := range names {
		d, err := ParseHex(hex)
		if err != nil {
			if !yield(namedBuild{}, fmt.Errorf("%w: builds/ lists %w", ErrDamaged, err)) {
				return false
			}
			continue
		}
		b, err := c.build(ctx, d)
		if err != nil {
			if !yield(namedBuild{digest: d}, err) {
				return false
			}
			continue
		}
		builds = append(builds, namedBuild{b, d})
	}
	slices.SortFunc(builds, func(a, b namedBuild) int {
		if first, second := ahead(a.Build), ahead(b.Build); first != second {
			return map[bool]int{true: 1, false: -1}[first]
		}
		return cmp.Compare(b.ID, a.ID)
	})
	for _, b := range builds {
		if !yield(b, nil) {
			return false
		}
	}
	return true
}

// LastBuild is the newest build of the recipe at that path; failing that, of a recipe with that base name.
func (c *Cache) LastBuild(ctx context.Context, recipePath string) (*Build, error) {
	last, v, err := c.ref(ctx, refName(recipePath))
	if err == nil && last.RecipePath == recipePath {
		return last, nil
	}
	// A ref that is there and leads nowhere tells that there was a build: an older one may be left.
	if err != nil && !errors.Is(err, ErrDamaged) && (v == Absent || !errors.Is(err, ErrMissing)) {
		return nil, fmt.Errorf("last build of %s: %w", recipePath, err)
	}
	for b, err := range c.Builds(ctx) {
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			continue // an unreadable old build only makes the comparison poorer; `cache verify` names it
		}
		if b.RecipePath == recipePath {
			return b, nil
		}
		if last == nil && refName(b.RecipePath) == refName(recipePath) {
			last = b
		}
	}
	if last == nil {
		return nil, fmt.Errorf("last build of %s: %w", recipePath, ErrMissing)
	}
	return last, nil
}

// ErrAmbiguous: what names one thing is the beginning of several names.
var ErrAmbiguous = errors.New("is ambiguous")

// Build finds a build by its ID, the beginning of its ID, its digest or the beginning of its digest.
func (c *Cache) Build(ctx context.Context, id string) (*Build, error) {
	if id == "" {
		return nil, fmt.Errorf("build %q: %w", id, ErrMissing)
	}
	hex := strings.TrimPrefix(id, digestPrefix)
	var found *Build
	for b, err := range c.buildsNamed(ctx) {
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil && strings.HasPrefix(b.digest.Hex(), hex) && !b.digest.IsZero():
			return nil, err
		case err != nil:
			continue
		case b.ID == id || b.digest.Hex() == hex:
			return b.Build, nil
		case !strings.HasPrefix(b.ID, id) && !strings.HasPrefix(b.digest.Hex(), hex):
			continue
		case found != nil:
			return nil, fmt.Errorf("build %q %w: %s and %s begin so", id, ErrAmbiguous, b.ID, found.ID)
		}
		found = b.Build
	}
	if found == nil {
		return nil, fmt.Errorf("build %q: %w", id, ErrMissing)
	}
	return found, nil
}
