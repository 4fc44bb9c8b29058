package recipe

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/Ruihan11/tiny-infra/stages"
)

func load(t *testing.T, text string) *Recipe {
	t.Helper()
	r, diags := Load(write(t, "r.hcl", text), Options{Catalog: testCatalog()})
	if len(diags) > 0 {
		t.Fatal(show(r, diags))
	}
	return r
}

func addresses(r *Recipe) []string {
	var all []string
	for _, s := range r.Stages {
		all = append(all, s.Address)
	}
	return all
}

const base = "stage \"download\" \"base\" {\n  source = \"a\"\n}\n"

func TestForEach(t *testing.T) {
	for name, c := range map[string]struct {
		expr string
		want []string // keys
	}{
		"map":          {`{ b = 1, a = 2 }`, []string{"a", "b"}},
		"typed map":    {`tomap({ x = "1" })`, []string{"x"}},
		"set":          {`toset(["q", "p", "q"])`, []string{"p", "q"}},
		"empty map":    {`{}`, nil},
		"empty set":    {`toset([])`, nil},
		"for":          {`{ for i in range(3) : "n${i}" => i }`, []string{"n0", "n1", "n2"}},
		"stage":        {`gptq.src`, []string{"g128", "g32"}},
		"keys":         {`toset(keys(gptq.src))`, []string{"g128", "g32"}},
		"filtered":     {`{ for k, m in gptq.src : k => m if k != "g32" }`, []string{"g128"}},
		"merged":       {`merge(gptq.src, { extra = { model = download.base.model } })`, []string{"extra", "g128", "g32"}},
		"local":        {`local.variants`, []string{"one", "two"}},
		"conditional":  {`true ? { a = 1 } : {}`, []string{"a"}},
		"ports":        {`{ base = download.base.model }`, []string{"base"}},
		"strange keys": {`{ "a b" = 1, "q\"${"x"}" = 2, "ä/ö" = 3 }`, []string{"a b", `q"x`, "ä/ö"}},
	} {
		r := load(t, base+`
locals { variants = { one = 1, two = 2 } }
stage "gptq" "src" {
  for_each = { g128 = 128, g32 = 32 }
  model    = download.base.model
}
stage "exec" "x" {
  for_each = `+c.expr+`
  command  = ["echo", each.key]
}
`)
		var got []string
		for _, s := range r.Stages {
			if s.Name == "x" {
				got = append(got, s.Key)
				if s.Params["command"].Value.AsValueSlice()[1].AsString() != s.Key {
					t.Errorf("%s: each.key of %s", name, s.Address)
				}
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: keys %q, want %q", name, got, c.want)
		}
	}
}

func TestChains(t *testing.T) {
	r := load(t, base+`
stage "gptq" "a" {
  for_each = { x = 1, y = 2 }
  model    = download.base.model
}
stage "onnx" "b" {
  for_each = { for k, v in gptq.a : upper(k) => v }
  model    = each.value.model
}
stage "tensorrt" "c" {
  for_each = onnx.b
  model    = onnx.b[each.key].model
}
locals {
  picked = gptq.a["y"].model
  all    = { for k, v in gptq.a : k => v.model }
  either = false ? local.picked : path("*.hcl")
}
stage "exec" "all" {
  command = ["ls"]
  inputs  = merge(local.all, { picked = local.picked, splat = element(values(gptq.a)[*].model, 0), files = local.either })
}
`)
	ref := func(address, port string) Ref {
		in := r.Stage(address).Inputs[port]
		if in.Ref == nil {
			t.Fatalf("%s has no reference at %s: %+v", address, port, r.Stage(address).Inputs)
		}
		return *in.Ref
	}
	for _, c := range []struct{ stage, port, want string }{
		{`onnx.b["X"]`, "model", `gptq.a["x"]`}, {`tensorrt.c["Y"]`, "model", `onnx.b["Y"]`},
		{"exec.all", "inputs[x]", `gptq.a["x"]`}, {"exec.all", "inputs[picked]", `gptq.a["y"]`}, {"exec.all", "inputs[splat]", `gptq.a["x"]`},
	} {
		if got := ref(c.stage, c.port); got.Address != c.want || got.Port != "model" {
			t.Errorf("%s of %s comes from %+v, want %s", c.port, c.stage, got, c.want)
		}
	}
	files := r.Stage("exec.all").Inputs["inputs[files]"].Files
	if files == nil || !slices.Equal(files.Paths, []string{"r.hcl"}) || files.Dir != r.Dir {
		t.Errorf("files %+v", files)
	}
}

func TestStagesAreComplete(t *testing.T) {
	r := load(t, `
recipe { description = "all of it" }
stage "download" "base" {
  source  = "a"
  token   = secret("HF_TOKEN")
  timeout = "2h30m"
  retries = 3
  salt    = "again"
}
stage "gptq" "a" {
  model = download.base.model
  skip  = ["b", "a", "b"]
  bits  = null
  needs {
    gpus           = "1-2"
    gpu_memory_gib = 4 * 5.5
    exclusive      = true
  }
}
output "both" {
  description = "the model twice"
  value       = { one = gptq.a.model, two = { deep = gptq.a.model }, n = 3 }
}
output "whole" { value = gptq.a }
output "plain" { value = upper("x") }
`)
	d, g := r.Stage("download.base"), r.Stage("gptq.a")
	if d.Secrets["token"].Variable != "HF_TOKEN" || d.Timeout != 150*time.Minute || d.Retries != 3 || d.Salt != "again" || r.Description != "all of it" {
		t.Errorf("%+v", d)
	}
	if g.Retries != -1 || g.Needs != (stages.Needs{CPUs: 2, MemoryGiB: 4, GPUsMin: 1, GPUsMax: 2, GPUMemoryGiB: 22, Exclusive: true}) {
		t.Errorf("needs %+v, retries %d", g.Needs, g.Retries)
	}
	if bits := g.Params["bits"]; !bits.Default || !bits.Value.RawEquals(cty.NumberIntVal(4)) || bits.Range != g.Range {
		t.Errorf("a null param is not the default: %+v", bits)
	}
	if _, there := g.Params["damping"]; there {
		t.Error("an optional param that is absent is there")
	}
	if skip := g.Params["skip"]; skip.Value.LengthInt() != 2 || skip.Default || skip.Range.Start.Line != 12 {
		t.Errorf("skip %+v", skip)
	}
	var names []string
	for _, o := range r.Outputs {
		names = append(names, o.Name)
		if (o.Ref == nil) == (o.Value == cty.NilVal) {
			t.Errorf("output %s has %v and %v", o.Name, o.Ref, o.Value)
		}
	}
	if want := []string{`both["n"]`, `both["one"]`, `both["two"]["deep"]`, `whole["model"]`, "plain"}; !slices.Equal(names, want) {
		t.Errorf("outputs %q, want %q", names, want)
	}
}

func TestOrderInTheFileMeansNothing(t *testing.T) {
	a := load(t, base+"locals { a = local.b }\nlocals { b = 64 }\nstage \"gptq\" \"x\" {\n  model = download.base.model\n  group_size = local.a\n}\n")
	b := load(t, "stage \"gptq\" \"x\" {\n  group_size = local.a\n  model = download.base.model\n}\nlocals {\n  b = 64\n  a = local.b\n}\n"+base)
	pa, pb := a.Stage("gptq.x").Params["group_size"].Value, b.Stage("gptq.x").Params["group_size"].Value
	if !pa.RawEquals(pb) || !slices.Equal(addresses(b), []string{"gptq.x", "download.base"}) {
		t.Errorf("%#v and %#v; %q", pa, pb, addresses(b))
	}
}

func TestRequireReads(t *testing.T) {
	const head = base + `
stage "gptq" "v" {
  for_each = { a = 1, b = 2 }
  model    = download.base.model
}
locals { budget = perplexity.ref.metrics.perplexity + 1 }
stage "perplexity" "ref" {
  model     = download.base.model
  tokenizer = download.base.tokenizer
  text      = download.base.files
}
stage "perplexity" "v" {
  for_each  = gptq.v
  model     = each.value.model
  tokenizer = download.base.tokenizer
  text      = download.base.files
  require {
    condition = `
	for condition, c := range map[string]struct {
		reads   string
		at1     bool // with all metrics 1
		unknown bool // a metric that was not measured matters
	}{
		`metrics.perplexity < 2`:                                        {".perplexity", true, true},
		`metrics.perplexity < local.budget`:                             {".perplexity perplexity.ref.perplexity", true, true},
		`perplexity.v["a"].metrics.perplexity > 5`:                      {".perplexity", false, true},
		`each.value.metrics.bits_per_weight > 5`:                        {`gptq.v["a"].bits_per_weight`, false, true},
		`gptq.v[each.key].metrics.bits_per_weight < 5`:                  {`gptq.v["a"].bits_per_weight`, true, true},
		`try(metrics.perplexity, 9) < 5`:                                {".perplexity", true, true},
		`true || metrics.tokens > 5`:                                    {".tokens", true, false},
		`max([for p in perplexity.v : p.metrics.perplexity]...) < 2`:    {`.perplexity perplexity.v["b"].perplexity`, true, true},
		`each.key == "a" ? metrics.perplexity < 2 : metrics.tokens > 5`: {".perplexity .tokens", true, true},
		`each.key == "a"`:                                               {"", true, false},
	} {
		r := load(t, head+condition+"\n    message = \"no ${metrics.perplexity}\"\n  }\n}\n")
		q := r.Stage(`perplexity.v["a"]`).Requires[0]
		want := strings.Fields(c.reads)
		if !slices.Contains(want, ".perplexity") {
			want = append([]string{".perplexity"}, want...) // the message reads it
		}
		var got []string
		for _, m := range q.Reads {
			got = append(got, m.Address+"."+m.Name)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s reads %q, want %q", condition, got, want)
		}
		ok, message, diags := q.Check(func(m MetricRef) (float64, bool) {
			return 1, slices.Contains(q.Reads, m)
		})
		if ok != c.at1 || len(diags) > 0 || !ok && message != "no 1" {
			t.Errorf("%s at 1: %v %q %v", condition, ok, message, diags)
		}
		ok, _, diags = q.Check(func(MetricRef) (float64, bool) { return 0, false })
		if diags.HasErrors() != c.unknown || c.unknown && (ok || diags[0].Summary != "Metric missing") {
			t.Errorf("%s with nothing measured: %v %v", condition, ok, diags)
		}
	}
}

// A scheduler checks requirements from several goroutines; under the race detector this finds shared state.
func TestChecksAtOnce(t *testing.T) {
	r, diags := Load("testdata/llama3-int4.hcl", Options{Catalog: testCatalog()})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	done := make(chan string)
	const times = 8
	for range times {
		for _, key := range []string{"g128", "g32"} {
			go func() {
				ok, message, diags := r.Stage(`perplexity.int4["` + key + `"]`).Requires[0].Check(func(m MetricRef) (float64, bool) {
					return map[bool]float64{true: 20, false: 10}[m.Address == ""], true
				})
				if ok || len(diags) > 0 {
					message = fmt.Sprint(ok, diags)
				}
				done <- message
			}()
		}
	}
	for range 2 * times {
		if got := <-done; got != "INT4 lost too much: 20 against 10" {
			t.Error(got)
		}
	}
}

// A require made by hand, without a loaded recipe, reads its own metrics.
func TestRequireByHand(t *testing.T) {
	parse := func(src string) hcl.Expression {
		e, diags := hclsyntax.ParseExpression([]byte(src), "x", hcl.InitialPos)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		return e
	}
	q := &Require{Condition: parse("metrics.a > limit"), Message: parse(`"only ${metrics.a}"`), Reads: []MetricRef{{"", "a"}},
		Context: &hcl.EvalContext{Variables: map[string]cty.Value{"limit": cty.NumberIntVal(3)}}}
	ok, message, diags := q.Check(func(MetricRef) (float64, bool) { return 2.5, true })
	if ok || message != "only 2.5" || len(diags) > 0 {
		t.Errorf("%v %q %v", ok, message, diags)
	}
	if _, _, diags := q.Check(func(MetricRef) (float64, bool) { return math.NaN(), true }); len(diags) != 1 {
		t.Errorf("NaN: %v", diags)
	}
}

func TestGPUs(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0 0 true", "2": "2 2 true", `"1"`: "1 1 true", `"0-1"`: "0 1 true", `"1-"`: "false", `"a"`: "false", "-1": "false", "true": "false", "2000": "false",
	} {
		v, _ := evaluate(t, ".", text)
		low, high, ok := gpuRange(v)
		if got := fmt.Sprint(low, " ", high, " ", ok); got != want && (ok || want != "false") {
			t.Errorf("gpus = %s: %s, want %s", text, got, want)
		}
	}
}

func TestLayoutAndSyntax(t *testing.T) {
	if got := string(Format([]byte("a{\nb=1\n  ccc =  2\n}\n"))); got != "a {\n  b   = 1\n  ccc = 2\n}\n" {
		t.Errorf("formatted to %q", got)
	}
	for text, good := range map[string]bool{"a = 1\n": true, "a = \n": false, "\xff": false, strings.Repeat("[", 1000): false} {
		if files, diags := CheckSyntax([]byte(text), "x.hcl"); diags.HasErrors() == good || files["x.hcl"] == nil {
			t.Errorf("%.20q: %v", text, diags)
		}
	}
}
