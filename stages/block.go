package stages

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

var (
	portType    = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9_-]+(/[a-z0-9_-]+)*$`) })
	environName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`) })
)

func (d *decoder) needs(b *hclsyntax.Block) {
	if d.kind.Needs != (Needs{}) {
		d.add(b.DefRange(), "Block used twice", "A kind has one needs block.")
		return
	}
	a := d.attributes(b.Body, b.DefRange(), "a needs block", "cpus", "memory_gib", "gpus", "gpu_memory_gib", "exclusive")
	n := &d.kind.Needs
	n.CPUs, n.MemoryGiB, n.GPUMemoryGiB = a.positive("cpus"), a.positive("memory_gib"), a.positive("gpu_memory_gib")
	n.Exclusive = a.flag("exclusive")
	if val, ok := a.value("gpus"); ok {
		var good bool
		if n.GPUsMin, n.GPUsMax, good = gpuRange(val); !good {
			d.add(a.at("gpus"), "Not a number of GPUs", "gpus is a whole number, or a range such as \"0-1\".")
		}
	}
}

// positive is 0 where the attribute is absent.
func (a attributes) positive(name string) float64 {
	f := a.number(name)
	if f == nil {
		return 0
	}
	if *f <= 0 {
		a.d.add(a.at(name), "Out of range", "%s must be more than 0.", name)
		return 0
	}
	return *f
}

func gpuRange(val cty.Value) (low, high int, ok bool) {
	switch val.Type() {
	case cty.Number:
		f, _ := val.AsBigFloat().Float64()
		if f != math.Trunc(f) || f < 0 || f > 1024 {
			return 0, 0, false
		}
		return int(f), int(f), true
	case cty.String:
		from, to, ranged := strings.Cut(val.AsString(), "-")
		if !ranged {
			to = from
		}
		a, errA := strconv.ParseUint(from, 10, 10)
		b, errB := strconv.ParseUint(to, 10, 10)
		if errA != nil || errB != nil || a > b {
			return 0, 0, false
		}
		return int(a), int(b), true
	}
	return 0, 0, false
}

func (d *decoder) param(b *hclsyntax.Block) {
	p := Param{Name: d.named(b, d.ports, "")}
	a := d.attributes(b.Body, b.DefRange(), "a param block", "type", "default", "optional", "one_of", "min", "max", "integer", "pattern", "doc", "source", "environ")
	p.Doc, p.Optional, p.Integer = a.text("doc", true), a.flag("optional"), a.flag("integer")
	p.Source, p.Environ = a.flag("source"), a.flag("environ")
	p.Min, p.Max, p.Pattern = a.number("min"), a.number("max"), a.text("pattern", false)
	attribute := b.Body.Attributes["type"]
	if attribute == nil {
		d.add(b.DefRange(), "Missing attribute", "A param block must have type.")
		return
	}
	var diags hcl.Diagnostics
	p.Type, diags = typeexpr.Type(attribute.Expr)
	d.diags = append(d.diags, diags...)
	if diags.HasErrors() {
		return
	}
	d.checksFit(&p, a)
	d.defaultValue(&p, a)
	d.kind.Params = append(d.kind.Params, p)
}

// checksFit holds the checks of a param against its type and each other.
func (d *decoder) checksFit(p *Param, a attributes) {
	leaf := p.leaf()
	if leaf != cty.Number && (p.Min != nil || p.Max != nil || p.Integer) {
		d.add(a.body.Attributes["type"].SrcRange, "Check does not fit the type", "min, max and integer are for numbers.")
	}
	if p.Min != nil && p.Max != nil && *p.Min > *p.Max {
		d.add(a.at("min"), "Nothing is allowed", "min is more than max.")
	}
	if p.Pattern != "" {
		if leaf != cty.String {
			d.add(a.at("pattern"), "Check does not fit the type", "pattern is for strings.")
		}
		if _, err := regexp.Compile(p.Pattern); err != nil {
			d.add(a.at("pattern"), "Not a pattern", "%s.", err)
			p.Pattern = ""
		}
	}
	if p.Source && p.Type != cty.String {
		d.add(a.at("source"), "Check does not fit the type", "A source is a string.")
	}
	if p.Environ && !p.Type.Equals(cty.List(cty.String)) && !p.Type.Equals(cty.Set(cty.String)) {
		d.add(a.at("environ"), "Check does not fit the type", "Names of environment variables are a set(string) or a list(string).")
	}
	if !a.has("one_of") {
		return
	}
	if leaf == cty.NilType {
		d.add(a.at("one_of"), "Check does not fit the type", "one_of is for strings, numbers and bools, and lists, sets and maps of them.")
		return
	}
	if val, ok := a.as("one_of", cty.List(leaf)); ok {
		p.OneOf = val.AsValueSlice()
		if len(p.OneOf) == 0 {
			d.add(a.at("one_of"), "Nothing is allowed", "one_of is empty.")
		}
	}
}

