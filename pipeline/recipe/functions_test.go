package recipe

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

func evaluate(t *testing.T, dir, src string) (cty.Value, hcl.Diagnostics) {
	t.Helper()
	expr, diags := hclsyntax.ParseExpression([]byte(src), "test", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("%s: %s", src, diags)
	}
	return expr.Value(&hcl.EvalContext{Functions: functions(dir, nil), Variables: map[string]cty.Value{
		"unknown": cty.UnknownVal(cty.String), "port": refValue(Ref{"a.b", "c", "t"}),
	}})
}

// TestFunctions holds each expression against another that means the same without functions.
func TestFunctions(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("text\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for call, want := range map[string]string{
		`abs(-2)`: `2`, `ceil(1.2)`: `2`, `floor(1.8)`: `1`, `log(16, 2)`: `4`, `max(1, 3, 2)`: `3`, `min(3, 1)`: `1`,
		`pow(2, 10)`: `1024`, `signum(-7)`: `-1`, `parseint("ff", 16)`: `255`,
		`chomp("a\n")`: `"a"`, `format("%s-%03d", "a", 7)`: `"a-007"`, `join(",", formatlist("%s!", ["a", "b"]))`: `"a!,b!"`,
		`indent(2, "a\nb")`: `"a\n  b"`, `join("-", ["a", "b"])`: `"a-b"`, `lower("AB")`: `"ab"`, `upper("ab")`: `"AB"`,
		`regex("[0-9]+", "a12")`: `"12"`, `length(regexall("a", "banana"))`: `3`, `replace("a.b", ".", "-")`: `"a-b"`,
		`replace("a12b", "/[0-9]+/", "-")`: `"a-b"`, `replace("hello", "/(l+)/", "<$1>")`: `"he<ll>o"`,
		`join("|", split(",", "a,b"))`: `"a|b"`, `strrev("abc")`: `"cba"`, `substr("hello", 1, 3)`: `"ell"`,
		`title("a b")`: `"A B"`, `trim("?a?", "?")`: `"a"`, `trimprefix("ab", "a")`: `"b"`, `trimsuffix("ab", "b")`: `"a"`,
		`trimspace(" a ")`: `"a"`, `startswith("abc", "ab")`: `true`, `endswith("abc", "ab")`: `false`, `strcontains("abc", "b")`: `true`,
		`join(";", [for c in chunklist(["a", "b", "c"], 2) : join(",", c)])`: `"a,b;c"`,
		`coalesce(null, "", "b")`: `"b"`, `coalesce(null, 0)`: `0`, `coalescelist([], ["a"])[0]`: `"a"`, `length(compact(["a", "", null]))`: `1`,
		`concat(["a"], ["b"])[1]`: `"b"`, `contains(["a"], "a")`: `true`, `length(distinct(["a", "a"]))`: `1`,
		`element(["a", "b"], 3)`: `"b"`, `length(flatten([["a"], ["b", ["c"]]]))`: `3`, `index(["a", "b"], "b")`: `1`,
		`join(",", keys({ b = 1, a = 2 }))`: `"a,b"`, `length({ a = 1 })`: `1`, `length("héllo")`: `5`, `length([])`: `0`, `length(toset(["a", "a"]))`: `1`,
		`lookup({ a = 1 }, "a", 2)`: `1`, `lookup({ a = 1 }, "b", 2)`: `2`, `lookup(tomap({ a = 1 }), "b", 2)`: `2`, `lookup({ a = 1 }, "a")`: `1`,
		`matchkeys(["x", "y"], ["a", "b"], ["b"])[0]`: `"y"`, `length(matchkeys(["x"], ["a"], ["b"]))`: `0`,
		`merge({ a = 1 }, { a = 2 }).a`: `2`, `one([])`: `null`, `one(["a"])`: `"a"`, `one(toset(["a"]))`: `"a"`,
		`length(range(0, 10, 3))`: `4`, `reverse(["a", "b"])[0]`: `"b"`, `length(setintersection(["a", "b"], ["b"]))`: `1`,
		`length(setproduct(["a", "b"], ["c", "d"]))`: `4`, `length(setsubtract(["a", "b"], ["b"]))`: `1`, `length(setunion(["a"], ["b"]))`: `2`,
		`slice(["a", "b", "c"], 1, 2)[0]`: `"b"`, `sort(["b", "a"])[0]`: `"a"`, `sum([1, 2.5])`: `3.5`, `sum(toset([1, 2]))`: `3`,
		`join(",", transpose({ a = ["x", "y"], b = ["x"] }).x)`: `"a,b"`, `values({ a = 1 })[0]`: `1`, `zipmap(["a"], [1]).a`: `1`,
		`alltrue([])`: `true`, `alltrue([true, false])`: `false`, `alltrue([true, null])`: `false`, `anytrue([])`: `false`, `anytrue([false, true])`: `true`,
		`base64encode("hi")`: `"aGk="`, `base64decode("aGk=")`: `"hi"`, `csvdecode("a,b\n1,2")[0].b`: `"2"`,
		`jsondecode("{\"a\":[1]}").a[0]`: `1`, `jsonencode({ a = [1, null] })`: `"{\"a\":[1,null]}"`, `urlencode("a b&c")`: `"a+b%26c"`,
		`sha256("")`:  `"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"`,
		`tostring(1)`: `"1"`, `tonumber("1.5")`: `1.5`, `tobool("true")`: `true`, `tolist(["a", 1])[1]`: `"1"`, `tomap({ a = 1, b = "c" }).a`: `"1"`,
		`try(jsondecode("{"), "bad")`: `"bad"`, `can(jsondecode("{"))`: `false`, `can(1)`: `true`, `file("a.txt")`: `"text\n"`,
		`secret("A") == secret("A")`: `true`, `secret("A") == secret("B")`: `false`, `length(toset([port, port]))`: `1`,
	} {
		got, diags := evaluate(t, dir, call)
		if diags.HasErrors() {
			t.Errorf("%s: %s", call, diags)
			continue
		}
		expected, _ := evaluate(t, dir, want)
		if got.IsNull() && expected.IsNull() {
			continue
		}
		if eq := got.Equals(expected); !eq.IsKnown() || eq.False() {
			t.Errorf("%s is %#v, want %s", call, got, want)
		}
	}
}

