package plan

import (
	"context"
	"runtime"

	"github.com/hashicorp/hcl/v2"
	"golang.org/x/sync/errgroup"
)

// preparePart is how many steps are prepared by one, as long as there are more.
const preparePart = 1 << 6

// prepared is what became of preparing a step.
type prepared struct {
	diags hcl.Diagnostics
	err   error
}

// prepareAll prepares the steps side by side: none of them needs another one for that. Kinds are described before, in the order of the
// steps; what comes after a step whose kind cannot be described is not prepared.
func (p *planner) prepareAll(ctx context.Context, steps []*Step) []prepared {
	all := make([]prepared, len(steps))
	for i, s := range steps {
		if _, err := p.partsOf(ctx, s.Node.Stage); err != nil {
			all, all[i].err = all[:i+1], err
			steps = steps[:i]
			break
		}
	}
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	for from := 0; from < len(steps); from += preparePart {
		work.Go(func() error {
			for i := from; i < min(from+preparePart, len(steps)); i++ {
				all[i].diags, all[i].err = p.prepare(ctx, steps[i])
			}
			return nil
		})
	}
	_ = work.Wait() // what went wrong is kept with its step
	return all
}
