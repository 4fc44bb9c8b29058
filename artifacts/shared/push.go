package shared

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// share brings one result to the bucket, level by level: trees, blobs, action, record, runs/, records/, keys/. Whatever is there at any
// moment, no name leads to what is not.
//
// won is false where another record stands for the key.
func (r *Remote) share(ctx context.Context, d artifacts.Digest) (won bool, err error) {
	rec, err := r.cache.Record(ctx, d)
	if err != nil {
		return false, err
	}
	if r.findings.lists(rec.Key, d, r.write) {
		return true, nil
	}
	at, err := r.standing(ctx, rec.Key, d)
	if err != nil || at.ours {
		return at.ours, err
	}
	if won, err = r.bringThere(ctx, rec, d, at); err != nil {
		return false, fmt.Errorf("sharing the result of key %s: %w", rec.Key.Short(), err)
	}
	return won, nil
}

func (r *Remote) bringThere(ctx context.Context, rec *artifacts.Record, d artifacts.Digest, at standing) (won bool, err error) {
	c, err := r.cache.Closure(ctx, d)
	if err != nil {
		return false, err
	}
	if err := r.local.Hold(ctx, c.Blobs()...); err != nil {
		return false, err
	}
	run, record, _ := rec.Names(d)
	for _, level := range []struct {
		do   func() error
		step string
	}{
		{func() error { return r.plant(ctx, c, at.others) }, ""},
		{func() error { return r.sendBlobs(ctx, c) }, artifacts.StepShareBlobs},
		{func() error { return r.send(ctx, c.Action) }, artifacts.StepShareAction},
		{func() error { return r.send(ctx, d) }, artifacts.StepShareRecord},
		{func() error { return r.name(ctx, run, d) }, artifacts.StepShareRuns},
		{func() error { return r.name(ctx, record, d) }, artifacts.StepShareRecords},
		{func() error { won, err = r.claim(ctx, rec.Key, d, at); return err }, artifacts.StepShareKeys},
	} {
		if err := level.do(); err != nil {
			return false, err
		}
		if level.step != "" {
			artifacts.Reached(level.step)
		}
	}
	return won, nil
}

// plant brings the trees: the worker's sources, and the outputs, unless another record stands for the key; then nobody can ask for ours.
func (r *Remote) plant(ctx context.Context, c *artifacts.Closure, others bool) error {
	trees := c.Outputs
	if others {
		trees = nil
	}
	if c.WorkerTree {
		trees = append(trees[:len(trees):len(trees)], c.Worker)
	}
	for _, d := range trees {
		if err := r.shareTree(ctx, d, c); err != nil {
			return err
		}
	}
	return nil
}

// sendBlobs brings what record and action name. A log this machine may have lost, and said so: that keeps nobody from using the result.
func (r *Remote) sendBlobs(ctx context.Context, c *artifacts.Closure) error {
	all, each := errgroup.WithContext(ctx)
	for _, d := range c.Blobs() {
		if d == c.Action || d == c.Record {
			continue
		}
		all.Go(func() error {
			err := r.send(each, d)
			if d == c.Log && gone(err) {
				slog.DebugContext(ctx, "a log is not shared", "record", c.Record.Short(), "error", err)
				return nil
			}
			return err
		})
	}
	return all.Wait()
}

// send brings one blob, unless it is known to be there.
func (r *Remote) send(ctx context.Context, d artifacts.Digest) error {
	if r.outbox.has(d) {
		return nil
	}
	size, err := r.local.Stat(ctx, d)
	if err != nil {
		return fmt.Errorf("blob %s: %w", d.Short(), err)
	}
	b, err := r.local.Open(ctx, d, 0, -1)
	if err != nil {
		return fmt.Errorf("blob %s: %w", d.Short(), err)
	}
	defer b.Close()
	if err := r.small.take(ctx); err != nil {
		return err
	}
	defer r.small.give()
	if err := r.write.Put(ctx, artifacts.Blob{Digest: d, Size: size}, b); err != nil {
		return err
	}
	r.outbox.put(d)
	return nil
}