func TestFunctionsRefuse(t *testing.T) {
	for call, words := range map[string]string{
		`sum([])`: "no sum", `sum(["a"])`: "must be a number", `one(["a", "b"])`: "none or one", `one("a")`: "must be a list",
		`index(["a"], "b")`: "does not hold", `lookup({ a = 1 }, "b")`: "no such key", `lookup(tomap({ a = 1 }), "b")`: "no key",
		`lookup({}, "a", 1, 2)`: "at most one default", `coalesce(null, "")`: "null or an empty", `length(1)`: "must be a string",
		`matchkeys(["a"], [], [])`: "one length", `base64decode("?")`: "not base64", `base64decode("/w==")`: "not UTF-8",
		`replace("a", "/(/", "")`: "missing closing", `file("../x")`: "leads out", `file("/x")`: "absolute", `file("none")`: "no such file",
		`file("")`: "empty", `path("[")`: "no valid pattern", `path("a\\b")`: "backslash", `secret("A B")`: "environment variable",
		`jsonencode(port)`: "no text", `format("%v", secret("A"))`: "no text", `formatlist("%s", [port])`: "no text",
		`"a${port}"`: "", `tostring(port)`: "cannot convert", `port + 1`: "", `transpose({ a = null })`: "null",
	} {
		_, diags := evaluate(t, t.TempDir(), call)
		if !diags.HasErrors() || !strings.Contains(diags.Error(), words) {
			t.Errorf("%s: %v, want an error about %q", call, diags, words)
		}
	}
}

