package stages

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// Example is a stage block of a kind with everything that a recipe must give.
func (c *Catalog) Example(k *Kind) string {
	var b strings.Builder
	fmt.Fprintf(&b, "stage %q \"example\" {\n", k.Name)
	for i := range k.Params {
		if p := &k.Params[i]; p.Required() {
			fmt.Fprintf(&b, "%s = %s\n", p.Name, p.sample())
		}
	}
	for _, in := range k.Inputs {
		if in.Optional {
			continue
		}
		ref := c.producer(k, in)
		if in.Map {
			ref = "{ a = " + ref + " }"
		}
		fmt.Fprintf(&b, "%s = %s\n", in.Name, ref)
	}
	b.WriteString("}\n")
	return string(hclwrite.Format([]byte(b.String())))
}

// producer is a reference to a port that fits: of the kind that itself needs the fewest inputs, then by name. Local
// files stand in where no kind makes such a type.
func (c *Catalog) producer(user *Kind, in Input) string {
	best, fewest := "", 0
	for _, name := range c.Names() {
		k := c.Kinds[name]
		for _, out := range k.Outputs {
			needs := 0
			for _, other := range k.Inputs {
				if !other.Optional {
					needs++
				}
			}
			if k != user && in.Accepts(out.Type) && (best == "" || needs < fewest) {
				best, fewest = k.Name+".example."+out.Name, needs
			}
		}
	}
	if best == "" {
		return `path("` + in.Name + `/**")`
	}
	return best
}

// Accepts says whether an artifact of that type may be given to the port.
func (in *Input) Accepts(typ string) bool {
	for _, t := range in.Types {
		if t == "*" || t == typ {
			return true
		}
	}
	return false
}

// sample is a value of a required param for an example.
func (p *Param) sample() string {
	if len(p.OneOf) > 0 && p.Type.IsPrimitiveType() {
		return show(p.OneOf[0])
	}
	switch {
	case p.Source:
		return `"https://example.org/model.tar.gz"`
	case p.Type == cty.String:
		return `"…"`
	case p.Type == cty.Number && p.Min != nil:
		return plain(*p.Min)
	case p.Type == cty.Number:
		return "1"
	case p.Type == cty.Bool:
		return "true"
	case p.Type.IsMapType() || p.Type.IsObjectType():
		return "{}"
	case p.leaf() == cty.String:
		return `["…"]`
	default:
		return "[]"
	}
}
