package stages

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// metaNames belong to every stage block of a recipe; no param, secret or port may take one.
var metaNames = []string{"for_each", "metrics", "needs", "require", "retries", "salt", "timeout"}

const (
	maxKindFile  = 64 << 10 // bytes; deeper nesting than such a file holds would still fit the parser's stack
	maxKindDepth = 100
	// An evaluator takes minutes and gigabytes to write down 1e99999999.
	maxExponentDigits = 3
)

// decoder reads one stage.hcl and collects every mistake in it.
type decoder struct {
	kind  Kind
	ports map[string]hcl.Range // params, secrets and inputs share the attributes of a stage block
	outs  map[string]hcl.Range // outputs and metrics each have their own names
	head  hcl.Range            // the file's first character, for what is missing in it
	diags hcl.Diagnostics
}

// Decode reads the text of a stage.hcl that stands in the folder dir of a catalogue. All mistakes come at once.
func Decode(text []byte, filename, dir string) (*Kind, hcl.Diagnostics) {
	d := &decoder{ports: map[string]hcl.Range{}, outs: map[string]hcl.Range{}}
	if diags := tooLarge(text, filename); diags.HasErrors() {
		return nil, diags
	}
	file, diags := hclsyntax.ParseConfig(text, filename, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, diags
	}
	body := file.Body.(*hclsyntax.Body)
	d.head = hcl.Range{Filename: filename, Start: hcl.InitialPos, End: hcl.InitialPos}
	d.kind.Dir, d.kind.Origin = dir, filename
	d.top(body, path.Base(dir))
	for _, block := range body.Blocks {
		d.block(block)
	}
	d.agree(body)
	if d.diags.HasErrors() {
		return nil, d.diags
	}
	return &d.kind, d.diags
}

// tooLarge guards the parser, which recurses.
func tooLarge(text []byte, filename string) hcl.Diagnostics {
	at := hcl.Range{Filename: filename, Start: hcl.InitialPos, End: hcl.InitialPos}
	if len(text) > maxKindFile {
		return problem(at, "File too large", "A stage.hcl has at most %d bytes; this one has %d.", maxKindFile, len(text))
	}
	tokens, _ := hclsyntax.LexConfig(text, filename, hcl.InitialPos)
	depth := 0
	for _, token := range tokens {
		switch token.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd:
			depth--
		case hclsyntax.TokenNumberLit:
			if hugeNumber(token.Bytes) {
				return problem(token.Range, "Number too large", "An exponent has %d digits at most.", maxExponentDigits)
			}
		}
		if depth > maxKindDepth {
			return problem(token.Range, "Nested too deeply", "Brackets may stand %d deep.", maxKindDepth)
		}
	}
	return nil
}

func hugeNumber(literal []byte) bool {
	_, exponent, _ := strings.Cut(strings.ToLower(string(literal)), "e")
	return len(strings.TrimLeft(exponent, "+-0")) > maxExponentDigits
}

