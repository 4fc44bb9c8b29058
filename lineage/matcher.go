package lineage

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

var conditionFunctions = map[string]function.Function{
	"abs": stdlib.AbsoluteFunc, "min": stdlib.MinFunc, "max": stdlib.MaxFunc, "length": stdlib.LengthFunc,
	"lower": stdlib.LowerFunc, "upper": stdlib.UpperFunc, "contains": stdlib.ContainsFunc,
	"startswith": function.New(&function.Spec{
		Params: []function.Parameter{{Name: "text", Type: cty.String}, {Name: "prefix", Type: cty.String}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.BoolVal(strings.HasPrefix(args[0].AsString(), args[1].AsString())), nil
		},
	}),
}

// matcher applies a condition to runs.
type matcher struct {
	c      *Condition
	failed hcl.Diagnostics // of the first run that it could not be evaluated for
}

// matcher checks the condition's names against those that any run has.
func (x *Index) matcher(ctx context.Context, c *Condition) (*matcher, error) {
	names := map[string][]string{}
	runs := false
	err := x.ask(ctx, func(row scanner) error {
		var space, name string
		err := row.Scan(&space, &name)
		names[space] = append(names[space], name)
		runs = true
		return err
	}, `SELECT space, name FROM _name ORDER BY space, name`)
	if err != nil {
		return nil, err
	}
	for _, t := range c.named {
		space, name, at := member(t)
		if name == "" || !runs || slices.Contains(names[space], name) {
			continue
		}
		noun := map[string]string{"observed": "observation"}[space]
		if noun == "" {
			noun = strings.TrimSuffix(space, "s")
		}
		return nil, c.fail("Unknown "+noun, fmt.Sprintf("No run has the %s %q.%s", noun, name, didYouMean(name, names[space])), at)
	}
	return &matcher{c: c}, nil
}

// holds says whether the condition is true for r. What r does not have is unknown, and what follows from something unknown
// is not true: a run without a metric is not matched by a condition on it.
func (m *matcher) holds(r *Run) bool {
	v, diags := m.c.expr.Value(m.c.scope(r))
	if diags.HasErrors() {
		if m.failed == nil {
			m.failed = diags
		}
		return false
	}
	v, _ = v.Unmark()
	return v.Type() == cty.Bool && v.IsKnown() && !v.IsNull() && v.True()
}

// trouble is why nothing matched, where the condition could not be evaluated for some run.
func (m *matcher) trouble() error {
	if m.failed == nil {
		return nil
	}
	return &ConditionError{m.failed, m.c.file}
}

// scope is what a condition sees of a run; of none, everything is unknown.
func (c *Condition) scope(r *Run) *hcl.EvalContext {
	vars := map[string]cty.Value{}
	for name, t := range scalars {
		vars[name] = cty.UnknownVal(t)
	}
	members := map[string]map[string]cty.Value{}
	for space := range spaces {
		members[space] = map[string]cty.Value{}
	}
	if r != nil {
		r.scalars(vars)
		r.members(members)
	}
	for _, t := range c.named {
		space, name, _ := member(t)
		if name == "" {
			continue
		}
		if _, ok := members[space][name]; !ok {
			members[space][name] = cty.UnknownVal(spaces[space])
		}
	}
	for space, m := range members {
		vars[space] = cty.ObjectVal(m)
		if r == nil && c.takesWhole(space) {
			vars[space] = cty.DynamicVal
		}
	}
	return &hcl.EvalContext{Variables: vars, Functions: conditionFunctions}
}

// takesWhole says that a condition reads a space other than by a member's name.
func (c *Condition) takesWhole(space string) bool {
	for _, t := range c.named {
		if _, name, _ := member(t); name == "" && t.RootName() == space {
			return true
		}
	}
	return false
}

func (r *Run) scalars(vars map[string]cty.Value) {
	for name, s := range map[string]string{
		"kind": r.Kind, "address": r.Address, "build": r.BuildID, "state": string(r.State), "key": r.Key.String(), "record": r.Record.String(),
		"builder": r.Builder, "worker": r.Worker.String(), "salt": r.Salt,
		"started": r.Started.UTC().Format(timeLayout), "ended": r.Ended.UTC().Format(timeLayout),
	} {
		vars[name] = cty.StringVal(s)
	}
	if r.Env != (artifacts.Digest{}) {
		vars["env"] = cty.StringVal(r.Env.String())
	}
	vars["seconds"] = number(r.Seconds())
	vars["size"] = cty.NumberIntVal(r.OutputBytes)
	if r.PeakMemory > 0 {
		vars["peak_memory"] = cty.NumberIntVal(r.PeakMemory)
	}
}

func (r *Run) members(into map[string]map[string]cty.Value) {
	for name, v := range r.Metrics {
		into["metrics"][name] = number(v)
	}
	for name, v := range r.Params {
		into["params"][name] = valueOf(v)
	}
	for space, m := range map[string]map[string]string{"facts": r.Facts, "observed": r.Observed, "labels": r.Labels} {
		for name, v := range m {
			into[space][name] = cty.StringVal(v)
		}
	}
}

// number is what people read and write of a float: 0.1 in a condition is a decimal, and the nearest float is another number.
func number(v float64) cty.Value {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return cty.NumberIntVal(int64(v))
	}
	return cty.MustParseNumberVal(strconv.FormatFloat(v, 'g', -1, 64))
}

// valueOf is a JSON value in a condition.
func valueOf(v any) cty.Value {
	switch v := v.(type) {
	case string:
		return cty.StringVal(v)
	case float64:
		return number(v)
	case bool:
		return cty.BoolVal(v)
	case []any:
		all := make([]cty.Value, len(v))
		for i, one := range v {
			all[i] = valueOf(one)
		}
		return cty.TupleVal(all)
	case map[string]any:
		all := make(map[string]cty.Value, len(v))
		for name, one := range v {
			all[name] = valueOf(one)
		}
		return cty.ObjectVal(all)
	}
	return cty.NullVal(cty.DynamicPseudoType)
}
