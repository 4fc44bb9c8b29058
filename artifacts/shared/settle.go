package shared

import (
	"context"
	"fmt"
)

// settle makes hits of this machine of what was kept and whose bytes have all come. Who calls it holds keeping.
func (r *Remote) settle(ctx context.Context) error {
	for _, f := range r.findings.all() {
		if f.settled || !f.kept || !r.anyCame(f) {
			continue
		}
		if err := r.settleOne(ctx, f); err != nil && !gone(err) { // the other outputs may come yet
			return err
		}
	}
	return nil
}

func (r *Remote) settleOne(ctx context.Context, f *finding) error {
	if _, _, err := r.cache.Adopt(ctx, f.digest); err != nil {
		return fmt.Errorf("making a result of this machine of what has come: %w", err)
	}
	f.settled = true
	return nil
}

func (r *Remote) anyCame(f *finding) bool {
	for _, d := range f.rec.Outputs {
		if r.trees.isHere(d) {
			return true
		}
	}
	return false
}
