package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

// require checks a stage's requirements on records, of hits too. It is asked when the stage and its gates have theirs.
func (b *builder) require(ctx context.Context, t *task) error {
	var failed []error
	for _, q := range t.step.Node.Stage.Requires {
		if err := b.requireOne(ctx, t, q); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return requireError{errors.Join(failed...)}
}

func (b *builder) requireOne(ctx context.Context, t *task, q *recipe.Require) error {
	read := map[string]*task{}
	for _, ref := range q.Reads {
		from := t
		if ref.Address != "" && ref.Address != t.address() {
			from = b.byAddress[ref.Address]
		}
		if from == nil || from.record == nil {
			return diagnosed(problem(q.Range, "Metric is not known", "%s requires a metric of %s, which has no record in this build.",
				t.address(), ref.Address))
		}
		read[ref.Address] = from
		m := from.step.Node.Stage.Kind.Metric(ref.Name)
		if m == nil || !m.Quality {
			continue
		}
		made, err := b.labelled(ctx, from, LabelSynthetic)
		if err != nil {
			return err
		}
		if made != "" {
			return diagnosed(problem(q.Range, "Quality of a synthetic model",
				"%s requires %s of %s, whose model is synthetic: the number means nothing. Take the require out, or use a real model.",
				t.address(), ref.Name, from.address()))
		}
	}
	if err := b.comparable(ctx, t, q, read); err != nil {
		return err
	}
	ok, message, diags := q.Check(func(ref recipe.MetricRef) (float64, bool) {
		from := read[ref.Address]
		if from == nil {
			return 0, false
		}
		v, ok := from.record.Metrics[ref.Name]
		return v, ok
	})
	switch {
	case diags.HasErrors():
		return diagnosed(diags...)
	case !ok:
		return diagnosed(problem(q.Range, "Requirement failed", "%s: %s", t.address(), message))
	default:
		return nil
	}
}

// labelled is the value of a label on any output of the task, or "".
func (b *builder) labelled(ctx context.Context, t *task, label string) (string, error) {
	for _, port := range slices.Sorted(maps.Keys(t.record.Outputs)) {
		v, err := b.labelOf(ctx, t.record.Outputs[port], label)
		if v != "" || err != nil {
			return v, err
		}
	}
	if label != LabelSynthetic || t.step.Action == nil {
		return "", nil
	}
	for _, port := range slices.Sorted(maps.Keys(t.step.Action.Inputs)) { // a stage that makes numbers only
		v, err := b.labelOf(ctx, t.step.Action.Inputs[port], label)
		if v != "" || err != nil {
			return v, err
		}
	}
	return "", nil
}

func (b *builder) labelOf(ctx context.Context, d artifacts.Digest, label string) (string, error) {
	m, err := b.o.Cache.Manifest(ctx, d)
	if err != nil {
		return "", cacheTrouble{fmt.Errorf("reading labels: %w", err)}
	}
	return m.Labels[label], nil
}

// comparable refuses to set numbers side by side that were measured differently.
func (b *builder) comparable(ctx context.Context, t *task, q *recipe.Require, read map[string]*task) error {
	var first *task
	var fingerprint string
	for _, address := range slices.Sorted(maps.Keys(read)) {
		from := read[address]
		v, err := b.labelled(ctx, from, LabelProtocol)
		if err != nil {
			return err
		}
		if v == "" {
			continue
		}
		if first == nil {
			first, fingerprint = from, v
			continue
		}
		if v != fingerprint {
			return diagnosed(problem(q.Range, "Numbers that cannot be compared", "%s compares %s with %s, which were measured differently: %s.",
				t.address(), first.address(), from.address(), differences(first.record, from.record)))
		}
	}
	return nil
}

// differences names the fields in which two protocols differ, as far as the records say what their protocols were.
func differences(a, b *artifacts.Record) string {
	var one, two map[string]json.RawMessage
	if json.Unmarshal([]byte(a.Observed[LabelProtocol]), &one) != nil || json.Unmarshal([]byte(b.Observed[LabelProtocol]), &two) != nil {
		return "their protocols have different fingerprints"
	}
	names := map[string]bool{}
	for n := range one {
		names[n] = true
	}
	for n := range two {
		names[n] = true
	}
	var differ []string
	for _, n := range slices.Sorted(maps.Keys(names)) {
		if x, y := orNone(one[n]), orNone(two[n]); x != y {
			differ = append(differ, fmt.Sprintf("%s is %s and %s", n, x, y))
		}
	}
	return few(differ)
}

func orNone(v json.RawMessage) string {
	if v == nil {
		return "absent"
	}
	return string(v)
}
