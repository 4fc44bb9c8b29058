package report

import (
	"cmp"
	"slices"
)

// layout places the nodes of an acyclic graph in layers, from left to right, after Sugiyama, Tagawa and Toda (1981):
// each node stands one layer after the last of its producers, edges over several layers get a bend in each, and the
// layers are ordered again and again by where their neighbours stand.
type layout struct {
	layers [][]*vertex
}

// vertex is a node, or a bend of an edge (node < 0).
type vertex struct {
	node     int
	layer    int
	place    float64 // from the top; one node's height is 1
	in, out  []*vertex
	orderKey float64
}

const (
	sweeps   = 12
	bendSize = 0.35 // height of a bend, in nodes
)

// arrange takes edges between nodes 0…n-1, from lower to higher number. It gives the vertices of the nodes and, for each
// edge, the vertices along it.
func arrange(n int, edges [][2]int) (nodes []*vertex, paths [][]*vertex, l *layout) {
	l = &layout{}
	nodes = make([]*vertex, n)
	for i := range nodes {
		nodes[i] = &vertex{node: i}
	}
	for i := range nodes { // producers come first
		for _, e := range edges {
			if e[1] == i {
				nodes[i].layer = max(nodes[i].layer, nodes[e[0]].layer+1)
			}
		}
	}
	l.pull(nodes, edges)
	for _, v := range nodes {
		l.put(v)
	}
	for _, e := range edges {
		paths = append(paths, l.route(nodes[e[0]], nodes[e[1]]))
	}
	for i := range sweeps {
		l.order(i%2 == 0)
	}
	l.settle()
	return nodes, paths, l
}

// pull moves sources to the layer before their first consumer: an input that is used late stands beside its use.
func (l *layout) pull(nodes []*vertex, edges [][2]int) {
	for i := len(nodes) - 1; i >= 0; i-- {
		first, source := -1, true
		for _, e := range edges {
			if e[1] == i {
				source = false
			}
			if e[0] == i && (first < 0 || nodes[e[1]].layer < first) {
				first = nodes[e[1]].layer
			}
		}
		if source && first > 0 {
			nodes[i].layer = first - 1
		}
	}
}

func (l *layout) put(v *vertex) {
	for len(l.layers) <= v.layer {
		l.layers = append(l.layers, nil)
	}
	v.place = float64(len(l.layers[v.layer]))
	l.layers[v.layer] = append(l.layers[v.layer], v)
}

func (l *layout) route(from, to *vertex) []*vertex {
	path := []*vertex{from}
	for layer := from.layer + 1; layer < to.layer; layer++ {
		bend := &vertex{node: -1, layer: layer}
		l.put(bend)
		path = append(path, bend)
	}
	path = append(path, to)
	for i := 1; i < len(path); i++ {
		path[i-1].out = append(path[i-1].out, path[i])
		path[i].in = append(path[i].in, path[i-1])
	}
	return path
}

// order sorts each layer by the mean place of its neighbours on one side.
func (l *layout) order(forward bool) {
	for i := range l.layers {
		at := i
		if !forward {
			at = len(l.layers) - 1 - i
		}
		layer := l.layers[at]
		for j, v := range layer {
			v.orderKey = mean(v.side(forward), float64(j))
		}
		slices.SortStableFunc(layer, func(a, b *vertex) int { return cmp.Compare(a.orderKey, b.orderKey) })
		for j, v := range layer {
			v.place = float64(j)
		}
	}
}

func (v *vertex) side(forward bool) []*vertex {
	if forward {
		return v.in
	}
	return v.out
}

func mean(vs []*vertex, otherwise float64) float64 {
	if len(vs) == 0 {
		return otherwise
	}
	sum := 0.0
	for _, v := range vs {
		sum += v.place
	}
	return sum / float64(len(vs))
}

func (v *vertex) size() float64 {
	if v.node < 0 {
		return bendSize
	}
	return 1
}

// settle gives places with the right distances, drawn towards the neighbours on both sides.
func (l *layout) settle() {
	for range sweeps {
		for _, layer := range l.layers {
			wish := make([]float64, len(layer))
			for j, v := range layer {
				near := slices.Concat(v.in, v.out)
				wish[j] = mean(near, v.place)
			}
			spread(layer, wish)
		}
	}
	top := 0.0
	for _, layer := range l.layers {
		for _, v := range layer {
			top = min(top, v.place-v.size()/2)
		}
	}
	for _, layer := range l.layers {
		for _, v := range layer {
			v.place -= top
		}
	}
}

// spread puts a layer's vertices where they wish to be, in their order and without overlap: neighbours that collide form
// a block, which stands at the mean of its wishes.
func spread(layer []*vertex, wish []float64) {
	type block struct {
		first, count int
		sum          float64 // of the wishes, each less its offset in the block
		size         float64
	}
	var blocks []block
	place := func(b block) float64 { return b.sum / float64(b.count) } // of its top
	for i, v := range layer {
		b := block{first: i, count: 1, sum: wish[i] - v.size()/2, size: v.size()}
		for len(blocks) > 0 {
			last := blocks[len(blocks)-1]
			if place(last)+last.size <= place(b) {
				break
			}
			last.sum += b.sum - float64(b.count)*last.size
			last.count += b.count
			last.size += b.size
			b = last
			blocks = blocks[:len(blocks)-1]
		}
		blocks = append(blocks, b)
	}
	for _, b := range blocks {
		at := place(b)
		for i := b.first; i < b.first+b.count; i++ {
			v := layer[i]
			v.place = at + v.size()/2
			at += v.size()
		}
	}
}
