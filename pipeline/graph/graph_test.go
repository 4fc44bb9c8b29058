package graph

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages"
)

// catalog has one kind, `op`, with a map input of any type, an output and a metric, so that any graph can be written.
func catalog() *stages.Catalog {
	return &stages.Catalog{Kinds: map[string]*stages.Kind{"op": {
		Name:    "op",
		Params:  []stages.Param{{Name: "note", Type: cty.String, Optional: true}},
		Inputs:  []stages.Input{{Name: "in", Types: []string{"*"}, Map: true, Optional: true}, {Name: "one", Types: []string{"*"}, Optional: true}},
		Outputs: []stages.Output{{Name: "out", Type: "files"}},
		Metrics: []stages.Metric{{Name: "size"}},
	}}}
}

func load(t *testing.T, text string) *recipe.Recipe {
	t.Helper()
	path := filepath.Join(t.TempDir(), "r.hcl")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r, diags := recipe.Load(path, recipe.Options{Catalog: catalog()})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return r
}

func build(t *testing.T, text string) *Graph {
	t.Helper()
	g, diags := Build(load(t, text))
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return g
}

func names(nodes []*Node) string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.Stage.Address)
	}
	return strings.Join(all, " ")
}

const diamond = `
stage "op" "d" {
  in = { b = op.b.out, c = op.c["x"].out, c2 = op.c["x"].out }
  require {
    condition = metrics.size < op.gate.metrics.size && op.b.metrics.size > 0
  }
}
stage "op" "b" { one = op.a.out }
stage "op" "c" {
  for_each = { y = 1, x = 2 }
  one      = op.a.out
}
stage "op" "gate" {}
stage "op" "a" {}
stage "op" "files" { one = path("*.hcl") }
`

func TestOrderAndEdges(t *testing.T) {
	g := build(t, diamond)
	if got, want := names(g.Nodes), `op.gate op.a op.b op.c["x"] op.d op.c["y"] op.files`; got != want {
		t.Errorf("order %s, want %s", got, want)
	}
	d := g.Node("op.d")
	if got := names(d.Data); got != `op.b op.c["x"]` {
		t.Errorf("data of op.d: %s", got)
	}
	if got := names(d.Gates); got != "op.b op.gate" {
		t.Errorf("gates of op.d: %s", got)
	}
	if got := names(g.Node("op.b").Users); got != "op.d" {
		t.Errorf("users of op.b, once though it is data and gate: %s", got)
	}
	if got := names(g.Node("op.a").Users); got != `op.b op.c["x"] op.c["y"]` {
		t.Errorf("users of op.a: %s", got)
	}
	var walked []*Node
	stop := errors.New("stop")
	err := g.Walk(func(n *Node) error {
		walked = append(walked, n)
		if len(walked) == 3 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || names(walked) != "op.gate op.a op.b" {
		t.Errorf("walked %s, %v", names(walked), err)
	}
}

// TestOrderOfRandomGraphs: every stage after what it needs, all of them there, the same order each time.
func TestOrderOfRandomGraphs(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		n := 2 + random.IntN(30)
		rank := random.Perm(n) // an edge goes from lower to higher rank, so there is no cycle
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "stage \"op\" \"s%d\" {\n  in = {\n", i)
			for j := range n {
				if rank[j] < rank[i] && random.IntN(4) == 0 {
					fmt.Fprintf(&b, "    k%d = op.s%d.out\n", j, j)
				}
			}
			b.WriteString("  }\n}\n")
		}
		g := build(t, b.String())
		if len(g.Nodes) != n {
			t.Fatalf("%d nodes of %d", len(g.Nodes), n)
		}
		at := map[*Node]int{}
		for i, node := range g.Nodes {
			at[node] = i
			for _, d := range node.Data {
				if at[d] >= i || d == node {
					t.Fatalf("%s stands before %s", node.Stage.Address, d.Stage.Address)
				}
			}
		}
		if again := build(t, b.String()); names(again.Nodes) != names(g.Nodes) {
			t.Error("another order for the same text")
		}
	}
}

func TestCycles(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"three": {"stage \"op\" \"a\" {\n  one = op.b.out\n}\nstage \"op\" \"b\" {\n  one = op.c.out\n}\nstage \"op\" \"c\" {\n  one = op.a.out\n}\n",
			[]string{"op.a → op.b → op.c → op.a"}},
		"by a require": {"stage \"op\" \"a\" {\n  one = op.b.out\n}\nstage \"op\" \"b\" {\n  require {\n    condition = op.a.metrics.size > 1\n  }\n}\n",
			[]string{"op.a → op.b → op.a"}},
		"two, and what hangs on them": {`
stage "op" "after" { one = op.a.out }
stage "op" "a" { one = op.b.out }
stage "op" "b" { one = op.a.out }
stage "op" "x" { one = op.y.out }
stage "op" "y" { one = op.x.out }
stage "op" "good" {}
`, []string{"op.a → op.b → op.a", "op.x → op.y → op.x"}},
		"of instances": {`
stage "op" "i" {
  for_each = { a = "b", b = "a" }
  one      = op.i[each.value].out
}
`, []string{`op.i["a"] → op.i["b"] → op.i["a"]`}},
	} {
		r := load(t, c.text)
		_, diags := Build(r)
		if len(diags) != len(c.want) {
			t.Errorf("%s: %v", name, diags)
			continue
		}
		for i, d := range diags {
			if !strings.Contains(d.Detail, ": "+c.want[i]+".") || d.Subject == nil || d.Subject.Filename != r.Path || !strings.Contains(d.Detail, "r.hcl:") {
				t.Errorf("%s: %s at %v, want %s with its places", name, d.Detail, d.Subject, c.want[i])
			}
		}
	}
}

