package stages

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

const generated = "<!-- Generated from the kinds' stage.hcl by `make docs`. -->\n"

// WriteReference writes kinds/<kind>.md for every kind below dir, with an index, and removes pages of kinds that are no more.
func WriteReference(c *Catalog, dir string) error {
	pages := Reference(c)
	folder := filepath.Join(dir, "kinds")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("writing the reference: %w", err)
	}
	old, err := filepath.Glob(filepath.Join(folder, "*.md"))
	if err != nil {
		return fmt.Errorf("writing the reference: %w", err)
	}
	for _, name := range old {
		if pages["kinds/"+filepath.Base(name)] == nil {
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("writing the reference: %w", err)
			}
		}
	}
	for _, name := range sortedKeys(pages) {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), pages[name], 0o644); err != nil {
			return fmt.Errorf("writing the reference: %w", err)
		}
	}
	return nil
}

// Reference is the pages by their path below docs/reference.
func Reference(c *Catalog) map[string][]byte {
	pages := map[string][]byte{}
	index := page{}
	index.line("# Stage kinds\n")
	index.row("kind", "what it does", "takes", "makes")
	index.row("---", "---", "---", "---")
	for _, name := range c.Names() {
		k := c.Kinds[name]
		pages["kinds/"+name+".md"] = c.page(k)
		var takes, makes []string
		for _, in := range k.Inputs {
			takes = append(takes, in.Name)
		}
		for _, out := range k.Outputs {
			makes = append(makes, out.Name)
		}
		index.row("["+name+"]("+name+".md)", prose(k.Summary()), strings.Join(takes, ", "), strings.Join(makes, ", "))
	}
	index.line("\nEvery stage block may also have `for_each`, `timeout`, `retries`, `salt`, a `needs` block and `require` blocks.")
	index.line("To add a kind: [write a kind of your own](../../stage-kinds.md).")
	pages["kinds/README.md"] = index.bytes()
	return pages
}

// page is Markdown being written.
type page struct{ text bytes.Buffer }

func (p *page) line(format string, args ...any) {
	fmt.Fprintf(&p.text, format+"\n", args...)
}

// row is a row of a table; a line end or a bar in a cell would break it.
func (p *page) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = strings.ReplaceAll(strings.Join(strings.Fields(cell), " "), "|", `\|`)
	}
	p.line("| %s |", strings.Join(cells, " | "))
}

func (p *page) bytes() []byte { return append([]byte(generated), p.text.Bytes()...) }

// prose keeps <name> in a doc from becoming a tag.
func prose(doc string) string { return strings.ReplaceAll(doc, "<", "&lt;") }

// Summary is the first sentence of the kind's Doc.
func (k *Kind) Summary() string {
	if head, _, ok := strings.Cut(k.Doc, ". "); ok {
		return head + "."
	}
	return k.Doc
}

func (c *Catalog) page(k *Kind) []byte {
	p := &page{}
	p.line("# %s\n\n%s\n", k.Name, prose(k.Doc))
	p.line("```hcl\n%s```\n", c.Example(k))
	p.params(k)
	p.ports(k)
	p.metrics(k)
	p.facts(k)
	return p.bytes()
}

func (p *page) params(k *Kind) {
	if len(k.Params)+len(k.Secrets) == 0 {
		return
	}
	p.line("## Params\n")
	p.row("name", "type", "default", "allowed", "what")
	p.row("---", "---", "---", "---", "---")
	for i := range k.Params {
		param := &k.Params[i]
		standard := "required"
		switch {
		case param.Optional:
			standard = "may be absent"
		case !param.Required():
			standard = "`" + literal(param.Default) + "`"
		}
		p.row("`"+param.Name+"`", "`"+typeexpr.TypeString(param.Type)+"`", standard, param.Allowed(), prose(param.Doc))
	}
	for _, s := range k.Secrets {
		p.row("`"+s.Name+"`", "secret", "may be absent", "`secret(\"NAME\")`", prose(s.Doc))
	}
	p.line("")
}

// Allowed says in words which values of its type a param takes; "" for all.
func (p *Param) Allowed() string {
	var all []string
	for _, val := range p.OneOf {
		all = append(all, "`"+show(val)+"`")
	}
	if len(all) > 0 {
		all = []string{strings.Join(all, ", ")}
	}
	if p.Integer {
		all = append(all, "whole numbers")
	}
	switch {
	case p.Min != nil && p.Max != nil:
		all = append(all, plain(*p.Min)+" to "+plain(*p.Max))
	case p.Min != nil:
		all = append(all, "at least "+plain(*p.Min))
	case p.Max != nil:
		all = append(all, "at most "+plain(*p.Max))
	}
	if p.Pattern != "" {
		all = append(all, "`"+p.Pattern+"`")
	}
	return strings.Join(all, "; ")
}

