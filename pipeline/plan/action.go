package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages"
)

// prepare writes down all of a step's Action that does not depend on what other steps make.
func (p *planner) prepare(ctx context.Context, s *Step) (hcl.Diagnostics, error) {
	st := s.Node.Stage
	shared, err := p.partsOf(ctx, st)
	if err != nil {
		return nil, err
	}
	s.draft = &artifacts.Action{
		Format:  artifacts.ActionFormat,
		Kind:    st.Kind.Name,
		Command: st.Kind.Command,
		Inputs:  map[string]artifacts.Digest{},
		Outputs: map[string]string{},
		Env:     shared.env,
		Salt:    st.Salt,
	}
	for _, o := range st.Kind.Outputs {
		s.draft.Outputs[o.Name] = o.Type
	}
	diags := p.addFacts(s)
	if st.Kind.Native {
		prog, more := p.programOf(st)
		diags = append(diags, more...)
		if prog != nil {
			shared = shared.native(prog)
		}
	}
	s.draft.Worker, s.Program = shared.worker, shared.path
	s.Support = shared.supports[:len(shared.supports):len(shared.supports)]
	more, err := p.localFiles(ctx, s)
	if err != nil {
		return nil, err
	}
	diags = append(diags, more...)
	p.findPins(s)
	more, err = p.addParams(s)
	return append(diags, more...), err
}

func (p *planner) addFacts(s *Step) hcl.Diagnostics {
	var lacks []string
	st := s.Node.Stage
	for _, name := range slices.Concat(st.Kind.Facts, st.Kind.OptionalFacts) {
		v, ok := p.options.Facts[name]
		if !ok && slices.Contains(st.Kind.OptionalFacts, name) {
			continue
		}
		if !ok {
			lacks = append(lacks, name)
			continue
		}
		if s.draft.Facts == nil {
			s.draft.Facts = map[string]string{}
		}
		s.draft.Facts[name] = v
	}
	return p.unstated(st, lacks)
}

// addParams also runs again once pins are known.
func (p *planner) addParams(s *Step) (diags hcl.Diagnostics, err error) {
	s.draft.Params, diags, err = p.encodeParams(s, s.Pins)
	return diags, err
}

func (p *planner) encodeParams(s *Step, pins []recipe.Pin) (json.RawMessage, hcl.Diagnostics, error) {
	values, diags := params(s.Node.Stage, p.options.LookupEnv)
	if diags.HasErrors() {
		return nil, diags, nil
	}
	if s.Source != "" && pins != nil {
		values["pins"] = pinsJSON(pins)
	}
	b, err := artifacts.JCS(values)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the params of %s: %w", s.address(), err)
	}
	return b, nil, nil
}

func (p *planner) findPins(s *Step) {
	src := sourceParam(s.Node.Stage.Kind)
	if src == nil {
		return
	}
	v, _ := value(s.Node.Stage, src)
	if text, err := toJSON(v); err == nil {
		s.Source, _ = text.(string)
	}
	lock := p.graph.Recipe.Lock
	if lock == nil {
		return
	}
	if entry := lock.Sources[s.Source]; entry != nil {
		s.Pins = sortedPins(entry.Files)
	}
}

func sourceParam(k *stages.Kind) *stages.Param {
	for i := range k.Params {
		if k.Params[i].Source {
			return &k.Params[i]
		}
	}
	return nil
}

// sortedPins is never nil: an entry without files is a pinned one too.
func sortedPins(files []recipe.Pin) []recipe.Pin {
	out := append([]recipe.Pin{}, files...)
	slices.SortFunc(out, func(a, b recipe.Pin) int {
		switch {
		case a.Path < b.Path:
			return -1
		case a.Path > b.Path:
			return 1
		}
		return 0
	})
	return out
}

func pinsJSON(pins []recipe.Pin) []any {
	out := make([]any, len(pins))
	for i, p := range pins {
		out[i] = map[string]any{"path": p.Path, "sha256": p.SHA256, "size": float64(p.Size)}
	}
	return out
}

// complete adds what other steps made; with producers still to run it says which.
func (p *planner) complete(s *Step) (*artifacts.Action, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	a := *s.draft
	a.Inputs = maps.Clone(s.draft.Inputs)
	s.waits = nil
	for _, port := range sortedKeys(s.Node.Stage.Inputs) {
		in := s.Node.Stage.Inputs[port]
		if in.Ref == nil {
			continue
		}
		producer := p.byAddress[in.Ref.Address]
		if producer == nil {
			diags = append(diags, problem(in.Range, "Stage is not part of this build", "%s needs %s, which was not selected.",
				s.address(), in.Ref.Address))
			continue
		}
		rec, _ := producer.record()
		if rec == nil {
			s.waits = append(s.waits, wait{port, producer})
			continue
		}
		d, ok := rec.Outputs[in.Ref.Port]
		if !ok {
			diags = append(diags, problem(in.Range, "Output was not made",
				"%s made no %s; that output is optional, and %s needs it.", in.Ref.Address, in.Ref.Port, s.address()))
			continue
		}
		a.Inputs[port] = d
	}
	return &a, diags
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
