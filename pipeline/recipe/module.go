package recipe

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/Ruihan11/tiny-infra/stages"
)

// module is what a recipe file declares, before anything is evaluated.
type module struct {
	variables map[string]*variable
	names     []string // of variables, in source order
	locals    map[string]*hclsyntax.Attribute
	blocks    []*block          // stage blocks in source order, broken ones too
	byID      map[string]*block // the first block of each kind.name
	sortedIDs []string
	kinds     map[string]bool // kinds that some block uses
	outputs   []*hclsyntax.Block
	catalog   *stages.Catalog
}

// block is one stage block; for_each makes several stages of it.
type block struct {
	kind *stages.Kind // nil where the catalogue has none
	id   string       // kind.name
	name string
	used string // the kind as written
	src  *hclsyntax.Block
	bad  map[string]bool // attributes of which a mistake was told already
}

func (b *block) header() *hcl.Range { return b.src.DefRange().Ptr() }

func (b *block) forEach() *hclsyntax.Attribute { return b.src.Body.Attributes["for_each"] }

// ids are the addresses of all stage blocks, for suggestions.
func (m *module) ids() []string { return m.sortedIDs }

var topLevel = map[string]int{"recipe": 0, "variable": 1, "locals": 0, "stage": 2, "output": 1}

var foreign = map[string]string{
	"resource":  "A recipe is made of stage blocks: stage \"gptq\" \"int4\" { … }.",
	"data":      "A recipe is made of stage blocks: stage \"download\" \"base\" { … }.",
	"module":    "A recipe is one file; stage kinds are shared by `kinds` in tinfra.hcl.",
	"provider":  "Stage kinds come with tinfra, or from `kinds` in tinfra.hcl.",
	"terraform": "Settings of the project stand in tinfra.hcl.",
	"local":     "Write locals { … }.",
}

func (l *loader) declare(body *hclsyntax.Body) *module {
	m := &module{
		variables: map[string]*variable{},
		locals:    map[string]*hclsyntax.Attribute{},
		byID:      map[string]*block{},
		kinds:     map[string]bool{},
		catalog:   l.options.Catalog,
	}
	if m.catalog == nil {
		m.catalog = &stages.Catalog{}
	}
	for _, a := range attributesInOrder(body) {
		l.problem(&a.NameRange, "Attribute outside a block",
			"At the top of a recipe stand blocks only: recipe, variable, locals, stage, output. Put %s into locals { … }.", a.Name)
	}
	outputs := map[string]*hclsyntax.Block{}
	described := false
	for _, b := range body.Blocks {
		if !l.checkLabels(b) {
			continue
		}
		switch b.Type {
		case "recipe":
			if described {
				l.problem(b.DefRange().Ptr(), "Second recipe block", "A recipe has one recipe block.")
			}
			described = true
			l.describe(b)
		case "variable":
			l.declareVariable(m, b)
		case "locals":
			l.declareLocals(m, b)
		case "stage":
			l.declareStage(m, b)
		case "output":
			if first := outputs[b.Labels[0]]; first != nil {
				l.problem(b.DefRange().Ptr(), "Duplicate output", "output %q stands already in line %d.", b.Labels[0], first.DefRange().Start.Line)
				continue
			}
			outputs[b.Labels[0]] = b
			m.outputs = append(m.outputs, b)
		}
	}
	m.sortedIDs = sortedKeys(m.byID)
	if len(m.blocks) == 0 && len(l.diags) == 0 {
		l.problem(&hcl.Range{Filename: l.recipe.Path, Start: hcl.InitialPos, End: hcl.InitialPos}, "Nothing to build",
			"The recipe has no stage block. `tinfra init` writes a recipe to start from.")
	}
	return m
}

// checkLabels refuses unknown blocks and wrong labels; what is inside such a block is not looked at.
func (l *loader) checkLabels(b *hclsyntax.Block) bool {
	want, known := topLevel[b.Type]
	if !known {
		hint := foreign[b.Type]
		if hint == "" {
			hint = strings.TrimSpace(didYouMean(b.Type, []string{"recipe", "variable", "locals", "stage", "output"}))
		}
		l.problem(&b.TypeRange, "Unknown block", "A recipe has no %q blocks. %s", b.Type, hint)
		return false
	}
	if len(b.Labels) != want {
		form := map[string]string{
			"recipe": "recipe { … }", "locals": "locals { … }", "variable": `variable "NAME" { … }`,
			"stage": `stage "KIND" "NAME" { … }`, "output": `output "NAME" { … }`,
		}[b.Type]
		l.problem(b.DefRange().Ptr(), "Wrong number of labels", "Write it as %s.", form)
		return false
	}
	for i, label := range b.Labels {
		if !hclsyntax.ValidIdentifier(label) {
			l.problem(&b.LabelRanges[i], "Not a name",
				"%q is no name: it must begin with a letter and hold letters, digits, _ and - only.", label)
			return false
		}
	}
	return true
}

func (l *loader) describe(b *hclsyntax.Block) {
	for _, a := range attributesInOrder(b.Body) {
		if a.Name != "description" {
			l.problem(&a.NameRange, "Unknown attribute", "A recipe block has a description only.%s",
				didYouMean(a.Name, []string{"description"}))
			continue
		}
		v, diags := a.Expr.Value(nil)
		l.add(diags...)
		if s, ok := stringOf(v); ok {
			l.recipe.Description = s
		} else if !diags.HasErrors() {
			l.problem(a.Expr.Range().Ptr(), "Wrong type", "description is a text.")
		}
	}
	l.noBlocks(b.Body, "a recipe block")
}

// noBlocks refuses nested blocks where there are none.
func (l *loader) noBlocks(body *hclsyntax.Body, where string) {
	for _, b := range body.Blocks {
		l.problem(&b.TypeRange, "Unexpected block", "There is no %s block in %s.", b.Type, where)
	}
}

func (l *loader) declareLocals(m *module, b *hclsyntax.Block) {
	l.noBlocks(b.Body, "locals; a value is written name = …")
	for _, a := range attributesInOrder(b.Body) {
		if first := m.locals[a.Name]; first != nil {
			l.problem(&a.NameRange, "Duplicate local", "local.%s stands already in line %d.", a.Name, first.NameRange.Start.Line)
			continue
		}
		m.locals[a.Name] = a
	}
}

func (l *loader) declareStage(m *module, src *hclsyntax.Block) {
	b := &block{used: src.Labels[0], name: src.Labels[1], src: src, bad: map[string]bool{}}
	b.id = b.used + "." + b.name
	b.kind = m.catalog.Kinds[b.used]
	if b.kind == nil {
		names := sortedKeys(m.catalog.Kinds)
		l.problem(&src.LabelRanges[0], "Unknown stage kind", "There is no stage kind %q.%s `tinfra kinds` lists all.",
			b.used, didYouMean(b.used, names))
	}
	m.kinds[b.used] = true
	m.blocks = append(m.blocks, b)
	if first := m.byID[b.id]; first != nil {
		l.problem(b.header(), "Duplicate stage", "%s stands already in line %d. Give one of them another name.", b.id, first.header().Start.Line)
		return
	}
	m.byID[b.id] = b
}
