package recipe

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTextThatIsNoRecipe: whatever the bytes, one clear diagnostic, quickly, and no overflow of the stack.
func TestTextThatIsNoRecipe(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct{ text, words string }{
		"empty":             {"", "no stage block"},
		"only space":        {"\n\n  \n", "no stage block"},
		"byte order mark":   {"\xef\xbb\xbfstage \"a\" \"b\" {}", "byte order mark"},
		"not UTF-8":         {"locals {\n  a = \"\xff\"\n}\n", "no part of a UTF-8 character"},
		"NUL":               {"locals {\n  a = \x00\n}\n", "Invalid character"},
		"brackets":          {"a = " + strings.Repeat("[", 10*mib), "too large"},
		"brackets below":    {"a = " + strings.Repeat("[", 3*mib), "Nested too deeply"},
		"parentheses":       {"a = " + strings.Repeat("(", mib) + "1" + strings.Repeat(")", mib), "Nested too deeply"},
		"objects":           {strings.Repeat("a = {", mib/2), "Nested too deeply"},
		"blocks":            {strings.Repeat("a {\n", mib/2), "Nested too deeply"},
		"templates":         {"a = " + strings.Repeat(`"${`, mib), "Nested too deeply"},
		"directives":        {"a = \"" + strings.Repeat(`%{ if true }`, mib/4) + `"`, "Nested too deeply"},
		"nots":              {"a = " + strings.Repeat("!", 3*mib) + "true", "Nested too deeply"},
		"minuses on lines":  {"a = (" + strings.Repeat("-\n", mib) + "1)", "Nested too deeply"},
		"conditionals":      {"a = " + strings.Repeat("true ? 1 : ", mib/4) + "1", "Nested too deeply"},
		"sums":              {"a = 1" + strings.Repeat("+1", mib), "Nested too deeply"},
		"indices":           {"a = b" + strings.Repeat("[c]", mib), "Nested too deeply"},
		"for without end":   {"a = {for k in x : k => " + strings.Repeat("!\n", mib), "Nested too deeply"},
		"products of both":  {"a = " + strings.Repeat(strings.Repeat("!", 1000)+"(", 200), "Nested too deeply"},
		"heredoc with code": {"a = <<E\n" + strings.Repeat("${", mib) + "\nE\n", "Nested too deeply"},
		"wrong closers":     {"a = " + strings.Repeat("[)", mib), "Nested too deeply"},
		"huge number":       {"stage \"gptq\" \"a\" {\n  bits = 1e99999999\n}\n", "Number too large"},
		"tiny number":       {"locals {\n  a = \"${1E-99999999}\"\n}\n", "Number too large"},
		"huge index":        {"locals {\n  a = local.b[1e+0099999999]\n}\n", "Number too large"},
		"digits":            {"a = " + strings.Repeat("1", mib), "Number too large"},
		"width":             {"stage \"download\" \"b\" {\n  source = format(\"%0200000000d\", 1)\n}\n", "10000 characters"},
		"precision":         {"stage \"download\" \"b\" {\n  source = join(\"\", formatlist(\"%.200000000f\", [1]))\n}\n", "10000 characters"},
		"indent":            {"stage \"download\" \"b\" {\n  source = indent(200000000, \"a\\nb\")\n}\n", "10000 characters"},
		"garbage":           {strings.Repeat("}\x01{ \" $ ' ;", mib/16), ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, "r.hcl", c.text)
			start := time.Now()
			r, diags := Load(path, Options{Catalog: testCatalog()})
			if !diags.HasErrors() || r == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(diags.Error(), c.words) || len(diags) > maxSyntaxErrors+1 {
				t.Errorf("%d diagnostics, want one about %q: %.300s", len(diags), c.words, diags.Error())
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
	if r, diags := Load(t.TempDir(), Options{Catalog: testCatalog()}); r == nil || !strings.Contains(diags.Error(), "folder") {
		t.Errorf("a folder as a recipe: %v", diags)
	}
	if _, diags := Load(filepath.Join(t.TempDir(), "none.hcl"), Options{}); !strings.Contains(diags.Error(), "cannot be read") {
		t.Errorf("no file: %v", diags)
	}
}

// TestNestingCountsCodeOnly: brackets in texts and comments, and many expressions one after another, are no nesting.
func TestNestingCountsCodeOnly(t *testing.T) {
	many := strings.Repeat("[({", 1000)
	var lines strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&lines, "  a%d = !true && -1 < 2 ? [1, 2][0] : \"${1 + 2}\"\n", i)
	}
	for _, text := range []string{"a = 1e999", "a = \"1e99999999\"", "a = a1e99999999", "a = x_1e99999999.b", "# 1e99999999", "a = 1e0000000001"} {
		if _, at := limits([]byte(text)); at >= 0 {
			t.Errorf("%s: refused at %d", text, at)
		}
	}
	for name, text := range map[string]string{
		"comments": "# " + many + "\n// " + many + "\n/* " + many + " */\n",
		"strings":  `a = "` + many + ` \" ` + many + ` $${ %%{ "` + "\n",
		"heredoc":  "a = <<-EOT\n" + many + " ${x} \n  EOT\n",
		"lines":    "locals {\n" + lines.String() + "}\n",
		"elements": "a = [" + strings.Repeat("-1, !true,", 20000) + "]",
		"objects":  "a = {\n" + strings.Repeat("  b = -1 + 2\n", 20000) + "}",
	} {
		if at, _ := limits([]byte(text)); at >= 0 {
			t.Errorf("%s: refused at %d of %d", name, at, len(text))
		}
	}
}

