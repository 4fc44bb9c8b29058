package shared

import (
	"context"
	"errors"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

const (
	worthKin = 4 << 20 // bytes of a tree from which on others are asked for what they may have in common with it
	maxKin   = 64      // trees that one process asks for
)

// learnKin reads the maps of trees that are likely to have pieces in common with the outputs of a record: its inputs, and what the last
// build's stages of the same kind have made. Maps are small beside what they save; what is not there, or damaged, teaches nothing.
func (r *Remote) learnKin(ctx context.Context, c *artifacts.Closure) error {
	kin := c.Inputs
	if last := r.LastBuild(); last != nil {
		a, err := r.cache.Action(ctx, artifacts.Key(c.Action))
		if err != nil {
			return err
		}
		for _, s := range last.Steps {
			if s.Kind != a.Kind || s.Record.IsZero() {
				continue
			}
			b, err := r.blob(ctx, r.write, s.Record)
			if err != nil && !gone(err) {
				return err
			}
			if rec, err := artifacts.DecodeRecord(b); err == nil {
				for _, d := range rec.Outputs {
					kin = append(kin[:len(kin):len(kin)], d)
				}
			}
		}
	}
	for _, d := range kin {
		if !r.trees.ask(d) {
			continue
		}
		_, err := r.tree(ctx, r.write, d)
		switch {
		case errors.Is(err, artifacts.ErrDamaged):
			return nil // the next may be too, and to find that out takes its time: what they have in common is stored twice
		case err != nil && !gone(err):
			return err
		}
	}
	return nil
}

// ask tells whether a tree was not asked for yet, and may be.
func (t *trees) ask(manifest artifacts.Digest) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asked[manifest] || len(t.asked) >= maxKin {
		return false
	}
	if t.asked == nil {
		t.asked = make(map[artifacts.Digest]bool)
	}
	t.asked[manifest] = true
	return true
}
