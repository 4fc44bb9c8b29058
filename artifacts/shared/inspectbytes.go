package shared

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// allTrees reads the maps.
func (in *inspection) allTrees(ctx context.Context) error {
	all, each := errgroup.WithContext(ctx)
	all.SetLimit(mapsAtOnce)
	for d, keys := range in.trees {
		all.Go(func() error {
			err := in.tree(each, d, keys)
			if err == nil || !gone(err) {
				return err
			}
			p := in.report(mapName(d), err, keys)
			in.mu.Lock()
			defer in.mu.Unlock()
			p.trees[d] = true
			return nil
		})
	}
	return all.Wait()
}

// tree sees that a map has all files of its manifest, and notes its packs.
func (in *inspection) tree(ctx context.Context, d artifacts.Digest, keys map[artifacts.Key]bool) error {
	t, err := in.remote.tree(ctx, in.place, d)
	if err != nil {
		return err
	}
	b, err := in.blob(ctx, in.place, d)
	if err != nil {
		return err
	}
	m, err := artifacts.DecodeManifest(b)
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		if there, ok := t.File(f.Digest); !ok || there.Size != f.Size {
			return fmt.Errorf("%w: it does not have %s of %d bytes", artifacts.ErrDamaged, f.Path, f.Size)
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, pack := range t.Packs {
		one := in.packs[pack.Digest]
		if one == nil {
			one = &packed{size: int64(pack.Size), trees: map[artifacts.Digest]bool{}, keys: map[artifacts.Key]bool{}}
			in.packs[pack.Digest] = one
		}
		one.trees[d] = true
		maps.Copy(one.keys, keys)
	}
	return nil
}

func (in *inspection) allPacks(ctx context.Context) error {
	all, each := errgroup.WithContext(ctx)
	all.SetLimit(packsAtOnce)
	for d, one := range in.packs {
		all.Go(func() error {
			err := in.object(each, packName(d), d, one.size)
			if err == nil || !gone(err) {
				return err
			}
			p := in.report(packName(d), err, one.keys)
			in.mu.Lock()
			defer in.mu.Unlock()
			p.pack = d
			maps.Copy(p.trees, one.trees)
			return nil
		})
	}
	return all.Wait()
}

func (in *inspection) allLogs(ctx context.Context) error {
	all, each := errgroup.WithContext(ctx)
	all.SetLimit(smallAtOnce)
	for d, keys := range in.logs {
		all.Go(func() error {
			name := artifacts.BlobsFolder + d.Hex()
			err := in.object(each, name, d, -1)
			if err == nil || !gone(err) {
				return err
			}
			in.mu.Lock()
			known := in.problems[name] != nil // it is of more than history
			in.mu.Unlock()
			p := in.report(name, err, keys)
			p.story = !known
			return nil
		})
	}
	return all.Wait()
}

// object compares one with its digest, and its size where that is known (-1: it is not).
func (in *inspection) object(ctx context.Context, name string, d artifacts.Digest, size int64) error {
	n := int64(-1)
	if in.quick {
		n = 0
	}
	body, o, err := in.place.Objects().Read(ctx, name, 0, n)
	if err != nil {
		return fmt.Errorf("reading it: %w", unreadable(ctx, in.place, err))
	}
	defer body.Close()
	if size >= 0 && o.Size != size {
		return fmt.Errorf("%w: it has %d bytes in place of %d", artifacts.ErrDamaged, o.Size, size)
	}
	if in.quick {
		return nil
	}
	got, read, err := artifacts.SumReader(body)
	switch {
	case err != nil:
		return fmt.Errorf("reading it: %w", unreadable(ctx, in.place, short(err)))
	case got != d:
		return fmt.Errorf("%w: its %d bytes have the digest %s", artifacts.ErrDamaged, read, got)
	}
	return nil
}

// allBuilds says which builds, and stages of them, the problems touch. A build that cannot be read tells nothing.
func (in *inspection) allBuilds(ctx context.Context) error {
	if len(in.problems) == 0 {
		return nil
	}
	var builds []*artifacts.Build
	for name, err := range in.place.List(ctx, artifacts.BuildsFolder, "") {
		if err != nil {
			return err
		}
		b, err := in.build(ctx, name)
		if err != nil && !gone(err) {
			return err
		}
		if err == nil {
			builds = append(builds, b)
		}
	}
	slices.SortFunc(builds, func(a, b *artifacts.Build) int { return strings.Compare(a.ID, b.ID) })
	for _, p := range in.problems {
		for _, b := range builds {
			var stages []string
			for _, s := range b.Steps {
				if p.keys[s.Key] {
					stages = append(stages, s.Address)
				}
			}
			if len(stages) > 0 {
				p.Builds = append(p.Builds, b.ID+" ("+strings.Join(stages, ", ")+")")
			}
		}
	}
	return nil
}

func (in *inspection) build(ctx context.Context, name string) (*artifacts.Build, error) {
	val, _, err := in.remote.pointer(ctx, in.place, name)
	if err != nil {
		return nil, err
	}
	d, err := artifacts.ParseDigest(string(val))
	if err != nil {
		return nil, errors.Join(artifacts.ErrDamaged, err)
	}
	b, err := in.remote.theirs(ctx, in.place, d)
	if err != nil {
		return nil, err
	}
	return artifacts.DecodeBuild(b)
}
