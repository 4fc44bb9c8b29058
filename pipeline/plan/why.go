package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// NothingChanged is the note of a step that is what it was.
const NothingChanged = "nothing changed since the last build"

// Cause is why a step is not what it was: its own changes, and for each input that changed the cause behind it.
type Cause struct {
	Step    *Step
	Old     artifacts.Step // of the last build that holds the address; zero for none
	Changes []Change
	Note    string // said in place of changes, when there are none to tell
	Because []*Cause
}

// Why compares a step with the last build that holds its address, and goes on through changed inputs to the root.
func (p *Plan) Why(ctx context.Context, s *Step) (*Cause, error) {
	p.planner.mu.Lock()
	defer p.planner.mu.Unlock()
	return p.planner.why(ctx, s, map[*Step]*Cause{})
}

func (p *planner) why(ctx context.Context, s *Step, seen map[*Step]*Cause) (*Cause, error) {
	if c, ok := seen[s]; ok {
		return c, nil
	}
	c := &Cause{Step: s}
	seen[s] = c
	old, ok := p.history.find(ctx, s.address(), s.Key)
	if !ok {
		c.Note = "no earlier build of this recipe holds it"
		return c, nil
	}
	c.Old = old
	changes, err := Explain(ctx, p.options.Cache, old, s)
	switch {
	case errors.Is(err, artifacts.ErrMissing) && old.State == artifacts.Blocked:
		c.Note = unchanged(old)
		return c, nil
	case errors.Is(err, artifacts.ErrMissing):
		c.Note = "the earlier action is not in the cache any more"
		return c, nil
	case err != nil:
		return nil, err
	}
	c.Changes = changes
	if len(changes) == 0 {
		c.Note = p.noChange(s, old)
	}
	for _, change := range changes {
		if change.From == "" {
			continue
		}
		because, err := p.why(ctx, p.byAddress[change.From], seen)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(c.Because, because) {
			c.Because = append(c.Because, because)
		}
	}
	return c, nil
}

func (p *planner) noChange(s *Step, old artifacts.Step) string {
	_, digest := s.record()
	switch {
	case s.State == Run:
		return s.Reason
	case !digest.IsZero() && !old.Record.IsZero() && digest != old.Record:
		return fmt.Sprintf("nothing changed; another run of the same action made other bytes (record %s, then %s)",
			old.Record.Short(), digest.Short())
	}
	return NothingChanged
}

// Roots are the causes with a change of their own, nearest first.
func (c *Cause) Roots() []*Cause {
	var out []*Cause
	seen := map[*Cause]bool{}
	queue := []*Cause{c}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if seen[at] {
			continue
		}
		seen[at] = true
		if at.own() {
			out = append(out, at)
		}
		queue = append(queue, at.Because...)
	}
	return out
}

func (c *Cause) own() bool {
	if len(c.Because) == 0 {
		return true
	}
	for _, change := range c.Changes {
		if change.From == "" {
			return true
		}
	}
	return false
}
