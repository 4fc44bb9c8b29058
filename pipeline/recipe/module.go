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
	items     []item   // stages and calls of modules, in source order
	blocks    []*block // stage blocks in source order, broken ones too
	calls     map[string]*call
	byID      map[string]*block // the first block of each kind.name
	sortedIDs []string
	kinds     map[string]bool // kinds that some block uses
	outputs   []*hclsyntax.Block
	reports   []*hclsyntax.Block
	catalog   *stages.Catalog
}

// item is a stage block or a module block.
type item struct {
	block *block
	call  *call
}

// block is one stage block; for_each makes several stages of it.
type block struct {
	kind *stages.Kind // nil where the catalogue has none
	id   string       // kind.name
	full string       // the same behind the addresses of the modules that it stands in
	name string
	used string // the kind as written
	src  *hclsyntax.Block
	bad  map[string]bool // attributes of which a mistake was told already
}

func (b *block) header() *hcl.Range { return b.src.DefRange().Ptr() }

func (b *block) forEach() *hclsyntax.Attribute { return b.src.Body.Attributes["for_each"] }

// ids are the addresses of all stage blocks, for suggestions.
func (m *module) ids() []string { return m.sortedIDs }

// topLevel is what can stand in a file, with how it is written.
var topLevel = map[string]struct {
	labels int
	form   string
}{
	"recipe":   {0, "recipe { … }"},
	"variable": {1, `variable "NAME" { … }`},
	"locals":   {0, "locals { … }"},
	"stage":    {2, `stage "KIND" "NAME" { … }`},
	"module":   {1, `module "NAME" { … }`},
	"output":   {1, `output "NAME" { … }`},
	"report":   {1, `report "NAME" { … }`},
}

var blockTypes = []string{"recipe", "variable", "locals", "stage", "module", "output", "report"}

var foreign = map[string]string{
	"resource":  "A recipe is made of stage blocks: stage \"gptq\" \"int4\" { … }.",
	"data":      "A recipe is made of stage blocks: stage \"download\" \"base\" { … }.",
	"provider":  "Stage kinds come with tinfra, or from `kinds` in tinfra.hcl.",
	"terraform": "Settings of the project stand in tinfra.hcl.",
	"local":     "Write locals { … }.",
}

func (l *loader) declare(body *hclsyntax.Body) *module {
	m := &module{
		variables: map[string]*variable{},
		locals:    map[string]*hclsyntax.Attribute{},
		byID:      map[string]*block{},
		calls:     map[string]*call{},
		kinds:     map[string]bool{},
		catalog:   l.options.Catalog,
	}
	if m.catalog == nil {
		m.catalog = &stages.Catalog{}
	}
	for _, a := range attributesInOrder(body) {
		l.problem(&a.NameRange, "Attribute outside a block",
			"At the top of a recipe stand blocks only: %s. Put %s into locals { … }.", strings.Join(blockTypes, ", "), a.Name)
	}
	l.declareBlocks(m, body)
	m.sortedIDs = sortedKeys(m.byID)
	if len(m.items) == 0 && len(l.diags) == 0 && l.parent == nil {
		l.problem(&hcl.Range{Filename: l.path, Start: hcl.InitialPos, End: hcl.InitialPos}, "Nothing to build",
			"The recipe has no stage block. `tinfra init` writes a recipe to start from.")
	}
	return m
}

func (l *loader) declareBlocks(m *module, body *hclsyntax.Body) {
	once := map[string]*hclsyntax.Block{} // outputs and reports by type and name
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
		case "module":
			l.declareCall(m, b)
		case "output", "report":
			name := b.Type + " " + b.Labels[0]
			if first := once[name]; first != nil {
				l.problem(b.DefRange().Ptr(), "Duplicate "+b.Type, "%s %q stands already in line %d.", b.Type, b.Labels[0], first.DefRange().Start.Line)
				continue
			}
			once[name] = b
			if b.Type == "output" {
				m.outputs = append(m.outputs, b)
			} else {
				m.reports = append(m.reports, b)
			}
		}
	}
}

// checkLabels refuses unknown blocks and wrong labels; what is inside such a block is not looked at.
func (l *loader) checkLabels(b *hclsyntax.Block) bool {
	want, known := topLevel[b.Type]
	if !known {
		hint := foreign[b.Type]
		if hint == "" {
			hint = strings.TrimSpace(didYouMean(b.Type, blockTypes))
		}
		l.problem(&b.TypeRange, "Unknown block", "A recipe has no %q blocks. %s", b.Type, hint)
		return false
	}
	if len(b.Labels) != want.labels {
		l.problem(b.DefRange().Ptr(), "Wrong number of labels", "Write it as %s.", want.form)
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
			if l.parent == nil {
				l.recipe.Description = s
			}
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
	b.full = l.prefix() + b.id
	b.kind = m.catalog.Kinds[b.used]
	if b.kind == nil {
		names := sortedKeys(m.catalog.Kinds)
		l.problem(&src.LabelRanges[0], "Unknown stage kind", "There is no stage kind %q.%s `tinfra kinds` lists all.",
			b.used, didYouMean(b.used, names))
	}
	m.kinds[b.used] = true
	m.blocks = append(m.blocks, b)
	m.items = append(m.items, item{block: b})
	if first := m.byID[b.id]; first != nil {
		l.problem(b.header(), "Duplicate stage", "%s stands already in line %d. Give one of them another name.", b.id, first.header().Start.Line)
		return
	}
	m.byID[b.id] = b
}
