package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Columns that come from the runs themselves and not from a metric.
const (
	sizeColumn   = "size_on_disk"
	timeColumn   = "build_seconds"
	memoryColumn = "build_peak_memory_bytes"
)

// modelGroup holds the figures of whatever is no measurement.
const modelGroup = "model"

const (
	lowSuffix  = "_low"
	highSuffix = "_high"
)

// own are the columns that every report has.
var own = map[string]Column{
	sizeColumn: {
		ID: sizeColumn, Metric: sizeColumn, Group: modelGroup, Label: "size", Unit: "byte", Better: "lower",
		Doc: "All files of the row's model as it is stored.",
	},
	timeColumn: {
		ID: timeColumn, Metric: timeColumn, Group: modelGroup, Label: "build time", Unit: "s", Better: "lower",
		Doc: "What the runs took, one after the other, that the row's model is made from; its measurements are not counted.",
	},
	memoryColumn: {
		ID: memoryColumn, Metric: memoryColumn, Group: modelGroup, Label: "build peak memory", Unit: "byte", Better: "lower",
		Doc: "The most that one of those runs held in memory.",
	},
}

// table lays out the columns while the rows are read.
type table struct {
	kinds   map[string]Kind
	columns map[string]*Column
	order   map[string][]string // group → IDs, as met
	groups  []string
}

func newTable(kinds map[string]Kind) *table {
	return &table{kinds: kinds, columns: map[string]*Column{}, order: map[string][]string{}}
}

// add gives the column of one kind's metric, and makes it where it is new.
func (t *table) add(r *Run, m Metric, variant string) *Column {
	c := Column{
		ID: r.Kind + "." + m.Name, Metric: m.Name, Variant: variant, Group: r.Kind,
		Label: label(m.Name, m.Unit), Unit: m.Unit, Better: m.Better, Quality: m.Quality, Doc: m.Doc,
	}
	if !r.measures() {
		// A row is made by one scheme or another; what they report alike stands in one column.
		c.ID, c.Group, c.Variant = m.Name, modelGroup, ""
	} else if variant != "" {
		c.ID += "[" + variant + "]"
		c.Group += ", " + variant
	}
	made := t.put(c)
	if !slices.Contains(made.Kinds, r.Kind) {
		made.Kinds = append(made.Kinds, r.Kind)
	}
	if low := t.metric(r.Kind, m.Name+lowSuffix); low != nil && made.Low == "" {
		made.Low = low.Doc
	}
	if high := t.metric(r.Kind, m.Name+highSuffix); high != nil && made.High == "" {
		made.High = high.Doc
	}
	return made
}

func (t *table) put(c Column) *Column {
	if made := t.columns[c.ID]; made != nil {
		return made
	}
	if !slices.Contains(t.groups, c.Group) {
		t.groups = append(t.groups, c.Group)
	}
	t.columns[c.ID] = &c
	t.order[c.Group] = append(t.order[c.Group], c.ID)
	return &c
}

func (t *table) metric(kind, name string) *Metric {
	for i, m := range t.kinds[kind].Metrics {
		if m.Name == name {
			return &t.kinds[kind].Metrics[i]
		}
	}
	return nil
}

// reported are the metrics of a run in the order of their declaration, then those that nobody declares. The ends of
// intervals are left to their figures.
func (t *table) reported(r *Run) []Metric {
	var out []Metric
	for _, m := range t.kinds[r.Kind].Metrics {
		if _, has := r.Metrics[m.Name]; has && !isEnd(r, m.Name) {
			out = append(out, m)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Metrics)) {
		if t.metric(r.Kind, name) == nil && !isEnd(r, name) {
			out = append(out, Metric{Name: name})
		}
	}
	return out
}

// isEnd says that a metric is the low or high end of another one's interval.
func isEnd(r *Run, name string) bool {
	for _, suffix := range []string{lowSuffix, highSuffix} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			if _, has := r.Metrics[base]; has {
				return true
			}
		}
	}
	return false
}

// list is all columns: what was made, then what was measured of its quality, then of its speed; of one kind, by variant.
func (t *table) list() []*Column {
	groups := t.sorted()
	var out []*Column
	for _, g := range groups {
		last := []*Column{}
		for _, id := range t.order[g] {
			if id == timeColumn || id == memoryColumn { // what it cost stands behind what it is
				last = append(last, t.columns[id])
				continue
			}
			out = append(out, t.columns[id])
		}
		out = append(out, last...)
	}
	return out
}

// sorted are the groups by rank; kinds of one rank stand as met, the groups of one kind by their variants.
func (t *table) sorted() []string {
	met := map[string]int{}
	for i, g := range t.groups {
		kind, _, _ := strings.Cut(g, ", ")
		if _, ok := met[kind]; !ok {
			met[kind] = i
		}
	}
	groups := slices.Clone(t.groups)
	slices.SortStableFunc(groups, func(a, b string) int {
		kindA, variantA, _ := strings.Cut(a, ", ")
		kindB, variantB, _ := strings.Cut(b, ", ")
		return cmp.Or(t.rank(a)-t.rank(b), met[kindA]-met[kindB], compareVariants(variantA, variantB))
	})
	return groups
}

func (t *table) rank(group string) int {
	if group == modelGroup {
		return 0
	}
	for _, id := range t.order[group] {
		for _, kind := range t.columns[id].Kinds {
			if t.kinds[kind].Measured {
				return 2
			}
		}
	}
	return 1
}

// Group is a table of the columns that belong together.
type Group struct {
	Name    string
	Columns []*Column
	Explain []*Column // those that no group before it has explained
}

// Groups are the tables below the first one.
func (r *Report) Groups() []Group {
	var out []Group
	explained := map[string]bool{}
	for _, c := range r.Columns {
		if len(out) == 0 || out[len(out)-1].Name != c.Group {
			out = append(out, Group{Name: c.Group})
		}
		last := &out[len(out)-1]
		last.Columns = append(last.Columns, c)
		if text := c.Label + ": " + c.Explained(); c.Explained() != "" && !explained[text] {
			explained[text] = true
			last.Explain = append(last.Explain, c)
		}
	}
	return out
}

// Column finds one by its ID, or nil.
func (r *Report) Column(id string) *Column {
	for _, c := range r.Columns {
		if c.ID == id {
			return c
		}
	}
	return nil
}