// TestEveryFunctionIsTried keeps the two tables above complete.
func TestEveryFunctionIsTried(t *testing.T) {
	src, err := os.ReadFile("functions_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for name := range functions(".", nil) {
		if !strings.Contains(string(src), "`"+name+"(") && !strings.Contains(string(src), " "+name+"(") && !strings.Contains(string(src), "("+name+"(") {
			t.Errorf("%s has no test", name)
		}
	}
}

// TestUnknownArguments guards against functions that look inside what is not known.
func TestUnknownArguments(t *testing.T) {
	for _, call := range []string{
		`sum([unknown])`, `index(["a"], unknown)`, `lookup({ a = 1 }, unknown, 2)`, `matchkeys(["a"], ["b"], [unknown])`,
		`transpose({ a = [unknown] })`, `alltrue([true, tobool(unknown)])`, `coalesce(unknown, "a")`, `length(unknown)`, `one([unknown])`,
	} {
		v, diags := evaluate(t, t.TempDir(), call)
		if diags.HasErrors() || v.IsWhollyKnown() {
			t.Errorf("%s: %#v %v, want an unknown value", call, v, diags)
		}
	}
}

func TestPathStaysBelowTheRecipe(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "recipe")
	for name, text := range map[string]string{
		"recipe/prompts/b.txt": "b", "recipe/prompts/a.txt": "a", "recipe/prompts/deep/c.md": "c", "outside.txt": "no",
	} {
		file := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, from string) {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	files := func(pattern string) string {
		v, diags := evaluate(t, dir, `path("`+pattern+`")`)
		if diags.HasErrors() {
			return diags.Error()
		}
		return strings.Join(v.EncapsulatedValue().(*artifact).files.Paths, " ")
	}
	link("a.txt", "prompts/inside.txt")
	for pattern, want := range map[string]string{
		"prompts/**":         "prompts/a.txt prompts/b.txt prompts/deep/c.md prompts/inside.txt",
		"prompts/*.txt":      "prompts/a.txt prompts/b.txt prompts/inside.txt",
		"./prompts/a.txt":    "prompts/a.txt",
		"prompts/{a,b}.t?t":  "prompts/a.txt prompts/b.txt",
		"prompts/deep/c.md":  "prompts/deep/c.md",
		"**/*.{md,markdown}": "prompts/deep/c.md",
	} {
		if got := files(pattern); got != want {
			t.Errorf("path(%q) gives %q, want %q", pattern, got, want)
		}
	}
	link("../../outside.txt", "prompts/out.txt")
	link("../..", "prompts/up")
	for pattern, words := range map[string]string{
		"prompts/*.txt": "leads out", "prompts/up/*": "leads out", "none/*": "matches no file", "prompts": "matches no file",
	} {
		if got := files(pattern); !strings.Contains(got, words) {
			t.Errorf("path(%q) gives %q, want an error about %q", pattern, got, words)
		}
	}
	if _, diags := evaluate(t, dir, `file("prompts/out.txt")`); !strings.Contains(diags.Error(), "leads out") {
		t.Errorf("file() followed a link out: %v", diags)
	}
}

// What is left out is so by whatever name, a link's too, and in patterns that name it.
func TestPathWithoutTheCache(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.txt", "in/cache/keys/b.txt", "in/c.txt", "cache/d.txt"} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(name), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("in/cache", filepath.Join(dir, "link")), os.Symlink("a.txt", filepath.Join(dir, "b.txt"))); err != nil {
		t.Fatal(err)
	}
	without := []string{filepath.Join(dir, "link"), filepath.Join(dir, "none"), filepath.Join(dir, "a.txt")}
	for pattern, want := range map[string]string{
		"**": "a.txt b.txt cache/d.txt in/c.txt", "in/**": "in/c.txt", "*/cache/**": "", "in/cache/keys/b.txt": "", "link/**": "", "link/keys/*": "",
	} {
		got, err := match(dir, pattern, without, nil)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v, want %q", pattern, got, err, want)
		}
	}
	if got, err := match(dir, "in/**", []string{dir, filepath.Dir(dir)}, nil); err != nil || len(got) != 2 {
		t.Errorf("without the recipe's own folder: %q, %v", got, err)
	}
}