func (p *page) ports(k *Kind) {
	if len(k.Inputs) > 0 {
		p.line("## Inputs\n")
		p.row("port", "takes", "", "what")
		p.row("---", "---", "---", "---")
		for _, in := range k.Inputs {
			var notes []string
			if in.Optional {
				notes = append(notes, "may be absent")
			}
			if in.Map {
				notes = append(notes, "a map")
			}
			p.row("`"+in.Name+"`", types(in.Types), strings.Join(notes, ", "), prose(in.Doc))
		}
		p.line("")
	}
	if len(k.Outputs) > 0 {
		p.line("## Outputs\n")
		p.row("port", "type", "", "what")
		p.row("---", "---", "---", "---")
		for _, out := range k.Outputs {
			note := ""
			if out.Optional {
				note = "may be empty"
			}
			p.row("`"+out.Name+"`", "`"+out.Type+"`", note, prose(out.Doc))
		}
		p.line("")
	}
}

func types(all []string) string {
	if slices.Contains(all, "*") {
		return "anything"
	}
	return "`" + strings.Join(all, "` or `") + "`"
}

func (p *page) metrics(k *Kind) {
	if len(k.Metrics) == 0 {
		return
	}
	p.line("## Metrics\n")
	p.row("name", "unit", "better", "what")
	p.row("---", "---", "---", "---")
	for _, m := range k.Metrics {
		doc := m.Doc
		if m.Quality {
			doc = strings.TrimSpace(doc + " Means nothing on a synthetic model.")
		}
		p.row("`"+m.Name+"`", m.Unit, m.Better, prose(doc))
	}
	p.line("")
}

var meaning = map[Determinism]string{
	Exact:       "A second run gives the same bytes.",
	Statistical: "A second run may give other bytes, as good: the first result is kept.",
	Measured:    "It measures the machine it runs on.",
}

func (p *page) facts(k *Kind) {
	p.line("## Running\n")
	p.line("- Determinism: `%s`. %s", k.Determinism, meaning[k.Determinism])
	if k.Env != "" {
		p.line("- Environment: `%s`.", k.Env)
	}
	for i := range k.Inputs {
		for _, typ := range sortedKeys(k.Inputs[i].Envs) {
			p.line("- Environment where `%s` is `%s`: `%s`.", k.Inputs[i].Name, typ, k.Inputs[i].Envs[typ])
		}
	}
	if len(k.Facts) > 0 {
		p.line("- Facts of the machine in the key: `%s`.", strings.Join(k.Facts, "`, `"))
	}
	if len(k.OptionalFacts) > 0 {
		p.line("- In the key too, where the machine has them: `%s`.", strings.Join(k.OptionalFacts, "`, `"))
	}
	if needs := k.Needs.String(); needs != "" {
		p.line("- Needs %s.", needs)
	}
	if k.Network {
		p.line("- May reach the network.")
	}
	for _, s := range k.Secrets {
		p.line("- Secret `%s` reaches the worker as `%s`.", s.Name, s.Env)
	}
}

// String is the needs in words; "" when there are none.
func (n Needs) String() string {
	var all []string
	if n.CPUs > 0 {
		all = append(all, plain(n.CPUs)+" cores")
	}
	if n.MemoryGiB > 0 {
		all = append(all, plain(n.MemoryGiB)+" GiB of memory")
	}
	switch {
	case n.GPUsMin == 0 && n.GPUsMax == 1:
		all = append(all, "a GPU where there is one")
	case n.GPUsMin != n.GPUsMax:
		all = append(all, fmt.Sprintf("%d to %d GPUs", n.GPUsMin, n.GPUsMax))
	case n.GPUsMin > 0:
		all = append(all, fmt.Sprintf("GPUs: %d", n.GPUsMin))
	}
	if n.GPUMemoryGiB > 0 {
		all = append(all, plain(n.GPUMemoryGiB)+" GiB of a GPU's memory")
	}
	if n.Exclusive {
		all = append(all, "the machine to itself")
	}
	return strings.Join(all, ", ")
}

func plain(f float64) string { return show(cty.NumberFloatVal(f)) }

// literal writes a value as a recipe would, on one line.
func literal(val cty.Value) string {
	return strings.Join(strings.Fields(string(hclwrite.TokensForValue(val).Bytes())), " ")
}
