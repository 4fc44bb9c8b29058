package report

import (
	"fmt"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// Size of the lineage graph's parts, in pixels.
const (
	nodeWidth, nodeHeight = 152.0, 36.0
	rowPitch, layerGap    = 46.0, 40.0
	drawingEdge           = 8.0
	readable              = 0.75 // of their size, drawings can still be read
	nodeLetters           = 18
)

// Drawing is the lineage graph of the runs behind a report.
type Drawing struct {
	Width, Height float64
	Least         float64 // width below which its text cannot be read
	Nodes         []Node
	Lines         []string // path data of the edges
	Desc          string
}

// Node is a run in a Drawing.
type Node struct {
	X, Y       float64
	Kind, Name string
	Title      string
	State      string
	Anchor     string
	Synthetic  bool
	Compared   bool // its figures stand in the comparison
}

// Drawing draws what the figures were made from; nil where there is nothing to draw.
func (r *Report) Drawing() *Drawing {
	if len(r.Records) == 0 {
		return nil
	}
	at := map[artifacts.Digest]int{}
	for i, e := range r.Records {
		at[e.Record] = i
	}
	var edges [][2]int
	for _, e := range r.Edges {
		pair := [2]int{at[e.From], at[e.To]}
		if pair[0] < pair[1] {
			edges = append(edges, pair)
		}
	}
	vertices, paths, l := arrange(len(r.Records), reduced(len(r.Records), edges))
	d := &Drawing{Width: 2*drawingEdge + float64(len(l.layers))*(nodeWidth+layerGap) - layerGap}
	d.Least = round(d.Width * readable)
	states, compared := r.states(), r.compared()
	for i, e := range r.Records {
		v := vertices[i]
		n := Node{X: nodeX(v), Y: centre(v) - nodeHeight/2, Anchor: anchor(e.Record), State: states[e.Record], Compared: compared[e.Record]}
		n.Kind, n.Name = nodeNames(e)
		n.Title = e.Stage + ", " + duration(e.Seconds) + ", " + bytesText(e.bytes())
		_, n.Synthetic = e.Labels[syntheticLabel]
		d.Nodes = append(d.Nodes, n)
		d.Height = max(d.Height, n.Y+nodeHeight+drawingEdge)
	}
	for _, path := range paths {
		d.Lines = append(d.Lines, curve(path))
		for _, v := range path {
			d.Height = max(d.Height, centre(v)+drawingEdge)
		}
	}
	d.Desc = fmt.Sprintf("%d runs; each line leads from a run to one that used its output. The list of records below says the same in words.", len(r.Records))
	return d
}

func nodeX(v *vertex) float64  { return drawingEdge + float64(v.layer)*(nodeWidth+layerGap) }
func centre(v *vertex) float64 { return round(drawingEdge + v.place*rowPitch) }

// nodeNames are a node's two lines: the kind with its modules, and the name.
func nodeNames(e *Evidence) (kind, name string) {
	kind, name = e.Kind, strings.TrimPrefix(e.Stage, e.Kind+".")
	if i := strings.LastIndex(e.Stage, e.Kind+"."); i > 0 {
		name = e.Stage[i+len(e.Kind)+1:]
		kind = strings.TrimPrefix(e.Stage[:i], "module.") + e.Kind
	}
	return clip(kind, nodeLetters+6), clip(name, nodeLetters)
}

func (e *Evidence) bytes() int64 {
	var sum int64
	for _, o := range e.Outputs {
		sum += o.Bytes
	}
	return sum
}

func (r *Report) states() map[artifacts.Digest]string {
	out := map[artifacts.Digest]string{}
	if r.Build == nil {
		return out
	}
	for _, s := range r.Build.Steps {
		if out[s.Record] != string(artifacts.Ran) {
			out[s.Record] = string(s.State)
		}
	}
	return out
}

func (r *Report) compared() map[artifacts.Digest]bool {
	out := map[artifacts.Digest]bool{}
	for _, row := range r.Rows {
		for _, run := range row.runs {
			out[run.Record] = true
		}
	}
	return out
}

// reduced leaves out the edges that a longer way implies; two ports between the same runs are one edge.
func reduced(n int, edges [][2]int) [][2]int {
	next := make([]map[int]bool, n)
	for i := range next {
		next[i] = map[int]bool{}
	}
	for _, e := range edges {
		next[e[0]][e[1]] = true
	}
	reach := make([]map[int]bool, n)
	for i := n - 1; i >= 0; i-- { // edges lead to higher numbers
		reach[i] = map[int]bool{}
		for j := range next[i] {
			reach[i][j] = true
			for k := range reach[j] {
				reach[i][k] = true
			}
		}
	}
	var out [][2]int
	for i := range n {
		for j := i + 1; j < n; j++ {
			implied := false
			for k := range next[i] {
				implied = implied || k != j && reach[k][j]
			}
			if next[i][j] && !implied {
				out = append(out, [2]int{i, j})
			}
		}
	}
	return out
}

// curve leads from the right side of the first node through the bends to the left side of the last.
func curve(path []*vertex) string {
	var b strings.Builder
	x, y := nodeX(path[0])+nodeWidth, centre(path[0])
	fmt.Fprintf(&b, "M%g %g", x, y)
	for i, v := range path[1:] {
		nx, ny := nodeX(v), centre(v)
		mid := (x + nx) / 2
		fmt.Fprintf(&b, " C%g %g %g %g %g %g", mid, y, mid, ny, nx, ny)
		if i < len(path)-2 { // a bend crosses its layer level
			nx += nodeWidth
			fmt.Fprintf(&b, " H%g", nx)
		}
		x, y = nx, ny
	}
	return b.String()
}
