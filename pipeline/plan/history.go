package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// pastBuilds bounds how far back a stage is looked for that the last build did not hold (--target leaves some out).
const pastBuilds = 50

// history finds what an address was in earlier builds of the same recipe.
type history struct {
	cache    *artifacts.Cache
	previous *artifacts.Build
	builds   []*artifacts.Build // newest first; read when first needed
	steps    map[*artifacts.Build]map[string]artifacts.Step
}

// step is Build.Step for who asks for one after the other.
func (h *history) step(b *artifacts.Build, address string) (artifacts.Step, bool) {
	all := h.steps[b]
	if all == nil {
		all = make(map[string]artifacts.Step, len(b.Steps))
		for _, s := range b.Steps {
			all[s.Address] = s
		}
		h.steps[b] = all
	}
	s, ok := all[address]
	return s, ok
}

func newHistory(c *artifacts.Cache, previous *artifacts.Build) *history {
	return &history{cache: c, previous: previous, steps: map[*artifacts.Build]map[string]artifacts.Step{}}
}

// find gives the step of the last build that got as far as a key for this address, to compare key with. A build that was
// ended before the stage began stored nothing to compare with: then an earlier one is better.
func (h *history) find(ctx context.Context, address string, key artifacts.Key) (artifacts.Step, bool) {
	if h.previous == nil {
		return artifacts.Step{}, false
	}
	var last artifacts.Step
	better := func(b *artifacts.Build) bool {
		s, ok := h.step(b, address)
		if !ok || s.Key.IsZero() {
			return false
		}
		if last.Key.IsZero() {
			last = s
		}
		if s.Key != key && h.neverBegan(ctx, s) {
			return false
		}
		last = s
		return true
	}
	_ = better(h.previous) || slices.ContainsFunc(h.older(ctx), better)
	return last, !last.Key.IsZero()
}

// neverBegan tells that a step has no stored action since no worker was to run it.
func (h *history) neverBegan(ctx context.Context, s artifacts.Step) bool {
	if s.State != artifacts.Blocked {
		return false
	}
	_, err := h.cache.Action(ctx, s.Key)
	return errors.Is(err, artifacts.ErrMissing)
}

// older skips builds that cannot be read: they cost a reason, not the plan.
func (h *history) older(ctx context.Context) []*artifacts.Build {
	if h.builds != nil {
		return h.builds
	}
	h.builds = []*artifacts.Build{}
	read := 0
	for b, err := range h.cache.Builds(ctx) {
		if read++; read > pastBuilds || ctx.Err() != nil {
			break
		}
		if err == nil && b.RecipePath == h.previous.RecipePath && b.ID != h.previous.ID {
			h.builds = append(h.builds, b)
		}
	}
	return h.builds
}

// reason says why a step that the cache does not hold must run. miss is what the cache said.
func (p *planner) reason(ctx context.Context, s *Step, miss error) (string, error) {
	damaged := errors.Is(miss, artifacts.ErrDamaged)
	old, ok := p.history.find(ctx, s.address(), s.Key)
	switch {
	case damaged:
		return "its result in the cache is damaged", nil
	case !ok:
		return "first build", nil
	case old.Key == s.Key:
		return unchanged(old), nil
	}
	changes, err := Explain(ctx, p.options.Cache, old, s)
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("planning %s: %w", s.address(), context.Cause(ctx))
	case old.State == artifacts.Blocked && errors.Is(err, artifacts.ErrMissing):
		return unchanged(old), nil
	case err != nil || len(changes) == 0:
		return "changed since the last build, whose action is not in the cache any more", nil
	}
	return summary(changes), nil
}

func unchanged(last artifacts.Step) string {
	switch last.State {
	case artifacts.Failed:
		if last.Reason == "interrupted" { // as run says it
			return "it was interrupted in the last build"
		}
		return "it failed in the last build"
	case artifacts.Blocked:
		return "it did not run in the last build"
	}
	return "its outputs are not in the cache any more"
}

// summary is one line; a change of the stage itself says more than one that came with an input.
func summary(changes []Change) string {
	first := changes[0]
	for _, c := range changes {
		if c.From == "" {
			first = c
			break
		}
	}
	switch more := len(changes) - 1; more {
	case 0:
		return first.String()
	default:
		return fmt.Sprintf("%s; and %d more", first, more)
	}
}

// waiting is the reason of a step whose producers have no records yet.
func waiting(waits []wait) string {
	var names []string
	seen := map[*Step]bool{}
	for _, w := range waits {
		if !seen[w.producer] {
			seen[w.producer] = true
			names = append(names, w.producer.address())
		}
	}
	if len(names) == 1 {
		return "waits for " + names[0]
	}
	return fmt.Sprintf("waits for %s and %d more", names[0], len(names)-1)
}
