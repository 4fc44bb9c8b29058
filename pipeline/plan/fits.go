package plan

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// fitsPrefix begins the labels that say on which machines an artifact is of use: fits.gpu.arch = "sm_90".
const fitsPrefix = "fits."

// Misfit is a fact that an artifact was made for, and what a machine has in its place.
type Misfit struct {
	Fact, Made string
	Here       string // "" where the machine does not state it
}

// FitsAnywhere are the labels of an output of which those that say where it fits do not hold: results are read on any machine.
func FitsAnywhere(labels map[string]string) map[string]string {
	out := maps.Clone(labels)
	maps.DeleteFunc(out, func(name, _ string) bool { return strings.HasPrefix(name, fitsPrefix) })
	return out
}

// MadeFor tells whether an artifact says on which machines it is of use.
func MadeFor(m *artifacts.Manifest) bool {
	for name := range m.Labels {
		if strings.HasPrefix(name, fitsPrefix) {
			return true
		}
	}
	return false
}

// MisfitOf is the first fact of a machine that an artifact was not made for, or nil.
func MisfitOf(m *artifacts.Manifest, facts map[string]string) *Misfit {
	for _, name := range sortedKeys(m.Labels) {
		fact, ok := strings.CutPrefix(name, fitsPrefix)
		if ok && facts[fact] != m.Labels[name] {
			return &Misfit{fact, m.Labels[name], facts[fact]}
		}
	}
	return nil
}

func (m *Misfit) String() string {
	if m.Here == "" {
		return fmt.Sprintf("was made for %s %s, which this machine does not have", m.Fact, m.Made)
	}
	words := fmt.Sprintf("was made for %s %s; this machine has %s", m.Fact, m.Made, m.Here)
	if slices.Contains(strings.Split(m.Here, ","), m.Made) {
		words += " and may give a stage either: tinfra.hcl can name those of one sort (`executor \"local\" { gpus = [...] }`)"
	}
	return words
}

// Unfit is what to tell of an input that is of no use on a machine with these facts; nil for others.
func Unfit(st *recipe.Stage, port string, m *artifacts.Manifest, facts map[string]string) *hcl.Diagnostic {
	misfit := MisfitOf(m, facts)
	if misfit == nil {
		return nil
	}
	in := st.Inputs[port]
	if in.Ref == nil {
		return problem(in.Range, "Input does not fit this machine", "%s of %s %s.", port, st.Address, misfit)
	}
	return problem(in.Range, "Input does not fit this machine",
		"%s.%s %s. Give %s another `salt`, and this machine makes one for itself; a kind whose outputs depend on %s names it in its `facts`.",
		in.Ref.Address, in.Ref.Port, misfit, in.Ref.Address, misfit.Fact)
}

// unfit looks at the inputs of a step that is to run, before any byte of them is brought here. Local files are made for no machine.
func (p *planner) unfit(ctx context.Context, s *Step) (hcl.Diagnostics, error) {
	if s.State != Run || s.Same != nil {
		return nil, nil
	}
	var diags hcl.Diagnostics
	st := s.Node.Stage
	for _, port := range sortedKeys(st.Inputs) {
		if st.Inputs[port].Ref == nil {
			continue
		}
		m, err := p.options.Cache.Manifest(ctx, s.Action.Inputs[port])
		if errors.Is(err, artifacts.ErrMissing) || errors.Is(err, artifacts.ErrDamaged) {
			continue // who runs the step says it better
		}
		if err != nil {
			return nil, fmt.Errorf("reading input %s of %s: %w", port, s.address(), err)
		}
		if d := Unfit(st, port, m, p.options.Facts); d != nil {
			diags = append(diags, d)
		}
	}
	return diags, nil
}
