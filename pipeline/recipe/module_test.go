package recipe

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/hcl/v2"
)

// tree writes files by path below a new folder and loads root.hcl.
func tree(t *testing.T, files map[string]string, set ...string) (*Recipe, hcl.Diagnostics) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Load(filepath.Join(dir, "root.hcl"), Options{Catalog: testCatalog(), Set: set})
}

const quantizeModule = `
variable "base" { type = any }
variable "text" { type = any }
variable "token" {
  type    = any
  default = null
}
variable "limit" {
  type    = number
  default = 100
}
variable "sizes" {
  type = map(object({ group = number, bits = optional(number, 4) }))
}

stage "download" "notes" {
  source = "https://example.org/notes"
  token  = var.token
}

stage "gptq" "int4" {
  for_each   = var.sizes
  model      = var.base.model
  bits       = each.value.bits
  group_size = each.value.group
}

module "score" {
  for_each = gptq.int4
  source   = "./parts/score.hcl"
  model    = each.value.model
  from     = var.base
  text     = var.text
  limit    = var.limit
}

output "models" { value = { for k, m in gptq.int4 : k => m.model } }
output "stages" { value = gptq.int4 }
output "losses" { value = { for k, m in module.score : k => m.loss } }
output "scores" { value = module.score }
output "five"   { value = 5 }

report "sizes" {
  row "all" {
    stages = [gptq.int4, values(module.score)[*].result]
  }
}
`

const scoreModule = `
variable "model" {}
variable "from" {}
variable "text" {}
variable "limit" {}

stage "perplexity" "it" {
  model     = var.model
  tokenizer = var.from.tokenizer
  text      = var.text
  require {
    condition = metrics.perplexity < var.limit
    message   = "too much: ${metrics.perplexity} against ${var.limit}"
  }
}

output "loss"   { value = perplexity.it.metrics.perplexity }
output "result" { value = perplexity.it }
`

const callingRecipe = `
stage "download" "base" { source = "https://example.org/base" }

stage "perplexity" "base" {
  model     = download.base.model
  tokenizer = download.base.tokenizer
  text      = path("texts/*")
}

module "q" {
  source = "./modules/quantize.hcl"
  base   = download.base
  text   = path("texts/*")
  token  = secret("HF_TOKEN")
  limit  = perplexity.base.metrics.perplexity * 2
  sizes  = { g128 = { group = 128 }, g64 = { group = 64, bits = module.other.five - 2 } }
}

module "other" {
  source = "./modules/quantize.hcl"
  base   = download.base
  text   = download.base.files
  sizes  = { g32 = { group = 32 } }
}

stage "onnx" "best" { model = module.q.models["g64"] }

stage "onnx" "rest" {
  for_each = module.q.stages
  model    = each.value.model
  require {
    condition = module.q.losses[each.key] < module.other.losses["g32"]
  }
}

output "models" { value = module.q.models }
output "engine" { value = onnx.best.model }

report "all" {
  title    = "All"
  baseline = "base"
  row "base" { stages = [download.base, perplexity.base] }
  row "g64"  { stages = [module.q.stages["g64"], module.q.scores["g64"].result, onnx.rest["g64"]] }
}
`

func callingFiles() map[string]string {
	return map[string]string{
		"root.hcl": callingRecipe, "modules/quantize.hcl": quantizeModule, "modules/parts/score.hcl": scoreModule, "texts/a.txt": "a",
	}
}

