package recipe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zclconf/go-cty/cty"
)

const valuesRecipe = `
variable "text" { default = "default" }
variable "number" {
  type    = number
  default = 1
}
variable "list" {
  type    = list(string)
  default = []
}
variable "any" {
  type    = any
  default = null
}
variable "shape" {
  type    = object({ bits = optional(number, 4), name = string })
  default = { name = "a" }
}
variable "hidden" {
  type      = string
  sensitive = true
  default   = "x"
}
variable "strict" {
  type     = number
  nullable = false
  default  = 5
  validation {
    condition     = var.strict < 10 && var.strict > var.number - 100
    error_message = "strict must be below 10, not ${var.strict}"
  }
}
stage "download" "base" { source = "${var.text} ${var.number}" }
`

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestVariablesTakeTheirValues(t *testing.T) {
	path := write(t, "r.hcl", valuesRecipe)
	file := write(t, "vars.hcl", "text = \"from file\"\nnumber = 3\nlist = [\"f\"]\n")
	later := write(t, "later.hcl", "number = 4\nstrict = null\n")
	r, diags := Load(path, Options{
		Catalog:  testCatalog(),
		Env:      []string{"PATH=/bin", "TINFRA_VAR_text=from env", "TINFRA_VAR_number=2", "TINFRA_VAR_any=[1, 2]", "TINFRA_VAR_none=1"},
		VarFiles: []string{file, later},
		Vars:     map[string]string{"list": `["a", "b"]`, "shape": `{ name = "b" }`, "text": `"quoted" ${x}`},
	})
	if len(diags) > 0 {
		t.Fatal(show(r, diags))
	}
	for name, want := range map[string]cty.Value{
		"text":   cty.StringVal(`"quoted" ${x}`),
		"number": cty.NumberIntVal(4),
		"list":   cty.ListVal([]cty.Value{cty.StringVal("a"), cty.StringVal("b")}),
		"any":    cty.TupleVal([]cty.Value{cty.NumberIntVal(1), cty.NumberIntVal(2)}),
		"shape":  cty.ObjectVal(map[string]cty.Value{"bits": cty.NumberIntVal(4), "name": cty.StringVal("b")}),
		"strict": cty.NumberIntVal(5),
	} {
		if got := r.Variables[name]; !got.RawEquals(want) {
			t.Errorf("var.%s is %#v, want %#v", name, got, want)
		}
	}
	if _, there := r.Variables["hidden"]; there {
		t.Error("a sensitive variable is among the recipe's variables")
	}
	if got := r.Stage("download.base").Params["source"].Value.AsString(); got != `"quoted" ${x} 4` {
		t.Errorf("the param is %q", got)
	}
}

func TestWrongValues(t *testing.T) {
	path := write(t, "r.hcl", valuesRecipe)
	for name, c := range map[string]struct {
		o     Options
		words []string
	}{
		"undeclared": {Options{Vars: map[string]string{"txet": "1", "nmber": "2"}}, []string{`Did you mean text?`, `Did you mean number?`}},
		"number":     {Options{Vars: map[string]string{"number": "many"}}, []string{"on --var number line 1", "a number is required"}},
		"list":       {Options{Vars: map[string]string{"list": "[1"}}, []string{"on --var list line 1"}},
		"reference":  {Options{Vars: map[string]string{"list": "[var.text]"}}, []string{"Variables not allowed"}},
		"shape":      {Options{Env: []string{"TINFRA_VAR_shape={}"}}, []string{"on TINFRA_VAR_shape line 1", `attribute "name" is required`}},
		"validation": {Options{Vars: map[string]string{"strict": "11"}}, []string{"strict must be below 10, not 11"}},
		"file":       {Options{VarFiles: []string{write(t, "v.hcl", "nubmer = 1\nblock {}\n")}}, []string{"Did you mean number?", "name = value lines only"}},
		"no file":    {Options{VarFiles: []string{"none.hcl"}}, []string{"none.hcl cannot be read"}},
	} {
		c.o.Catalog = testCatalog()
		r, diags := Load(path, c.o)
		said := show(r, diags)
		if len(diags) != len(c.words) && len(c.words) > 1 && name != "number" && name != "shape" {
			t.Errorf("%s: %d diagnostics:\n%s", name, len(diags), said)
		}
		for _, words := range c.words {
			if !strings.Contains(said, words) {
				t.Errorf("%s: want %q in\n%s", name, words, said)
			}
		}
	}
}

