package plan

import (
	"fmt"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Draft is the Action of a step with a source as it is before the lock knows that, without the pins: enough to run it by,
// but no key. SettlePins completes it.
func (p *Plan) Draft(s *Step) (*artifacts.Action, error) {
	p.planner.mu.Lock()
	defer p.planner.mu.Unlock()
	a, diags := p.planner.complete(s)
	if diags.HasErrors() {
		return nil, Diagnostics{diags}
	}
	if len(s.waits) > 0 {
		return nil, fmt.Errorf("%s %s", s.address(), waiting(s.waits))
	}
	var err error
	if a.Params, diags, err = p.planner.encodeParams(s, nil); err != nil || diags.HasErrors() {
		return nil, asError(diags, err)
	}
	return a, nil
}
