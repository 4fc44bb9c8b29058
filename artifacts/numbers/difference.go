package numbers

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
)

// Tensor is what a model says of one of its tensors.
type Tensor struct {
	DType string  `json:"dtype"`
	Shape []int64 `json:"shape"`
	Bytes int64   `json:"bytes"`
}

// Named is a tensor that one model has and the other one lacks.
type Named struct {
	Name string `json:"name"`
	Tensor
}

// Reshaped is a tensor that has another type, shape or size in the other model: its numbers are not compared.
type Reshaped struct {
	Name string `json:"name"`
	A    Tensor `json:"a"`
	B    Tensor `json:"b"`
}

// Change is by how much a tensor differs that has the same type and shape in both models.
type Change struct {
	Name string `json:"name"`
	Tensor
	// Bytewise: what the bytes mean is not known here, as with quantized blocks. Of and Differ count bytes, and there are no Figures.
	Bytewise bool  `json:"bytewise,omitempty"`
	Of       int64 `json:"of"`     // numbers
	Differ   int64 `json:"differ"` // of other bits
	*Figures
}

// Figures are of the numbers that are finite in both models.
type Figures struct {
	Largest  float64   `json:"largest"`            // absolute difference
	Mean     float64   `json:"mean"`               // of the absolute differences
	Relative *float64  `json:"relative,omitempty"` // norm of the differences by that of A; nil where that is 0
	A        NotFinite `json:"a"`
	B        NotFinite `json:"b"`
}

// Difference is how two models differ. What differs most is first; the rest is by name.
type Difference struct {
	Equal   int        `json:"equal"` // tensors
	OnlyA   []Named    `json:"onlyA"`
	OnlyB   []Named    `json:"onlyB"`
	Other   []Reshaped `json:"other"`
	Changed []Change   `json:"changed"`
}

// pair is a tensor in both models.
type pair struct {
	name string
	a, b place
}

// Compare finds how two models differ. tell, which may be nil, is told how many bytes of how many are compared, by one goroutine at a
// time: first of all that may differ, then of those that do.
func Compare(ctx context.Context, a, b *Model, tell func(done, total int64)) (*Difference, error) {
	d := &Difference{OnlyA: missing(a, b), OnlyB: missing(b, a), Other: []Reshaped{}, Changed: []Change{}}
	var read []pair
	for _, name := range slices.Sorted(maps.Keys(a.tensors)) {
		p := pair{name: name, a: a.tensors[name]}
		var both bool
		if p.b, both = b.tensors[name]; !both {
			continue
		}
		switch {
		case p.a.DType != p.b.DType || !slices.Equal(p.a.Shape, p.b.Shape) || p.a.Size != p.b.Size:
			d.Other = append(d.Other, Reshaped{name, p.a.said(), p.b.said()})
		case p.a.Size == 0 || p.a.file.Same != "" && p.a.file.Same == p.b.file.Same && p.a.Offset == p.b.Offset:
			d.Equal++
		default:
			read = append(read, p)
		}
	}
	changed, err := unequal(ctx, read, tell)
	if err != nil {
		return nil, err
	}
	d.Equal += len(read) - len(changed)
	tallies, err := measured(ctx, changed, tell)
	if err != nil {
		return nil, err
	}
	for i := range changed {
		d.Changed = append(d.Changed, changed[i].change(&tallies[i]))
	}
	slices.SortStableFunc(d.Changed, func(a, b Change) int { return cmp.Compare(b.weight(), a.weight()) })
	return d, nil
}

func missing(has, lacks *Model) []Named {
	all := []Named{}
	for _, name := range slices.Sorted(maps.Keys(has.tensors)) {
		if _, ok := lacks.tensors[name]; !ok {
			all = append(all, Named{name, has.tensors[name].said()})
		}
	}
	return all
}

func (p place) said() Tensor { return Tensor{p.DType, p.Shape, p.Size} }

func (p *pair) change(t *tally) Change {
	c := Change{Name: p.name, Tensor: p.a.said(), Of: p.a.Size, Differ: t.differ}
	f, known := formats[p.a.DType]
	if !known {
		c.Bytewise = true
		return c
	}
	c.Of = p.a.Size / int64(f.width)
	c.Figures = &Figures{Largest: t.largest, A: t.a, B: t.b}
	if t.pairs > 0 {
		c.Mean = t.total / float64(t.pairs)
	}
	if relative, ok := t.apart.over(t.norm); ok {
		c.Relative = &relative
	}
	return c
}

// weight orders changes: first where a number became none or the other way round, then where nothing was but zeros, then by how
// much; at the end what nobody can measure, by the share of its bytes.
func (c *Change) weight() float64 {
	switch {
	case c.Bytewise:
		return float64(c.Differ)/float64(c.Of) - 2
	case c.A != c.B:
		return math.Inf(1)
	case c.Relative == nil && c.Largest > 0:
		return math.MaxFloat64
	case c.Relative == nil:
		return 0
	default:
		return *c.Relative
	}
}
