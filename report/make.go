package report

import (
	"errors"
	"fmt"
	"slices"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/lineage"
)

// sizeMetric is what kinds that make models report; the table has the size of all of a model's files in its place.
const sizeMetric = "size_bytes"

// Make answers a question.
func Make(q Question) (*Report, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	r := &Report{
		Format: Format, Name: q.Name, Title: q.Title, Description: q.Description, Baseline: q.Baseline,
		Recipe: q.Recipe, Environments: q.Envs, Edges: []Edge{},
	}
	if r.Environments == nil {
		r.Environments = []Environment{}
	}
	g := newGraph(q.Runs)
	t := newTable(q.Kinds)
	v := newVariants(g, q.Rows)
	for _, asked := range q.Rows {
		r.Rows = append(r.Rows, newRow(asked, t, g, v))
	}
	r.Columns = t.list()
	r.choose(q.Kinds)
	r.finish()
	r.Fronts = r.fronts()
	r.Build = newBuild(q.Build, q.Runs)
	r.tell(q.Runs, g)
	return r, nil
}

func (q *Question) check() error {
	names := map[string]bool{}
	for _, row := range q.Rows {
		if names[row.Name] {
			return fmt.Errorf("two rows are called %q", row.Name)
		}
		names[row.Name] = true
		for _, r := range row.Runs {
			if !slices.Contains(q.Runs, r) {
				return fmt.Errorf("row %q: the run of %s is not among those of the report", row.Name, r.Address)
			}
		}
	}
	if q.Baseline != "" && !names[q.Baseline] {
		return fmt.Errorf("the baseline %q is no row", q.Baseline)
	}
	if len(q.Rows) == 0 {
		return errors.New("nothing to compare")
	}
	return nil
}

// newRow reads the figures of a row's runs; of two that report the same, the later one counts.
func newRow(asked Asked, t *table, g *graph, v *variants) *Row {
	row := &Row{Name: asked.Name, Stages: []string{}, runs: asked.Runs}
	figures := map[string]*Figure{}
	set := func(c *Column, f *Figure) {
		f.Column = c.ID
		figures[c.ID] = f
	}
	measured := measured(asked.Runs, g)
	if f := measured[sizeColumn]; f != nil {
		set(t.put(own[sizeColumn]), f)
	}
	variant := v.of(asked)
	for _, run := range asked.Runs {
		row.Stages = append(row.Stages, run.Address)
		for _, m := range t.reported(run) {
			if !run.measures() && m.Name == sizeMetric || variant[run] == words(m.Name)+" "+format(run.Metrics[m.Name]) {
				continue // the latter is said by the heading already
			}
			set(t.add(run, m, variant[run]), metricFigure(run, m.Name))
		}
	}
	for _, id := range []string{timeColumn, memoryColumn} {
		if f := measured[id]; f != nil {
			set(t.put(own[id]), f)
		}
	}
	for _, f := range figures {
		row.Figures = append(row.Figures, f)
	}
	return row
}

func metricFigure(r *Run, name string) *Figure {
	f := &Figure{
		Value: r.Metrics[name], Stage: r.Address, Build: r.BuildID, Records: []artifacts.Digest{r.Record}, Synthetic: r.Synthetic(),
	}
	low, hasLow := r.Metrics[name+lowSuffix]
	high, hasHigh := r.Metrics[name+highSuffix]
	if hasLow && hasHigh {
		f.Low, f.High = &low, &high
	}
	return f
}

// measured are the figures that come from the runs themselves: what the row's model takes on disk, and what making it
// took.
func measured(runs []*Run, g *graph) map[string]*Figure {
	out := map[string]*Figure{}
	maker, model := g.model(runs)
	if maker == nil {
		return out
	}
	if model.Bytes > 0 { // 0: its manifest cannot be read
		out[sizeColumn] = &Figure{
			Value: float64(model.Bytes), Stage: maker.Address, Build: maker.BuildID, Records: []artifacts.Digest{maker.Record},
			Synthetic: maker.Synthetic(),
		}
	}
	spent := Figure{Stage: maker.Address, Build: maker.BuildID, Synthetic: maker.Synthetic()}
	peak := spent
	for _, r := range g.ancestors(maker, func(r *Run) bool { return !r.measures() }) {
		spent.Value += r.Seconds()
		spent.Records = append(spent.Records, r.Record)
		if bytes := float64(r.PeakMemory); bytes > peak.Value {
			peak.Value, peak.Records = bytes, []artifacts.Digest{r.Record}
			peak.Stage = r.Address
		}
	}
	out[timeColumn] = &spent
	if peak.Value > 0 {
		out[memoryColumn] = &peak
	}
	return out
}

// model is what a row is about: the last model that its stages make, else the last one that they look at; where there
// is no model at all, the last thing made that is no result.
func (g *graph) model(runs []*Run) (*Run, lineage.Artifact) {
	var maker, other *Run
	var model, thing lineage.Artifact
	for _, r := range runs {
		for _, port := range r.ports() {
			switch a := r.Outputs[port]; {
			case isModel(a.Type):
				maker, model = r, a
			case !r.measures():
				other, thing = r, a
			}
		}
	}
	if maker != nil {
		return maker, model
	}
	for _, r := range runs {
		for _, port := range sorted(r.Inputs) {
			if a, ok := g.made[r.Inputs[port]]; ok && isModel(a.Type) {
				maker, model = g.maker[r.Inputs[port]], a
			}
		}
	}
	if maker != nil {
		return maker, model
	}
	return other, thing
}