// A chain through instances of one block is no cycle: edges are between instances.
func TestInstancesMayChain(t *testing.T) {
	g := build(t, `
stage "op" "i" {
  for_each = { b = "a", c = "b", a = null }
  one      = each.value == null ? null : op.i[each.value].out
}
`)
	if got := names(g.Nodes); got != `op.i["a"] op.i["b"] op.i["c"]` {
		t.Errorf("order %s", got)
	}
}

func TestSelect(t *testing.T) {
	g := build(t, diamond)
	for target, want := range map[string]string{
		"op.b": "op.a op.b", `op.c["y"]`: `op.a op.c["y"]`, "op.c": `op.a op.c["x"] op.c["y"]`, `op.c["*"]`: `op.a op.c["x"] op.c["y"]`,
		"*.gate": "op.gate", "op.?": `op.gate op.a op.b op.c["x"] op.d op.c["y"]`, "op.d": `op.gate op.a op.b op.c["x"] op.d`,
		"*": `op.gate op.a op.b op.c["x"] op.d op.c["y"] op.files`,
	} {
		s, diags := g.Select([]string{target})
		if len(diags) > 0 || names(s.Nodes) != want {
			t.Errorf("%s selects %s, want %s (%v)", target, names(s.Nodes), want, diags)
		}
		for _, n := range s.Nodes {
			for _, other := range slices.Concat(n.Data, n.Gates, n.Users) {
				if s.Node(other.Stage.Address) != other {
					t.Errorf("%s: %s knows a node outside the selection", target, n.Stage.Address)
				}
			}
		}
	}
	if s, _ := g.Select(nil); s != g {
		t.Error("no targets are not the whole graph")
	}
	if s, diags := g.Select([]string{"op.b", "op.files"}); len(diags) > 0 || names(s.Nodes) != "op.a op.b op.files" {
		t.Errorf("two targets select %s", names(s.Nodes))
	}
	for target, words := range map[string]string{"op.gat": "Did you mean op.gate?", "zzzzzzzzzzzzzzz.*": "There are: op.a, op.b, op.c"} {
		if _, diags := g.Select([]string{"op.a", target}); len(diags) != 1 || !strings.Contains(diags[0].Detail, words) {
			t.Errorf("%s: %v, want %q", target, diags, words)
		}
	}
}

func TestDrawings(t *testing.T) {
	g := build(t, diamond)
	for name, c := range map[string]struct {
		write func(*bytes.Buffer) error
		want  []string
	}{
		"text": {func(b *bytes.Buffer) error { return g.WriteText(b) }, []string{
			"op.d\n  ├─ in[b] ← op.b.out\n", "  └─ require reads metrics of op.gate\n", `one ← path("*.hcl"), 1 file` + "\n",
		}},
		"dot": {func(b *bytes.Buffer) error { return g.WriteDOT(b) }, []string{
			"digraph recipe {\n", `  "op.c[\"x\"]" -> "op.d" [label = "in[c2], in[c]"]`, `"op.gate" -> "op.d" [style = dashed, label = "require"]`,
		}},
		"mermaid": {func(b *bytes.Buffer) error { return g.WriteMermaid(b) }, []string{
			"flowchart LR\n", `["op.c[#quot;x#quot;]"]`, `s3 -->|"in[c2], in[c]"| s4`, "s0 -.->|require| s4",
		}},
	} {
		var b bytes.Buffer
		if err := c.write(&b); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s lacks %q:\n%s", name, want, b.String())
			}
		}
	}
}

// A graph made by hand may refer to what is not there; that is a mistake with a place, not a panic.
func TestUnknownProducer(t *testing.T) {
	at := hcl.Range{Filename: "r.hcl", Start: hcl.Pos{Line: 3, Column: 1}}
	r := &recipe.Recipe{Stages: []*recipe.Stage{{
		Address: "op.a", Kind: catalog().Kinds["op"], Name: "a",
		Inputs: map[string]recipe.Input{"one": {Ref: &recipe.Ref{Address: "op.none", Port: "out"}, Range: at}},
	}}}
	if _, diags := Build(r); len(diags) != 1 || diags[0].Subject.Start.Line != 3 {
		t.Errorf("%v", diags)
	}
}

func BenchmarkBuild(b *testing.B) {
	r := &recipe.Recipe{}
	kind := catalog().Kinds["op"]
	for i := range 1000 {
		s := &recipe.Stage{Address: fmt.Sprintf("op.s%d", i), Kind: kind, Name: fmt.Sprint("s", i), Inputs: map[string]recipe.Input{}}
		for j := range min(i, 3) {
			s.Inputs[fmt.Sprint("in[", j, "]")] = recipe.Input{Ref: &recipe.Ref{Address: fmt.Sprintf("op.s%d", i-1-j), Port: "out"}}
		}
		r.Stages = append(r.Stages, s)
	}
	for b.Loop() {
		if _, diags := Build(r); diags.HasErrors() {
			b.Fatal(diags)
		}
	}
}
