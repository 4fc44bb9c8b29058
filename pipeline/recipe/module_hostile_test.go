package recipe

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A module's file is read below the recipe's folder only, and with the bounds of a recipe's.
func TestFilesThatAreNoModule(t *testing.T) {
	outside := write(t, "outside.hcl", "variable \"secret\" {}\n")
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{
		"large.hcl":   strings.Repeat("# x\n", maxSource/4+1),
		"deep.hcl":    "locals {\n  a = " + strings.Repeat("[", 100_000) + "\n}\n",
		"bytes.hcl":   "locals {\n  a = \"\xff\"\n}\n",
		"nothing.hcl": "",
		"closed.hcl":  "locals {}\n",
	} {
		if err := os.WriteFile(in(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.Symlink(outside, in("link.hcl")),
		os.Symlink(filepath.Dir(outside), in("folder")),
		os.Symlink("loop.hcl", in("loop.hcl")),
		os.Symlink("nothing.hcl", in("inner.hcl")),
		os.Mkdir(in("dir.hcl"), 0o755),
		syscall.Mkfifo(in("pipe.hcl"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for source, words := range map[string]string{
		"./link.hcl":            "it leads out of the recipe's folder",
		"./folder/outside.hcl":  "it leads out of the recipe's folder",
		"./folder/../large.hcl": "more than 4 MiB",
		"./loop.hcl":            "cannot be read",
		"./dir.hcl":             "it is a folder",
		"./pipe.hcl":            "it is no regular file",
		"./large.hcl":           "more than 4 MiB",
		"./deep.hcl":            "Nested too deeply",
		"./bytes.hcl":           "no part of a UTF-8 character",
		"./large.hcl/x.hcl":     "cannot be read",
		"..":                    "a module is one .hcl file",
		"./x\\\\y.hcl":          "backslash",
		"./root.hcl":            "a module cannot call itself",
		"./nothing.hcl":         "",
		"./inner.hcl":           "",
	} {
		text := "module \"m\" {\n  source = \"" + source + "\"\n}\nstage \"download\" \"a\" {\n  source = \"x\"\n}\n"
		if err := os.WriteFile(in("root.hcl"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		r, diags := Load(in("root.hcl"), Options{Catalog: testCatalog()})
		if got := show(r, diags); words == "" && len(diags) > 0 || !strings.Contains(got, words) || len(diags) > 1 || words != "" && len(diags) == 0 {
			t.Errorf("%s: want %q, got %s", source, words, got)
		}
	}
}

func TestModulesTooDeep(t *testing.T) {
	files := map[string]string{}
	for i := range 40 {
		name := fmt.Sprintf("m%d.hcl", i)
		if i == 0 {
			name = "root.hcl"
		}
		files[name] = fmt.Sprintf("module \"m\" {\n  source = \"./m%d.hcl\"\n}\n", i+1)
	}
	files["m40.hcl"] = "stage \"download\" \"a\" {\n  source = \"x\"\n}\n"
	r, diags := tree(t, files)
	if len(diags) != 1 || !strings.Contains(show(r, diags), "more than 16 deep") || !strings.Contains(show(r, diags), "root.hcl → m1.hcl → m2.hcl") {
		t.Error(show(r, diags))
	}
}

// Ten calls of ten calls of ten …: refused once it is clear what it would come to, whoever asks first.
func TestModulesTooMany(t *testing.T) {
	for name, last := range map[string]string{
		"walked": "output \"o\" { value = 1 }\n",
		"asked":  "output \"o\" { value = 1 }\nstage \"download\" \"a\" { source = \"x\" }\n",
	} {
		files := map[string]string{}
		for i := range 8 {
			name := fmt.Sprintf("m%d.hcl", i)
			if i == 0 {
				name = "root.hcl"
			}
			var b strings.Builder
			for j := range 10 {
				fmt.Fprintf(&b, "module \"m%d\" {\n  source = \"./m%d.hcl\"\n}\n", j, i+1)
			}
			fmt.Fprintf(&b, "output \"o\" {\n  value = [for m in [module.m0, module.m9] : m.o]\n}\n")
			files[name] = b.String()
		}
		files["m8.hcl"] = last
		start := time.Now()
		r, diags := tree(t, files)
		if !strings.Contains(show(r, diags), "A recipe may have 10000 modules") || len(diags) != 1 {
			t.Errorf("%s: %d mistakes: %.2000s", name, len(diags), show(r, diags))
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
	}
	text := "# " + strings.Repeat("x", 1<<20) + "\n"
	r, diags := tree(t, map[string]string{
		"root.hcl": "module \"m\" {\n  source = \"./m.hcl\"\n  for_each = toset([for i in range(100) : tostring(i)])\n}\n", "m.hcl": text,
	})
	if !strings.Contains(show(r, diags), "64 MiB in their files") {
		t.Errorf("100 MiB of modules: %.500s", show(r, diags))
	}
}

func manyCalls(n int) map[string]string {
	var b strings.Builder
	b.WriteString("stage \"download\" \"base\" { source = \"a\" }\n")
	for i := range n {
		fmt.Fprintf(&b, "module \"m%d\" {\n  source = \"./m.hcl\"\n  model = download.base.model\n  before = %s\n}\n", i,
			map[bool]string{true: "null", false: fmt.Sprintf("module.m%d.bits", i-1)}[i == 0])
	}
	return map[string]string{"root.hcl": b.String(), "m.hcl": `
variable "model" { type = any }
variable "before" { type = any }
locals { bits = 4 }
stage "gptq" "int4" {
  for_each   = { a = 64, b = 128 }
  model      = var.model
  bits       = local.bits
  group_size = each.value
  require {
    condition = var.before == null || metrics.bits_per_weight < 8
  }
}
output "bits" { value = gptq.int4["a"].metrics.bits_per_weight }
`}
}

func TestThousandCalls(t *testing.T) {
	start := time.Now()
	r, diags := tree(t, manyCalls(1000))
	if len(diags) > 0 || len(r.Stages) != 2001 {
		t.Fatalf("%d stages, %.1000s", len(r.Stages), show(r, diags))
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	ok, _, diags := r.Stages[2000].Requires[0].Check(func(MetricRef) (float64, bool) { return 1, true })
	if !ok || len(diags) > 0 {
		t.Error(diags)
	}
}

func BenchmarkLoad1000Modules(b *testing.B) {
	dir := b.TempDir()
	for name, text := range manyCalls(1000) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if r, diags := Load(filepath.Join(dir, "root.hcl"), Options{Catalog: testCatalog()}); diags.HasErrors() || len(r.Stages) != 2001 {
			b.Fatal(diags)
		}
	}
}

// What --set gives to a variable holds, in whatever order the flags stand: where it decides which instances another one
// means, that is told, and never is a value dropped.
func TestSetsThatDecideWhatOthersMean(t *testing.T) {
	files := map[string]string{
		"root.hcl": `
module "b" {
  for_each = toset(module.a.names)
  source   = "./b.hcl"
}
module "c" {
  for_each = toset([for b in module.b : b.name])
  source   = "./b.hcl"
}
module "a" { source = "./a.hcl" }
`,
		"a.hcl": `
variable "names" {
  type    = list(string)
  default = ["x"]
}
output "names" { value = var.names }
`,
		"b.hcl": `
variable "name" { default = "b" }
variable "codes" {
  type      = list(number)
  default   = []
  sensitive = true
}
stage "download" "it" { source = var.name }
output "name" { value = var.name }
`,
	}
	for _, set := range [][]string{{"module.b.name=n", `module.a.names=["y"]`}, {`module.a.names=["y"]`, "module.b.name=n"}} {
		r, diags := tree(t, files, set...)
		want := []string{`module.b["y"].download.it`, `module.c["n"].download.it`}
		if got := addresses(r); len(diags) > 0 || !slices.Equal(got, want) {
			t.Errorf("%q: %q\n%s", set, got, show(r, diags))
		}
	}
	r, diags := tree(t, files, "module.c.name=m", "module.b.name=n")
	if said := show(r, diags); !strings.Contains(said, "module.b.name decides which instances there are") {
		t.Errorf("an order that cannot hold: %q\n%s", addresses(r), said)
	}
	r, diags = tree(t, files, "module.b.codes=[12341234", "module.c.name=m", "module.b.codes=5678")
	if said := show(r, diags); len(diags) == 0 || strings.Contains(said, "1234") || strings.Contains(said, "5678") {
		t.Errorf("a sensitive value is shown, or a mistake in it is not:\n%s", said)
	}
}

// The same pattern in the folders of two modules is not the same files.
func TestFilesOfTwoModulesAreTwo(t *testing.T) {
	r, diags := tree(t, map[string]string{
		"root.hcl": `
module "a" { source = "./a/m.hcl" }
module "b" { source = "./b/m.hcl" }
stage "download" "base" { source = "https://example.org/base" }
stage "perplexity" "p" {
  for_each  = { for i, f in distinct([module.a.f, module.b.f, module.a.f]) : "k${i}" => f }
  model     = download.base.model
  tokenizer = download.base.tokenizer
  text      = each.value
}
`,
		"a/m.hcl": `output "f" { value = path("t/*") }`, "a/t/x": "a",
		"b/m.hcl": `output "f" { value = path("t/*") }`, "b/t/x": "b",
	})
	if got, want := addresses(r), []string{"download.base", `perplexity.p["k0"]`, `perplexity.p["k1"]`}; len(diags) > 0 || !slices.Equal(got, want) {
		t.Errorf("%q\n%s", got, show(r, diags))
	}
}

// try() loses what a value was made of. A require that reads a metric through it, a local and a module still waits for it.
func TestMetricsBehindTry(t *testing.T) {
	r, diags := tree(t, map[string]string{
		"root.hcl": `
stage "download" "base" { source = "https://example.org/base" }
stage "perplexity" "base" {
  model     = download.base.model
  tokenizer = download.base.tokenizer
  text      = path("*.hcl")
}
locals { small = try(perplexity.base.metrics.perplexity < 3, false) }
module "m" {
  source = "./m.hcl"
  loss   = try(perplexity.base.metrics.perplexity, 9)
}
stage "perplexity" "gated" {
  model     = download.base.model
  tokenizer = download.base.tokenizer
  text      = path("*.hcl")
  require { condition = local.small }
  require { condition = module.m.small }
}
`,
		"m.hcl": "variable \"loss\" { type = number }\noutput \"small\" { value = try(var.loss < 3, false) }\n",
	})
	if len(diags) > 0 {
		t.Fatal(show(r, diags))
	}
	for i, q := range r.Stage("perplexity.gated").Requires {
		if want := []MetricRef{{"perplexity.base", "perplexity"}}; !slices.Equal(q.Reads, want) {
			t.Errorf("require %d reads %v", i, q.Reads)
		}
		for loss, want := range map[float64]bool{2: true, 4: false} {
			ok, _, diags := q.Check(func(MetricRef) (float64, bool) { return loss, true })
			if ok != want || diags.HasErrors() {
				t.Errorf("require %d with %g: %v, %v", i, loss, ok, diags)
			}
		}
	}
}