func (d *decoder) top(body *hclsyntax.Body, folder string) {
	a := d.attributes(body, d.head, "a stage.hcl", "kind", "doc", "env", "determinism", "facts", "optional_facts", "network", "native", "command", "uses")
	k := &d.kind
	k.Name = a.text("kind", true)
	if at := a.at("kind"); k.Name != "" && k.Name != folder {
		d.add(at, "Kind is not its folder", "The folder is %q, so kind must be %q.", folder, folder)
	} else if k.Name != "" && !hclsyntax.ValidIdentifier(k.Name) {
		d.add(at, "Not a name", "%q is not a name: letters, digits, _ and -, beginning with a letter.", k.Name)
	} else if slices.Contains([]string{"var", "local", "each", "metrics", "module"}, k.Name) {
		d.add(at, "Name is taken", "In a recipe %s.NAME means something else than a stage of this kind.", k.Name)
	}
	k.Doc = a.text("doc", true)
	k.Env = a.text("env", false)
	if k.Env != "" && !hclsyntax.ValidIdentifier(k.Env) {
		d.add(a.at("env"), "Not a name", "env names a folder: letters, digits, _ and -, beginning with a letter.")
	}
	k.Determinism = Determinism(a.oneOf("determinism", true, string(Exact), string(Statistical), string(Measured)))
	k.Facts, k.OptionalFacts = a.texts("facts"), a.texts("optional_facts")
	for _, name := range k.OptionalFacts {
		if slices.Contains(k.Facts, name) {
			d.add(a.at("optional_facts"), "Fact named twice", "facts names %q already.", name)
		}
	}
	k.Network, k.Native = a.flag("network"), a.flag("native")
	k.Command, k.Uses = a.texts("command"), a.texts("uses")
	for _, use := range k.Uses {
		if path.Clean(use) != use || use == "." || strings.HasPrefix(use, "/") || strings.HasPrefix(use, "..") || strings.Contains(use, `\`) {
			d.add(a.at("uses"), "Not a folder of the catalogue", "%q must be a folder beside the kind's, such as \"lib/llm\".", use)
		}
	}
}

var blockTypes = []string{"needs", "param", "secret", "input", "output", "metric"}

func (d *decoder) block(b *hclsyntax.Block) {
	labels := 1
	if b.Type == "needs" {
		labels = 0
	}
	if !slices.Contains(blockTypes, b.Type) {
		d.add(b.TypeRange, "Unknown block", "There is no block %q in a stage.hcl.%s", b.Type, didYouMean(b.Type, blockTypes))
		return
	}
	if len(b.Labels) != labels {
		d.add(b.DefRange(), "Wrong number of names", "A %s block has %d name(s) before its brace; this one has %d.", b.Type, labels, len(b.Labels))
		return
	}
	for _, inner := range b.Body.Blocks {
		d.add(inner.TypeRange, "Unexpected block", "A %s block holds attributes only.", b.Type)
	}
	switch b.Type {
	case "needs":
		d.needs(b)
	case "param":
		d.param(b)
	case "secret":
		d.secret(b)
	case "input":
		d.input(b)
	case "output":
		d.output(b)
	case "metric":
		d.metric(b)
	}
}

// named checks a block's name and that nothing else has it. shared is the set of names that it must be unique in.
func (d *decoder) named(b *hclsyntax.Block, shared map[string]hcl.Range, prefix string) string {
	name, at := b.Labels[0], b.LabelRanges[0]
	if !hclsyntax.ValidIdentifier(name) || strings.Contains(name, "-") {
		d.add(at, "Not a name", "%q is not a name: letters, digits and _, beginning with a letter.", name)
		return name
	}
	if b.Type != "metric" && slices.Contains(metaNames, name) {
		d.add(at, "Reserved name", "%q means something in every stage block (%s); choose another.", name, strings.Join(metaNames, ", "))
	}
	if first, ok := shared[prefix+name]; ok {
		d.add(at, "Name used twice", "%q is declared at line %d already.", name, first.Start.Line)
		return name
	}
	shared[prefix+name] = at
	return name
}

// agree checks what several declarations say together.
func (d *decoder) agree(body *hclsyntax.Body) {
	k, at := &d.kind, d.head
	attribute := func(name string) hcl.Range {
		if a := body.Attributes[name]; a != nil {
			return a.SrcRange
		}
		return at
	}
	sources, environs, pinned := 0, 0, 0
	for i := range k.Params {
		sources += count(k.Params[i].Source)
		environs += count(k.Params[i].Environ)
	}
	for i := range k.Outputs {
		pinned += count(k.Outputs[i].Pinned)
	}
	if sources > 1 || pinned > 1 || sources != pinned {
		d.add(at, "Source and pinned output", "A kind that downloads has one param with source = true and one output with pinned = true; this one has %d and %d.", sources, pinned)
	}
	if environs > 0 && !k.Native {
		d.add(at, "environ without native", "Only a native kind passes environment variables through.")
	}
	if k.Native {
		if len(k.Environments()) > 0 || k.Command != nil || k.Uses != nil {
			d.add(attribute("native"), "Native kinds have no worker", "Leave out env, envs, command and uses.")
		}
		if p := k.Param("command"); p == nil || !p.Type.Equals(cty.List(cty.String)) {
			d.add(attribute("native"), "Native kinds run their param", "Declare param \"command\" { type = list(string) }.")
		}
	}
	if k.Command != nil && len(k.Command) == 0 {
		d.add(attribute("command"), "Empty command", "command is a program and its arguments.")
	}
	if k.Determinism == Measured && len(k.Facts) == 0 {
		d.add(attribute("determinism"), "Measured without facts", "A measurement belongs to a machine: name the facts that enter the key, such as facts = [\"cpu.model\"].")
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (d *decoder) add(at hcl.Range, summary, detail string, args ...any) {
	d.diags = append(d.diags, problem(at, summary, detail, args...)...)
}

func problem(at hcl.Range, summary, detail string, args ...any) hcl.Diagnostics {
	return hcl.Diagnostics{{
		Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(detail, args...), Subject: at.Ptr(),
	}}
}

// didYouMean is a sentence with the nearest of the right names, or "" when none is near.
func didYouMean(given string, names []string) string {
	if near := Nearest(given, names); near != "" {
		return fmt.Sprintf(" Did you mean %q?", near)
	}
	return ""
}

// Nearest is the name that a person who wrote given most likely meant, or "".
func Nearest(given string, names []string) string {
	best, distance := "", max(2, len(given)/3)+1
	for _, name := range names {
		if n := levenshtein.Distance(strings.ToLower(given), strings.ToLower(name), nil); n < distance && n < len(name) {
			best, distance = name, n
		}
	}
	return best
}