func TestModules(t *testing.T) {
	r, diags := tree(t, callingFiles())
	if len(diags) > 0 {
		t.Fatal(show(r, diags))
	}
	want := []string{
		"download.base", "perplexity.base",
		"module.q.download.notes", `module.q.gptq.int4["g128"]`, `module.q.gptq.int4["g64"]`,
		`module.q.module.score["g128"].perplexity.it`, `module.q.module.score["g64"].perplexity.it`,
		"module.other.download.notes", `module.other.gptq.int4["g32"]`, `module.other.module.score["g32"].perplexity.it`,
		"onnx.best", `onnx.rest["g128"]`, `onnx.rest["g64"]`,
	}
	if got := addresses(r); !slices.Equal(got, want) {
		t.Fatalf("stages %q", got)
	}
	int4 := r.Stage(`module.q.gptq.int4["g64"]`)
	if int4.Module != "module.q" || int4.Block() != "module.q.gptq.int4" || int4.Name != "int4" || int4.Key != "g64" {
		t.Errorf("%+v", int4)
	}
	if got := int4.Params["bits"].Value.AsBigFloat().String() + int4.Params["group_size"].Value.AsBigFloat().String(); got != "364" {
		t.Errorf("bits and size %s", got)
	}
	if at := int4.Params["bits"].Range; !strings.HasSuffix(at.Filename, "modules/quantize.hcl") || r.Files[at.Filename] == nil {
		t.Errorf("bits are said to be set at %v", at)
	}
	score := r.Stage(`module.q.module.score["g64"].perplexity.it`)
	if ref := score.Inputs["model"].Ref; *ref != (Ref{int4.Address, "model", "model/hf"}) {
		t.Errorf("model is %+v", ref)
	}
	if f := score.Inputs["text"].Files; f == nil || f.Dir != r.Dir {
		t.Errorf("the text is %+v, not the recipe's", f)
	}
	if got := r.Stage("module.q.download.notes").Secrets["token"].Variable; got != "HF_TOKEN" {
		t.Errorf("token %q", got)
	}
	if len(r.Outputs) != 3 || r.Outputs[0].Name != `models["g128"]` || r.Outputs[0].Ref.Address != `module.q.gptq.int4["g128"]` {
		t.Errorf("outputs %+v", r.Outputs[0])
	}
	if len(r.Modules) != 2 || string(r.Modules["modules/parts/score.hcl"]) != scoreModule {
		t.Errorf("%d modules", len(r.Modules))
	}
}

// The metrics that a require reads through variables and outputs of modules are found, and measured ones go the same way.
func TestRequiresThroughModules(t *testing.T) {
	r, diags := tree(t, callingFiles())
	if len(diags) > 0 {
		t.Fatal(show(r, diags))
	}
	measured := map[MetricRef]float64{
		{"", "perplexity"}: 30, {"perplexity.base", "perplexity"}: 20,
		{`module.q.module.score["g64"].perplexity.it`, "perplexity"}:     30,
		{`module.q.module.score["g128"].perplexity.it`, "perplexity"}:    50,
		{`module.other.module.score["g32"].perplexity.it`, "perplexity"}: 40,
	}
	for _, c := range []struct {
		address string
		reads   []MetricRef
		base    float64
		ok      bool
		message string
	}{
		{`module.q.module.score["g64"].perplexity.it`, []MetricRef{{"", "perplexity"}, {"perplexity.base", "perplexity"}}, 20, true, ""},
		{`module.q.module.score["g64"].perplexity.it`, []MetricRef{{"", "perplexity"}, {"perplexity.base", "perplexity"}}, 15, false, "too much: 30 against 30"},
		{`module.other.module.score["g32"].perplexity.it`, []MetricRef{{"", "perplexity"}}, 15, true, ""},
		{`onnx.rest["g64"]`, []MetricRef{{`module.other.module.score["g32"].perplexity.it`, "perplexity"}, {`module.q.module.score["g64"].perplexity.it`, "perplexity"}}, 1, true, ""},
		{`onnx.rest["g128"]`, []MetricRef{{`module.other.module.score["g32"].perplexity.it`, "perplexity"}, {`module.q.module.score["g128"].perplexity.it`, "perplexity"}}, 1, false, "The condition is not met."},
	} {
		q := r.Stage(c.address).Requires[0]
		if !slices.Equal(q.Reads, c.reads) {
			t.Errorf("%s reads %v", c.address, q.Reads)
		}
		ok, message, diags := q.Check(func(m MetricRef) (float64, bool) {
			if m.Address == "perplexity.base" {
				return c.base, true
			}
			f, there := measured[m]
			return f, there
		})
		if ok != c.ok || message != c.message || len(diags) > 0 {
			t.Errorf("%s at %v: %v %q %v", c.address, c.base, ok, message, diags)
		}
	}
}

