package plan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/graph"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// planner is the state of one plan. mu guards all of it and every Step. While steps are prepared side by side, each has its Step to
// itself, and programMu guards what they share of programs. mu is locked before it where both are.
type planner struct {
	options   Options
	graph     *graph.Graph
	byAddress map[string]*Step

	mu       sync.Mutex
	kinds    map[kindEnv]*parts
	leaders  map[artifacts.Key]*Step // the first step of a key that must run
	history  *history
	digested map[string]*digested // by filesName; set before the first step is prepared

	programMu sync.Mutex // guards programs and resolved
	programs  map[fileID]artifacts.Digest
	resolved  map[string]*program // by the name in the command; nil: not found, and that is asked again for its mistake
}

// Make decides for every stage whether it is in the cache. All mistakes are reported at once, as Diagnostics.
func Make(ctx context.Context, g *graph.Graph, o Options) (*Plan, error) {
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	p := &planner{
		options:   o,
		graph:     g,
		byAddress: map[string]*Step{},
		kinds:     map[kindEnv]*parts{},
		programs:  map[fileID]artifacts.Digest{},
		resolved:  map[string]*program{},
		leaders:   map[artifacts.Key]*Step{},
		history:   newHistory(o.Cache, o.Previous),
	}
	out := &Plan{Graph: g, planner: p}
	for _, n := range g.Nodes {
		s := &Step{Node: n, State: Pending, planner: p}
		s.forced = o.Force != nil && o.Force(s.address())
		p.byAddress[s.address()] = s
		out.Steps = append(out.Steps, s)
	}
	p.digestFiles(ctx)
	var all hcl.Diagnostics
	for i, ready := range p.prepareAll(ctx, out.Steps) {
		s, diags, err := out.Steps[i], ready.diags, ready.err
		if err != nil {
			return nil, err
		}
		if !diags.HasErrors() {
			var more hcl.Diagnostics
			more, err = p.settle(ctx, s)
			diags = append(diags, more...)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, diags...)
	}
	if all.HasErrors() {
		return nil, Diagnostics{all}
	}
	return out, nil
}

// Settle looks at a pending step again, once the steps it uses have records. It becomes a hit (early cutoff), a run,
// or stays pending. The caller's writes to records of other steps must have happened before.
func (p *Plan) Settle(ctx context.Context, s *Step) error {
	p.planner.mu.Lock()
	defer p.planner.mu.Unlock()
	if s.State != Pending {
		return nil
	}
	return asError(p.planner.settle(ctx, s))
}

// SettlePins gives a step the files that its source has resolved to, and settles it.
func (p *Plan) SettlePins(ctx context.Context, s *Step, pins []recipe.Pin) error {
	p.planner.mu.Lock()
	defer p.planner.mu.Unlock()
	s.Pins = sortedPins(pins)
	diags, err := p.planner.addParams(s)
	if err != nil || diags.HasErrors() {
		return asError(diags, err)
	}
	return asError(p.planner.settle(ctx, s))
}

func asError(diags hcl.Diagnostics, err error) error {
	if err == nil && diags.HasErrors() {
		return Diagnostics{diags}
	}
	return err
}

func (p *planner) settle(ctx context.Context, s *Step) (hcl.Diagnostics, error) {
	action, diags := p.complete(s)
	if diags.HasErrors() {
		return diags, nil
	}
	s.partial = action
	if s.Source != "" && s.Pins == nil {
		s.State, s.Reason = Pending, "not locked yet: "+s.Source
		return nil, nil
	}
	if len(s.waits) > 0 {
		s.State, s.Reason = Pending, waiting(s.waits)
		return nil, nil
	}
	_, key, err := action.Encode()
	if err != nil {
		return nil, fmt.Errorf("encoding the action of %s: %w", s.address(), err)
	}
	s.Action, s.Key = action, key
	if err := p.decide(ctx, s); err != nil {
		return nil, err
	}
	return p.unfit(ctx, s)
}

// decide knows the key: it looks for a record.
func (p *planner) decide(ctx context.Context, s *Step) error {
	if leader := p.leaders[s.Key]; leader != nil && leader != s {
		s.Same = leader
		if rec, digest := leader.record(); rec != nil {
			s.State, s.Record, s.RecordDigest = Hit, rec, digest
			s.Reason = fmt.Sprintf("the same as %s, which ran", leader.address())
			return nil
		}
		s.State, s.Reason = Run, fmt.Sprintf("the same as %s: one run makes both", leader.address())
		return nil
	}
	if s.forced {
		s.State, s.Reason = Run, "forced"
		p.leaders[s.Key] = s
		return nil
	}
	if p.options.Known != nil {
		if rec, digest := p.options.Known(s.Key); rec != nil {
			s.State, s.Reason, s.Record, s.RecordDigest, s.Known = Hit, InTheCache, rec, digest, true
			return nil
		}
	}
	rec, digest, err := p.options.Cache.Lookup(ctx, s.Key)
	switch {
	case err == nil:
		s.State, s.Reason, s.Record, s.RecordDigest = Hit, InTheCache, rec, digest
		return nil
	case !errors.Is(err, artifacts.ErrMissing) && !errors.Is(err, artifacts.ErrDamaged):
		return fmt.Errorf("looking for %s in the cache: %w", s.address(), err)
	}
	s.State = Run
	s.Reason, err = p.reason(ctx, s, err)
	p.leaders[s.Key] = s
	return err
}