func (d *decoder) defaultValue(p *Param, a attributes) {
	if !a.has("default") {
		return
	}
	if p.Optional {
		d.add(a.at("default"), "Optional with a default", "A param with a default may be left out already; remove optional.")
	}
	if p.Source {
		d.add(a.at("default"), "Source with a default", "A recipe must say what to download.")
	}
	val, ok := a.as("default", p.Type)
	if !ok {
		return
	}
	if err := p.Check(val); err != nil {
		d.add(a.at("default"), "Default is not allowed", "%s.", capital(err.Error()))
		return
	}
	p.Default = val
}

func (d *decoder) secret(b *hclsyntax.Block) {
	a := d.attributes(b.Body, b.DefRange(), "a secret block", "env", "doc")
	s := Secret{Name: d.named(b, d.ports, ""), Env: a.text("env", true), Doc: a.text("doc", false)}
	if s.Env != "" && !environName().MatchString(s.Env) {
		d.add(a.at("env"), "Not an environment variable", "%q is made of letters, digits and _ only.", s.Env)
	}
	d.kind.Secrets = append(d.kind.Secrets, s)
}

func (d *decoder) input(b *hclsyntax.Block) {
	a := d.attributes(b.Body, b.DefRange(), "an input block", "type", "types", "envs", "optional", "map", "doc")
	in := Input{Name: d.named(b, d.ports, ""), Doc: a.text("doc", false), Optional: a.flag("optional"), Map: a.flag("map")}
	if a.has("type") == a.has("types") {
		d.add(b.DefRange(), "One of type and types", "An input block has either type, or types = [...].")
		return
	}
	if in.Types = a.texts("types"); a.has("type") {
		in.Types = []string{a.text("type", true)}
	}
	name := "types"
	if a.has("type") {
		name = "type"
	}
	if len(in.Types) == 0 && a.has("types") {
		d.add(a.at("types"), "Nothing is allowed", "types is empty.")
	}
	for _, ty := range in.Types {
		d.portType(ty, a.at(name), ty == "*")
	}
	in.Envs = d.envs(a, in.Types)
	d.kind.Inputs = append(d.kind.Inputs, in)
}

// envs is nil where there are none.
func (d *decoder) envs(a attributes, types []string) map[string]string {
	val, ok := a.as("envs", cty.Map(cty.String))
	if !ok || val.LengthInt() == 0 {
		return nil
	}
	all := map[string]string{}
	for ty, element := range val.AsValueMap() {
		if element.IsNull() || !hclsyntax.ValidIdentifier(element.AsString()) {
			d.add(a.at("envs"), "Not a name", "envs names folders: letters, digits, _ and -, beginning with a letter.")
			continue
		}
		if !slices.Contains(types, ty) && (!slices.Contains(types, "*") || !portType().MatchString(ty)) {
			d.add(a.at("envs"), "Not a type of this input", "envs has %q, which the input does not take.", ty)
		}
		all[ty] = element.AsString()
	}
	return all
}

func (d *decoder) portType(ty string, at hcl.Range, wild bool) {
	if ty != "" && !wild && !portType().MatchString(ty) {
		d.add(at, "Not a port type", "%q is not a type of artifact, such as \"model/hf\" or \"files\".", ty)
	}
}

func (d *decoder) output(b *hclsyntax.Block) {
	a := d.attributes(b.Body, b.DefRange(), "an output block", "type", "optional", "pinned", "doc")
	o := Output{Name: d.named(b, d.outs, "output "), Doc: a.text("doc", false), Type: a.text("type", true), Optional: a.flag("optional"), Pinned: a.flag("pinned")}
	d.portType(o.Type, a.at("type"), false)
	d.kind.Outputs = append(d.kind.Outputs, o)
}

func (d *decoder) metric(b *hclsyntax.Block) {
	a := d.attributes(b.Body, b.DefRange(), "a metric block", "unit", "better", "quality", "doc")
	m := Metric{Name: d.named(b, d.outs, "metric "), Doc: a.text("doc", false), Unit: a.text("unit", false), Quality: a.flag("quality")}
	m.Better = a.oneOf("better", false, "lower", "higher")
	d.kind.Metrics = append(d.kind.Metrics, m)
}