// Requires of modules are checked side by side: what was found while loading is only read by then.
func TestRequiresAtOnce(t *testing.T) {
	r, diags := tree(t, callingFiles())
	if len(diags) > 0 {
		t.Fatal(show(r, diags))
	}
	var all sync.WaitGroup
	for range 8 {
		for _, s := range r.Stages {
			for _, q := range s.Requires {
				all.Go(func() {
					if ok, _, diags := q.Check(func(m MetricRef) (float64, bool) { return float64(len(m.Address)), true }); len(diags) > 0 {
						t.Errorf("%s: %v %v", s.Address, ok, diags)
					}
				})
			}
		}
	}
	all.Wait()
}

func TestReports(t *testing.T) {
	r, diags := tree(t, callingFiles())
	if len(diags) > 0 {
		t.Fatal(show(r, diags))
	}
	var got []string
	for _, p := range r.Reports {
		got = append(got, "report "+p.Name+" "+p.Title+" "+p.Baseline)
		for _, row := range p.Rows {
			got = append(got, row.Name+": "+strings.Join(row.Stages, " "))
		}
	}
	want := []string{
		"report module.q.sizes  ",
		`all: module.q.gptq.int4["g128"] module.q.gptq.int4["g64"] module.q.module.score["g128"].perplexity.it module.q.module.score["g64"].perplexity.it`,
		"report module.other.sizes  ",
		`all: module.other.gptq.int4["g32"] module.other.module.score["g32"].perplexity.it`,
		"report all All base",
		"base: download.base perplexity.base",
		`g64: module.q.gptq.int4["g64"] module.q.module.score["g64"].perplexity.it onnx.rest["g64"]`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("reports\n%s", strings.Join(got, "\n"))
	}
}

func TestSetInModules(t *testing.T) {
	number := func(r *Recipe, address, param string) string {
		return r.Stage(address).Params[param].Value.AsBigFloat().String()
	}
	r, diags := tree(t, callingFiles(), `module.q.gptq.int4["g64"].bits=2`, "module.other.gptq.int4.group_size=16", "module.other.gptq.int4.bits=var.limit/50",
		`module.q.module.score["g64"].limit=1`)
	if len(diags) > 0 {
		t.Fatal(show(r, diags))
	}
	for _, c := range []struct{ address, param, want string }{
		{`module.q.gptq.int4["g64"]`, "bits", "2"}, {`module.q.gptq.int4["g128"]`, "bits", "4"},
		{`module.other.gptq.int4["g32"]`, "group_size", "16"}, {`module.other.gptq.int4["g32"]`, "bits", "2"},
	} {
		if got := number(r, c.address, c.param); got != c.want {
			t.Errorf("%s.%s is %s, want %s", c.address, c.param, got, c.want)
		}
	}
	if got := r.Stage(`module.q.module.score["g64"].perplexity.it`).Requires[0].Reads; len(got) != 1 {
		t.Errorf("with a plain limit the require reads %v", got)
	}
	// A variable decides which instances there are, whatever the order of the flags.
	r, diags = tree(t, callingFiles(), `module.q.gptq.int4["g8"].bits=2`, "module.q.sizes={ g8 = { group = 8 } }",
		`module.q.module.score["g8"].limit=7`)
	if !strings.Contains(show(r, diags), `no key "g64"`) && !strings.Contains(show(r, diags), `"g64"`) || r.Stage(`module.q.gptq.int4["g8"]`) == nil {
		t.Errorf("stages %q, %s", addresses(r), show(r, diags))
	}
	for set, words := range map[string]string{
		"module.x.gptq.int4.bits=2":                  `There is no module module.x. There are: other, q.`,
		"module.q.gptq.int5.bits=2":                  "There is no stage module.q.gptq.int5. Did you mean gptq.int4?",
		"module.q.gptq.int4.bitz=2":                  `gptq has no param "bitz". Did you mean bits?`,
		`module.q.gptq.int4["g1"].bits=2`:            `module.q.gptq.int4 has no instance "g1".`,
		`module.q["a"].gptq.int4.bits=2`:             `module.q has no instance "a".`,
		`module.q.module.score["g1"].limit=2`:        `module.q.module.score has no instance "g1".`,
		"module.q.limits=2":                          `has no variable "limits". Did you mean limit?`,
		"module.q=2":                                 "is no stage and param",
		"module.q.limit=many":                        "does not fit its type",
		"module.q.module.score.perplexity.it.limit=": "perplexity has no param",
		"module.q.gptq=2":                            `has no variable "gptq"`,
	} {
		if r, diags := tree(t, callingFiles(), set); !diags.HasErrors() || !strings.Contains(show(r, diags), words) {
			t.Errorf("--set %s: want %q, got %s", set, words, show(r, diags))
		}
	}
}

