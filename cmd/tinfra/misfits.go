package main

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// warnOfMisfits tells of what a build would refuse, since this machine is too small for it. The plan may be for another one.
func (t *site) warnOfMisfits() error {
	var diags hcl.Diagnostics
	for _, m := range run.Misfits(t.plan, t.facts) {
		d := m.Problem
		d.Detail += " `tinfra build` would refuse it here"
		if more := m.Stages[1:]; len(more) > 0 {
			d.Detail += fmt.Sprintf(", and %s for the same: %s", view.Count(len(more), "other stage"), addressesOf(more))
		}
		d.Detail += "."
		diags = append(diags, d)
	}
	return t.told(asWarnings(diags), t.recipe.Texts)
}