func TestASensitiveValueIsNeverShown(t *testing.T) {
	path := write(t, "r.hcl", `
variable "password" {
  type      = number
  sensitive = true
}
variable "list" {
  type      = list(string)
  sensitive = true
}
variable "checked" {
  sensitive = true
  default   = "geheim"
  validation {
    condition     = var.checked == "x"
    error_message = "it is ${var.checked}"
  }
}
stage "download" "base" {
  source = upper(var.password)
}
`)
	r, diags := Load(path, Options{Catalog: testCatalog(), Vars: map[string]string{"password": "geheim", "list": `["geheim`}})
	said := show(r, diags)
	if len(diags) < 3 || strings.Contains(strings.ReplaceAll(said, `default   = "geheim"`, ""), "geheim") {
		t.Errorf("the value is shown, or too little is said:\n%s", said)
	}
}

func TestOverrides(t *testing.T) {
	path := write(t, "r.hcl", `
variable "bits" { default = 8 }
stage "download" "base" { source = "a" }
stage "gptq" "int4" {
  for_each   = { "g=128" = 128, g32 = 32 }
  model      = download.base.model
  group_size = each.value
}
`)
	r, diags := Load(path, Options{Catalog: testCatalog(), Set: []string{
		"gptq.int4.bits=var.bits", `gptq.int4["g=128"].bits=2`, `gptq.int4["g32"].group_size=each.value * 2`,
		`gptq.int4.skip=["lm_head"]`, "download.base.source=hf://x/y=z",
	}})
	if len(diags) > 0 {
		t.Fatal(show(r, diags))
	}
	number := func(address, param string) string {
		return r.Stage(address).Params[param].Value.AsBigFloat().Text('f', 0)
	}
	for _, c := range [][3]string{
		{`gptq.int4["g=128"]`, "bits", "2"}, {`gptq.int4["g32"]`, "bits", "8"},
		{`gptq.int4["g=128"]`, "group_size", "128"}, {`gptq.int4["g32"]`, "group_size", "64"},
	} {
		if got := number(c[0], c[1]); got != c[2] {
			t.Errorf("%s.%s is %s, want %s", c[0], c[1], got, c[2])
		}
	}
	source := r.Stage("download.base").Params["source"]
	if source.Value.AsString() != "hf://x/y=z" || source.Range.Filename != "--set download.base.source=hf://x/y=z" {
		t.Errorf("source is %#v from %s", source.Value, source.Range)
	}
	for set, words := range map[string]string{
		"gptq.int4.bist=2": "Did you mean bits?", "gptq.int5.bits=2": "Did you mean gptq.int4?", "bits=2": "is no stage and param",
		"gptq.int4.bits": "STAGE.PARAM=VALUE", `gptq.int4["g64"].bits=2`: "has no instance", "gptq.int4.bits=five": "nothing called",
		"gptq.int4.bits=5": "bits", "gptq.int4.model=x": "has no param", "gptq.int4.bits=": "", `download.base["a"].source=x`: "has no instance",
	} {
		r, diags := Load(path, Options{Catalog: testCatalog(), Set: []string{set}})
		if said := show(r, diags); len(diags) != 1 || !strings.Contains(said, words) {
			t.Errorf("--set %s: want one diagnostic about %q, got\n%s", set, words, said)
		}
	}
}