// file() and path() in a module are relative to the module's own folder.
func TestFilesOfAModule(t *testing.T) {
	r, diags := tree(t, map[string]string{
		"root.hcl":      "module \"m\" {\n  source = \"./in/m.hcl\"\n}\n",
		"in/m.hcl":      "stage \"exec\" \"a\" {\n  command = [file(\"words.txt\")]\n  inputs = { a = path(\"*.txt\") }\n}\n",
		"in/words.txt":  "inner",
		"words.txt":     "outer",
		"in/b/deep.txt": "x",
	})
	if len(diags) > 0 {
		t.Fatal(show(r, diags))
	}
	s := r.Stage("module.m.exec.a")
	if got := s.Params["command"].Value.AsValueSlice()[0].AsString(); got != "inner" {
		t.Errorf("file() gave %q", got)
	}
	if f := s.Inputs["inputs[a]"].Files; f.Dir != filepath.Join(r.Dir, "in") || !slices.Equal(f.Paths, []string{"words.txt"}) {
		t.Errorf("path() gave %+v", f)
	}
	r, diags = tree(t, map[string]string{
		"root.hcl":  "module \"m\" {\n  source = \"./in/m.hcl\"\n}\n",
		"in/m.hcl":  "stage \"exec\" \"a\" {\n  command = [file(\"../words.txt\")]\n}\n",
		"words.txt": "outer",
	})
	if !strings.Contains(show(r, diags), "leads out of") {
		t.Errorf("a module reads beside itself: %s", show(r, diags))
	}
}

// What a value is marked with goes with it through variables and outputs of modules.
func TestSensitiveValuesInModules(t *testing.T) {
	files := map[string]string{
		"root.hcl": `
variable "word" {
  default   = "hush"
  sensitive = true
}
module "m" {
  source = "./m.hcl"
  word   = var.word
}
module "own" {
  source = "./m.hcl"
  hidden = "hush"
}
stage "download" "a" { source = module.m.word }
stage "download" "b" { source = module.own.hidden }
output "o" { value = module.m.word }
`,
		"m.hcl": `
variable "word" { default = "x" }
variable "hidden" {
  type      = string
  default   = "x"
  sensitive = true
}
output "word" { value = "${var.word}!" }
output "hidden" { value = var.hidden }
`,
	}
	r, diags := tree(t, files)
	text := show(r, diags)
	if len(diags) != 3 || strings.Count(text, "Error: Sensitive value") != 3 {
		t.Error(text)
	}
	if strings.Contains(strings.ReplaceAll(text, `"hush"`, ""), "hush!") {
		t.Errorf("the value is shown: %s", text)
	}
	r, diags = tree(t, files, "module.own.hidden=[1")
	if got := show(r, diags); strings.Contains(got, "[1") {
		t.Errorf("the value of a sensitive variable is shown: %s", got)
	}
}

// A mistake that several calls share is told once; one that depends on what is given, for each.
func TestMistakesOfSeveralCalls(t *testing.T) {
	r, diags := tree(t, map[string]string{
		"root.hcl": "module \"a\" {\n  source = \"./m.hcl\"\n  bits = 5\n}\nmodule \"b\" {\n  source = \"./m.hcl\"\n  bits = 6\n}\nmodule \"c\" {\n  source = \"./m.hcl\"\n  bits = 4\n}\n",
		"m.hcl":    "variable \"bits\" {}\nstage \"download\" \"d\" {\n  sauce = \"x\"\n  source = \"y\"\n}\nstage \"gptq\" \"q\" {\n  model = download.d.model\n  bits = var.bits\n}\n",
	})
	text := show(r, diags)
	if len(diags) != 3 || strings.Count(text, "Did you mean source?") != 1 || !strings.Contains(text, "In module.a, called at") || !strings.Contains(text, "In module.b, called at") || strings.Contains(text, "module.c") {
		t.Error(text)
	}
}
