package graph

import (
	"fmt"
	"io"
	"strings"
)

// WriteText draws each stage with what it takes, in the order of building.
func (g *Graph) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, n := range g.Nodes {
		fmt.Fprintln(&b, n.Stage.Address)
		lines := n.lines()
		for i, line := range lines {
			branch := "├─"
			if i == len(lines)-1 {
				branch = "└─"
			}
			fmt.Fprintf(&b, "  %s %s\n", branch, line)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (n *Node) lines() []string {
	var lines []string
	for _, port := range sortedPorts(n.Stage) {
		switch in := n.Stage.Inputs[port]; {
		case in.Ref != nil:
			lines = append(lines, fmt.Sprintf("%s ← %s.%s", port, in.Ref.Address, in.Ref.Port))
		case in.Files != nil:
			lines = append(lines, fmt.Sprintf("%s ← path(%q), %s", port, in.Files.Pattern, count(len(in.Files.Paths))))
		}
	}
	for _, gate := range n.Gates {
		lines = append(lines, "require reads metrics of "+gate.Stage.Address)
	}
	return lines
}

// WriteDOT draws the graph for Graphviz. A dashed edge is a require that reads metrics.
func (g *Graph) WriteDOT(w io.Writer) error {
	var b strings.Builder
	b.WriteString("digraph recipe {\n  rankdir = LR\n  node [shape = box, fontname = \"sans-serif\"]\n")
	for _, n := range g.Nodes {
		fmt.Fprintf(&b, "  %s\n", dotText(n.Stage.Address))
	}
	for _, n := range g.Nodes {
		for _, d := range n.Data {
			fmt.Fprintf(&b, "  %s -> %s [label = %s]\n", dotText(d.Stage.Address), dotText(n.Stage.Address), dotText(n.ports(d)))
		}
		for _, d := range n.Gates {
			fmt.Fprintf(&b, "  %s -> %s [style = dashed, label = \"require\"]\n", dotText(d.Stage.Address), dotText(n.Stage.Address))
		}
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// ports names the ports through which d's artifacts come in.
func (n *Node) ports(d *Node) string {
	var names []string
	for _, port := range sortedPorts(n.Stage) {
		if in := n.Stage.Inputs[port]; in.Ref != nil && in.Ref.Address == d.Stage.Address {
			names = append(names, port)
		}
	}
	return strings.Join(names, ", ")
}

func dotText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// WriteMermaid draws the graph for Markdown pages.
func (g *Graph) WriteMermaid(w io.Writer) error {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	id := map[*Node]string{}
	for i, n := range g.Nodes {
		id[n] = fmt.Sprintf("s%d", i)
		fmt.Fprintf(&b, "  %s[\"%s\"]\n", id[n], mermaidText(n.Stage.Address))
	}
	for _, n := range g.Nodes {
		for _, d := range n.Data {
			fmt.Fprintf(&b, "  %s -->|\"%s\"| %s\n", id[d], mermaidText(n.ports(d)), id[n])
		}
		for _, d := range n.Gates {
			fmt.Fprintf(&b, "  %s -.->|require| %s\n", id[d], id[n])
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// mermaidText writes what would end a label as entities.
func mermaidText(s string) string {
	return strings.NewReplacer("#", "#35;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "\n", " ").Replace(s)
}

func count(files int) string {
	if files == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", files)
}