// finish orders the figures of each row as the columns are, and says which is best and how it compares.
func (r *Report) finish() {
	at := map[string]int{}
	for i, c := range r.Columns {
		at[c.ID] = i
	}
	for _, row := range r.Rows {
		slices.SortFunc(row.Figures, func(a, b *Figure) int { return at[a.Column] - at[b.Column] })
		for _, f := range row.Figures {
			r.Synthetic = r.Synthetic || f.Synthetic
		}
	}
	for _, c := range r.Columns {
		figures := r.figures(c)
		c.scale = newScale(c.Unit, c.Quality, figures)
		r.mark(c, figures)
	}
}

// figures are a column's, in the order of the rows; a row without one is left out.
func (r *Report) figures(c *Column) []*Figure {
	var out []*Figure
	for _, row := range r.Rows {
		if f := row.Figure(c.ID); f != nil {
			out = append(out, f)
		}
	}
	return out
}

// Figure finds one by its column, or nil.
func (row *Row) Figure(column string) *Figure {
	for _, f := range row.Figures {
		if f.Column == column {
			return f
		}
	}
	return nil
}

// any says that the row has a figure in one of the columns.
func (row *Row) any(columns []*Column) bool {
	return slices.ContainsFunc(columns, func(c *Column) bool { return row.Figure(c.ID) != nil })
}

// Synthetic says that a figure of the row comes from a made-up model.
func (row *Row) Synthetic() bool {
	return slices.ContainsFunc(row.Figures, func(f *Figure) bool { return f.Synthetic })
}

// mark sets Best where there is something to be better than, and Ratio where there is a baseline.
func (r *Report) mark(c *Column, figures []*Figure) {
	if len(figures) < 2 {
		return
	}
	best, alike := figures[0], true
	for _, f := range figures {
		if c.Better == "higher" && f.Value > best.Value || c.Better != "higher" && f.Value < best.Value {
			best = f
		}
		alike = alike && c.Text(f) == c.Text(figures[0])
	}
	for _, f := range figures { // what reads the same is as good
		f.Best = c.Better != "" && !alike && c.Text(f) == c.Text(best)
	}
	base := r.row(r.Baseline)
	if base == nil || c.Better == "" || c.ID == timeColumn || c.ID == memoryColumn {
		return
	}
	zero := base.Figure(c.ID)
	for _, f := range figures {
		if zero != nil && f != zero && zero.Value > 0 && f.Value > 0 {
			ratio := f.Value / zero.Value
			f.Ratio = &ratio
		}
	}
}

func (r *Report) row(name string) *Row {
	for _, row := range r.Rows {
		if row.Name == name && name != "" {
			return row
		}
	}
	return nil
}

// DefaultRows compares what a build has measured where nobody said how: a row for each model, with all that was
// measured of it.
func DefaultRows(runs []*Run, kinds map[string]Kind) []Asked {
	g := newGraph(runs)
	var rows []Asked
	at := map[*Run]int{} // the run that a row is about → its place
	for _, r := range runs {
		if !compared(r, kinds[r.Kind]) {
			continue
		}
		about := g.subject(r)
		i, ok := at[about]
		if !ok {
			i = len(rows)
			at[about] = i
			rows = append(rows, Asked{Name: about.Address, Runs: g.makers(about, kinds)})
		}
		if about != r {
			rows[i].Runs = append(rows[i].Runs, r)
		}
	}
	return rows
}

// makers are the run that a row is about, behind those that shaped its model before: what they say of it holds still.
func (g *graph) makers(about *Run, kinds map[string]Kind) []*Run {
	var out []*Run
	for _, port := range sorted(about.Inputs) {
		d := about.Inputs[port]
		from := g.maker[d]
		if from == nil || !isModel(g.made[d].Type) || about.measures() {
			continue
		}
		if slices.ContainsFunc(kinds[from.Kind].Metrics, func(m Metric) bool { return m.Better != "" }) {
			out = append(out, g.makers(from, kinds)...)
		}
	}
	return append(out, about)
}

// compared says that a run has figures of a model's quality or speed.
func compared(r *Run, k Kind) bool {
	if !r.measures() {
		return false
	}
	for _, m := range k.Metrics {
		if _, has := r.Metrics[m.Name]; has && (k.Measured || m.Quality) {
			return true
		}
	}
	return false
}

// subject is the run that made the model which r measures. A comparison of results belongs to the later one's model;
// what has no model stands for itself.
func (g *graph) subject(r *Run) *Run {
	if maker, _ := g.model([]*Run{r}); maker != nil {
		return maker
	}
	last := -1
	for _, d := range r.Inputs {
		maker := g.maker[d]
		if maker == nil || !maker.measures() {
			continue
		}
		last = max(last, slices.Index(g.runs, maker))
	}
	if last < 0 {
		return r
	}
	return g.subject(g.runs[last])
}

// shortDigits are enough to find a record with `tinfra show`.
const shortDigits = 8
