package shared

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/artifacts/bucket"
)

// Problem is one thing that Inspect has found: in the bucket, by its name there.
type Problem struct {
	Name   string
	Kind   artifacts.ProblemKind
	Detail string
	Builds []string // builds with those stages whose results it touches, oldest first

	keys  map[artifacts.Key]bool    // results that it touches
	trees map[artifacts.Digest]bool // manifests whose files cannot be had for it
	pack  artifacts.Digest          // zero where it is no pack
	place *bucket.Place
	story bool // it is a log: no result is the worse for it
}

// Inspected is what Inspect has found in one tier.
type Inspected struct {
	Place    string // its address, for people; "" where it has none
	Problems []*Problem
}

// Inspect follows every key of each bucket to all that it stands for: record, action, what describes them, maps, packs and logs, and
// compares all bytes with their digests. With quick it asks of packs and logs only whether they are there, with their sizes. Problems are
// sorted by name. What no key leads to is not looked at: nobody is served with it.
func (r *Remote) Inspect(ctx context.Context, quick bool) ([]Inspected, error) {
	all := make([]Inspected, len(r.reads))
	for i, p := range r.reads {
		all[i].Place = addressOf(p)
		var err error
		if all[i].Problems, err = r.inspect(ctx, p, quick); err != nil {
			return nil, fmt.Errorf("inspecting the shared cache: %w", err)
		}
	}
	return all, nil
}

// addressOf is "" where it has none.
func addressOf(p *bucket.Place) string {
	if s, ok := p.Objects().(fmt.Stringer); ok {
		return s.String()
	}
	return ""
}

func (r *Remote) inspect(ctx context.Context, p *bucket.Place, quick bool) ([]*Problem, error) {
	in := &inspection{
		remote: r, place: p, quick: quick, problems: map[string]*Problem{}, blobs: map[artifacts.Digest]*reading{},
		trees: map[artifacts.Digest]map[artifacts.Key]bool{}, logs: map[artifacts.Digest]map[artifacts.Key]bool{},
		packs: map[artifacts.Digest]*packed{},
	}
	for _, step := range []func(context.Context) error{in.allKeys, in.allTrees, in.allPacks, in.allLogs, in.allBuilds} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	all := make([]*Problem, 0, len(in.problems))
	for _, p := range in.problems {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Problem) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// inspection is one under way. Each step reads what the one before has noted.
type inspection struct {
	remote *Remote
	place  *bucket.Place
	quick  bool

	mu       sync.Mutex
	problems map[string]*Problem
	blobs    map[artifacts.Digest]*reading
	trees    map[artifacts.Digest]map[artifacts.Key]bool // manifests, and whose they are
	logs     map[artifacts.Digest]map[artifacts.Key]bool
	packs    map[artifacts.Digest]*packed
}

// packed is a pack, and who needs it.
type packed struct {
	size  int64
	trees map[artifacts.Digest]bool
	keys  map[artifacts.Key]bool
}

// reading is a blob of the bucket, which many may name.
type reading struct {
	once sync.Once
	b    []byte
	err  error
}

// badBlob says which blob is missing or damaged.
type badBlob struct {
	digest artifacts.Digest
	err    error
}

func (b *badBlob) Error() string { return b.err.Error() }
func (b *badBlob) Unwrap() error { return b.err }

// blob reads one of the bucket, once.
func (in *inspection) blob(ctx context.Context, p *bucket.Place, d artifacts.Digest) ([]byte, error) {
	in.mu.Lock()
	one := in.blobs[d]
	if one == nil {
		one = &reading{}
		in.blobs[d] = one
	}
	in.mu.Unlock()
	one.once.Do(func() {
		b, err := in.remote.theirs(ctx, p, d)
		if one.b, one.err = b, err; err != nil && gone(err) {
			one.err = &badBlob{d, err}
		}
	})
	return one.b, one.err
}

// report notes a problem, or whom else it touches.
func (in *inspection) report(name string, err error, keys map[artifacts.Key]bool) *Problem {
	in.mu.Lock()
	defer in.mu.Unlock()
	p := in.problems[name]
	if p == nil {
		p = &Problem{Name: name, place: in.place, Kind: artifacts.Damaged, Detail: err.Error(), keys: map[artifacts.Key]bool{}, trees: map[artifacts.Digest]bool{}}
		if absent(err) {
			p.Kind = artifacts.Missing
		}
		in.problems[name] = p
	}
	for k := range keys {
		p.keys[k] = true
	}
	return p
}

func (in *inspection) allKeys(ctx context.Context) error {
	all, each := errgroup.WithContext(ctx)
	all.SetLimit(smallAtOnce)
	var listing error
	for name, err := range in.place.List(ctx, artifacts.KeysFolder, "") {
		if listing = err; err != nil || each.Err() != nil {
			break
		}
		all.Go(func() error { return in.key(each, name) })
	}
	return errors.Join(all.Wait(), listing)
}

// key follows one.
func (in *inspection) key(ctx context.Context, name string) error {
	d, err := artifacts.ParseHex(strings.TrimPrefix(name, artifacts.KeysFolder))
	if err != nil {
		in.report(name, fmt.Errorf("%w: its name is no key", artifacts.ErrDamaged), nil).Kind = artifacts.Malformed
		return nil
	}
	k := artifacts.Key(d)
	keys := map[artifacts.Key]bool{k: true}
	val, _, err := in.remote.pointer(ctx, in.place, name)
	var f *finding
	if err == nil {
		// What else is read for this key is given up when one blob of it is broken. Other keys may wait for the same blobs, so those are read on.
		get := func(_ context.Context, p *bucket.Place, d artifacts.Digest) ([]byte, error) {
			return in.blob(ctx, p, d)
		}
		f, err = getter(get).lead(ctx, in.place, k, val)
	}
	switch {
	case err == nil:
	case absent(err) && val == nil:
		return nil // deleted since it was listed
	case !gone(err):
		return err
	default:
		if bad, ok := errors.AsType[*badBlob](err); ok {
			name = artifacts.BlobsFolder + bad.digest.Hex()
		}
		in.report(name, err, keys)
		return nil
	}
	return in.note(ctx, k, f.closure)
}

// note says what is to be looked at for a sound record.
func (in *inspection) note(ctx context.Context, k artifacts.Key, c *artifacts.Closure) error {
	trees := slices.Clone(c.Outputs)
	if c.WorkerTree {
		trees = append(trees, c.Worker)
	}
	for _, d := range trees {
		b, err := in.blob(ctx, in.place, d)
		if err != nil {
			return err
		}
		m, err := artifacts.DecodeManifest(b)
		if err != nil {
			return err
		}
		if len(m.Files) > 0 {
			in.needs(in.trees, d, k)
		}
	}
	if !c.Log.IsZero() {
		in.needs(in.logs, c.Log, k)
	}
	return nil
}

func (in *inspection) needs(of map[artifacts.Digest]map[artifacts.Key]bool, d artifacts.Digest, k artifacts.Key) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if of[d] == nil {
		of[d] = map[artifacts.Key]bool{}
	}
	of[d][k] = true
}
