package plan

import (
	"fmt"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Draft is the Action of a step whose source is not locked yet, without the pins: enough to run it by, but no key.
// SettlePins completes it.
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
	return a, nil
}