// name sets a pointer that has one possible value. Any other is a damaged one.
func (r *Remote) name(ctx context.Context, name string, d artifacts.Digest) error {
	version := artifacts.Absent
	for {
		err := r.set(ctx, name, d, version)
		if err == nil || !errors.Is(err, artifacts.ErrConflict) {
			return err
		}
		var val []byte
		val, version, err = r.replaceable(ctx, name)
		switch {
		case err == nil && string(val) == d.String():
			return nil
		case err != nil && !absent(err) && (!gone(err) || version == artifacts.Absent):
			return err
		}
	}
}

func (r *Remote) set(ctx context.Context, name string, d artifacts.Digest, old artifacts.Version) error {
	if err := r.small.take(ctx); err != nil {
		return err
	}
	defer r.small.give()
	_, err := r.write.Set(ctx, name, []byte(d.String()), old)
	return err
}

// standing is how a key of the bucket stands to a record of ours.
type standing struct {
	ours    bool // it leads to ours
	others  bool // it leads to another one, which is whole
	version artifacts.Version
}

// standing looks. A key that leads to ours is the proof that all is there, unless its bytes were found to be gone.
func (r *Remote) standing(ctx context.Context, k artifacts.Key, d artifacts.Digest) (standing, error) {
	val, v, err := r.replaceable(ctx, artifacts.KeyName(k))
	switch {
	case absent(err):
		return standing{}, nil
	case gone(err) && v != artifacts.Absent:
		return standing{version: v}, nil
	case err != nil:
		return standing{}, err
	}
	there, err := artifacts.ParseDigest(string(val))
	if err != nil || r.findings.isGone(k, there) {
		return standing{version: v}, nil
	}
	if there == d {
		return standing{ours: true, version: v}, nil
	}
	f, err := r.follow(ctx, r.write, k, val, r.theirs)
	if err == nil {
		err = r.sound(ctx, f)
	}
	if err != nil && !gone(err) {
		return standing{}, err
	}
	return standing{others: err == nil, version: v}, nil
}

// sound asks whether the packs of a record's outputs are there, with their sizes: before ours gives way to it, since the stage may have run
// here because they are not. What their bytes are it does not ask.
func (r *Remote) sound(ctx context.Context, f *finding) error {
	for _, d := range f.closure.Outputs {
		b, err := r.theirs(ctx, r.write, d)
		if err != nil {
			return err
		}
		m, err := artifacts.DecodeManifest(b)
		if err != nil {
			return err
		}
		if len(m.Files) == 0 {
			continue
		}
		if err = r.soundTree(ctx, d); err != nil {
			if gone(err) {
				r.trees.lose(d)
			}
			return err
		}
	}
	return nil
}

func (r *Remote) soundTree(ctx context.Context, manifest artifacts.Digest) error {
	t, err := r.tree(ctx, r.write, manifest)
	if err != nil {
		return err
	}
	all, each := errgroup.WithContext(ctx)
	all.SetLimit(smallAtOnce)
	for i := range t.Packs {
		all.Go(func() error {
			if err := r.small.take(each); err != nil {
				return err
			}
			defer r.small.give()
			return r.soundPack(each, t, uint32(i))
		})
	}
	return all.Wait()
}

// claim sets the key, unless a sound record has it. Each turn that does not end means that another machine changed it in between.
func (r *Remote) claim(ctx context.Context, k artifacts.Key, d artifacts.Digest, at standing) (won bool, err error) {
	for !at.ours && !at.others {
		err := r.set(ctx, artifacts.KeyName(k), d, at.version)
		if err == nil {
			at.ours = true
			break
		}
		if !errors.Is(err, artifacts.ErrConflict) {
			return false, err
		}
		if at, err = r.standing(ctx, k, d); err != nil {
			return false, err
		}
	}
	r.findings.healed(k)
	return at.ours, nil
}
