package report

import "slices"

// axes are the figures that quality is drawn against, in this order.
var axes = []string{sizeColumn, "decode_tokens_per_second"}

// quality are the figures that stand for quality, the best known first.
var quality = []string{"perplexity", "kl_mean"}

// fronts pairs the first figure of quality with what it is paid with. Where that leaves one drawing alone in its line, the
// build time stands beside it.
func (r *Report) fronts() []Front {
	out := []Front{}
	y := r.qualityColumn()
	if y == nil {
		return out
	}
	for _, x := range r.axisColumns() {
		if rows := r.both(x, y); len(rows) >= 2 && (x.Metric != timeColumn || len(out)%2 == 1) {
			out = append(out, Front{X: x.ID, Y: y.ID, Rows: front(rows, x, y)})
		}
	}
	return out
}

func (r *Report) axisColumns() []*Column {
	var out []*Column
	for _, name := range append(slices.Clone(axes), timeColumn) {
		for _, c := range r.Columns {
			if c.Metric == name && c.Better != "" {
				out = append(out, c)
			}
		}
	}
	return out
}

func (r *Report) qualityColumn() *Column {
	known := func(c *Column) bool { return c.Quality && c.Better != "" && len(r.figures(c)) >= 2 }
	for _, name := range quality {
		for _, c := range r.Columns {
			if c.Metric == name && known(c) {
				return c
			}
		}
	}
	i := slices.IndexFunc(r.Columns, known)
	if i < 0 {
		return nil
	}
	return r.Columns[i]
}

// both are the rows that have both figures.
func (r *Report) both(x, y *Column) []*Row {
	var out []*Row
	for _, row := range r.Rows {
		if row.Figure(x.ID) != nil && row.Figure(y.ID) != nil {
			out = append(out, row)
		}
	}
	return out
}

// front are the names of the rows that no other row beats: none is as good in both and better in one. They are ordered
// along x.
func front(rows []*Row, x, y *Column) []string {
	at := func(row *Row, c *Column) float64 {
		v := row.Figure(c.ID).Value
		if c.Better == "higher" {
			return -v
		}
		return v
	}
	var kept []*Row
	for _, row := range rows {
		beaten := slices.ContainsFunc(rows, func(o *Row) bool {
			dx, dy := at(o, x)-at(row, x), at(o, y)-at(row, y)
			return dx <= 0 && dy <= 0 && (dx < 0 || dy < 0)
		})
		if !beaten {
			kept = append(kept, row)
		}
	}
	slices.SortStableFunc(kept, func(a, b *Row) int {
		switch va, vb := a.Figure(x.ID).Value, b.Figure(x.ID).Value; {
		case va < vb:
			return -1
		case va > vb:
			return 1
		default:
			return 0
		}
	})
	names := make([]string, len(kept))
	for i, row := range kept {
		names[i] = row.Name
	}
	return names
}