// Thousands of misspelt names: the first ones are told, and the search for the nearest does not take minutes.
func TestThousandsOfMistakes(t *testing.T) {
	var b strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&b, "stage \"gptq\" \"name%05d\" {\n  model = gptq.eman%05d.model\n}\n", i, i)
	}
	_, diags := Load(write(t, "r.hcl", b.String()), Options{Catalog: testCatalog()})
	if len(diags) != maxMistakes+1 || diags[0].Subject.Start.Line != 2 || diags[maxMistakes].Summary != "Too many mistakes" {
		t.Errorf("%d diagnostics, the first %v", len(diags), diags[0])
	}
}

func TestALongChainOfLocals(t *testing.T) {
	var b strings.Builder
	b.WriteString("locals {\n")
	for i := range 20000 {
		fmt.Fprintf(&b, "  a%06d = local.a%06d\n", i, i+1)
	}
	b.WriteString("  a020000 = 1\n}\nstage \"download\" \"base\" {\n  source = \"a\"\n}\n")
	r, diags := Load(write(t, "r.hcl", b.String()), Options{Catalog: testCatalog()})
	if len(diags) == 0 || diags[0].Summary != "Chain too long" {
		t.Errorf("%d diagnostics: %.300s", len(diags), show(r, diags))
	}
}

func large(blocks int) string {
	var b strings.Builder
	b.WriteString("stage \"download\" \"base\" {\n  source = \"a\"\n}\n")
	for i := range blocks / 2 {
		fmt.Fprintf(&b, `
# A comment, as people write them.
stage "gptq" "m%d" {
  model      = download.base.model
  bits       = 4
  group_size = local.size
}

stage "perplexity" "m%d" {
  model     = gptq.m%d.model
  tokenizer = download.base.tokenizer
  text      = download.base.files
  require {
    condition = metrics.perplexity < local.limit
    message   = "too much: ${metrics.perplexity}"
  }
}
`, i, i, i)
	}
	b.WriteString("locals {\n  size  = 64\n  limit = 20\n}\n")
	return b.String()
}

func BenchmarkLoad1000Blocks(b *testing.B) {
	path := filepath.Join(b.TempDir(), "r.hcl")
	if err := os.WriteFile(path, []byte(large(1000)), 0o644); err != nil {
		b.Fatal(err)
	}
	catalog := testCatalog()
	for b.Loop() {
		if r, diags := Load(path, Options{Catalog: catalog}); diags.HasErrors() || len(r.Stages) != 1001 {
			b.Fatal(diags)
		}
	}
}

// A block of 1,000 instances and one chained to it.
func BenchmarkLoad2000Instances(b *testing.B) {
	text := `
stage "download" "base" { source = "a" }
stage "gptq" "all" {
  for_each   = { for i in flatten([for k in range(1000) : k]) : format("i%04d", i) => i + 1 }
  model      = download.base.model
  group_size = each.value
}
stage "onnx" "all" {
  for_each = gptq.all
  model    = gptq.all[each.key].model
}
`
	path := filepath.Join(b.TempDir(), "r.hcl")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
	catalog := testCatalog()
	for b.Loop() {
		if r, diags := Load(path, Options{Catalog: catalog}); diags.HasErrors() || len(r.Stages) != 2001 {
			b.Fatal(diags)
		}
	}
}

// Requires of many instances, each checked on its own: what a build does at its end.
func BenchmarkCheck1000Requires(b *testing.B) {
	text := `
stage "download" "base" { source = "a" }
stage "perplexity" "all" {
  for_each  = { for i in flatten([for k in range(1000) : k]) : format("i%04d", i) => i }
  model     = download.base.model
  tokenizer = download.base.tokenizer
  text      = download.base.files
  require {
    condition = metrics.perplexity <= perplexity.all["i0000"].metrics.perplexity
  }
}
`
	path := filepath.Join(b.TempDir(), "r.hcl")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
	r, diags := Load(path, Options{Catalog: testCatalog()})
	if diags.HasErrors() {
		b.Fatal(diags)
	}
	for b.Loop() {
		for _, s := range r.Stages[1:] {
			if ok, _, diags := s.Requires[0].Check(func(MetricRef) (float64, bool) { return 1, true }); !ok {
				b.Fatal(diags)
			}
		}
	}
}
