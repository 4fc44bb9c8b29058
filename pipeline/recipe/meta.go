package recipe

import (
	"math/big"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/Ruihan11/tiny-infra/stages"
)

// maxRetries keeps a mistyped number from occupying a machine for days.
const maxRetries = 100

// meta reads the attributes that every stage has.
func (l *loader) meta(s *Stage, c *compiled, values map[string]cty.Value) {
	if v, ok := l.simple(c, "timeout", values["timeout"], cty.String); ok {
		d, err := time.ParseDuration(v.AsString())
		if err != nil || d <= 0 {
			l.tell(c, "timeout", c.ranges["timeout"], "Invalid value", "timeout is a duration such as \"90s\", \"30m\" or \"2h30m\".")
		}
		s.Timeout = d
	}
	if v, ok := l.simple(c, "retries", values["retries"], cty.Number); ok {
		n, exact := v.AsBigFloat().Int64()
		if exact != big.Exact || n < 0 || n > maxRetries {
			l.tell(c, "retries", c.ranges["retries"], "Invalid value", "retries is a whole number from 0 to %d.", maxRetries)
		}
		s.Retries = int(n)
	}
	if v, ok := l.simple(c, "salt", values["salt"], cty.String); ok {
		s.Salt = v.AsString()
	}
}

// simple lands a value of a primitive type; null and absent are not ok.
func (l *loader) simple(c *compiled, name string, v cty.Value, t cty.Type) (cty.Value, bool) {
	if v == cty.NilVal {
		return v, false
	}
	at := c.ranges[name]
	plain, ok := l.land(c, name, v, at)
	if !ok || plain.IsNull() {
		return cty.NilVal, false
	}
	value, err := convert.Convert(plain, t)
	if err != nil {
		l.tell(c, name, at, "Wrong type", "%s", mismatch(name, plain, t, err))
		return cty.NilVal, false
	}
	return value, true
}

// compiledNeed is one attribute of a needs block.
type compiledNeed struct {
	name string
	at   *hcl.Range
	*expression
}

var needNames = []string{"cpus", "memory_gib", "gpus", "gpu_memory_gib", "exclusive"}

func (l *loader) prepareNeeds(b *hclsyntax.Block, each bool) []*compiledNeed {
	l.noBlocks(b.Body, "a needs block")
	var all []*compiledNeed
	for _, a := range attributesInOrder(b.Body) {
		x := l.scope.prepare(a.Expr, place{each: each, metrics: true})
		if slices.Contains(needNames, a.Name) {
			all = append(all, &compiledNeed{a.Name, &a.SrcRange, x})
		} else {
			l.problem(&a.NameRange, "Unknown attribute", "needs has no %q.%s", a.Name, didYouMean(a.Name, needNames))
		}
	}
	return all
}

// needs overrides what the kind needs, attribute by attribute.
func (l *loader) needs(s *Stage, c *compiled, each map[string]cty.Value) {
	if c.kind != nil {
		s.Needs = c.kind.Needs
	}
	for _, n := range c.needs {
		name := "needs." + n.name
		c.ranges[name] = n.at
		v, ok := l.land(c, name, n.value(each), n.at)
		if !ok || v.IsNull() {
			continue
		}
		if !setNeed(&s.Needs, n.name, v) {
			l.tell(c, name, n.at, "Invalid value", "%s", map[string]string{
				"cpus": "cpus is a number of cores above 0.", "memory_gib": "memory_gib is a number from 0.", "gpu_memory_gib": "gpu_memory_gib is a number from 0.",
				"gpus": "gpus is a whole number, or a range such as \"0-1\".", "exclusive": "exclusive is true or false.",
			}[n.name])
		}
	}
}

func setNeed(needs *stages.Needs, name string, v cty.Value) bool {
	if name == "exclusive" {
		b, err := convert.Convert(v, cty.Bool)
		if err != nil {
			return false
		}
		needs.Exclusive = b.True()
		return true
	}
	if name == "gpus" {
		low, high, ok := gpuRange(v)
		if ok {
			needs.GPUsMin, needs.GPUsMax = low, high
		}
		return ok
	}
	n, err := convert.Convert(v, cty.Number)
	if err != nil {
		return false
	}
	f, _ := n.AsBigFloat().Float64()
	const absurd = 1 << 20
	switch name {
	case "cpus":
		needs.CPUs = f
		return f > 0 && f < absurd
	case "gpu_memory_gib":
		needs.GPUMemoryGiB = f
	default:
		needs.MemoryGiB = f
	}
	return f >= 0 && f < absurd
}
