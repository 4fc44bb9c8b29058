package report

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// variants tells apart the runs of one kind that stand in one row: by the params that differ, else by the types of
// their inputs, else by their order.
type variants struct {
	graph  *graph
	params map[string][]string // kind → params that differ within a row
	types  map[string][]string // kind → ports whose artifacts' types differ within a row
}

func newVariants(g *graph, rows []Asked) *variants {
	v := &variants{graph: g, params: map[string][]string{}, types: map[string][]string{}}
	for _, row := range rows {
		for kind, runs := range byKind(row.Runs) {
			v.params[kind] = union(v.params[kind], differing(runs, func(r *Run) map[string]string { return texts(r.Params) }))
			v.types[kind] = union(v.types[kind], differing(runs, v.inputTypes))
		}
	}
	return v
}

// of names each run of a row; "" where its kind stands there once in every row.
func (v *variants) of(row Asked) map[*Run]string {
	out := map[*Run]string{}
	for kind, runs := range byKind(row.Runs) {
		seen := map[string]int{}
		for _, r := range runs {
			name := v.name(kind, r)
			seen[name]++
			if n := seen[name]; n > 1 {
				name = strings.TrimSpace(name + " #" + strconv.Itoa(n))
			}
			out[r] = name
		}
	}
	return out
}

func (v *variants) name(kind string, r *Run) string {
	var parts []string
	params := texts(r.Params)
	for _, p := range v.params[kind] {
		if value, ok := params[p]; ok {
			parts = append(parts, words(p)+" "+value)
		}
	}
	types := v.inputTypes(r)
	for _, port := range v.types[kind] {
		if t := types[port]; t != "" {
			_, short, ok := strings.Cut(t, "/")
			if !ok {
				short = t
			}
			parts = append(parts, words(short))
		}
	}
	return strings.Join(parts, ", ")
}

// compareVariants orders names by their words: numbers first, by their value.
func compareVariants(a, b string) int {
	apart := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' })
	}
	return slices.CompareFunc(apart(a), apart(b), func(a, b string) int {
		x, noX := strconv.ParseFloat(a, 64)
		y, noY := strconv.ParseFloat(b, 64)
		switch {
		case noX == nil && noY == nil:
			return cmp.Compare(x, y)
		case noX == nil:
			return -1
		case noY == nil:
			return 1
		}
		return strings.Compare(a, b)
	})
}

// inputTypes are the types of what a run was given, by port; of a result, those of the model that it is about.
func (v *variants) inputTypes(r *Run) map[string]string {
	out := map[string]string{}
	for port, d := range r.Inputs {
		a, ok := v.graph.made[d]
		if !ok || a.Type == "" {
			continue
		}
		out[port] = a.Type
		if maker := v.graph.maker[d]; maker != r && maker.measures() {
			if _, model := v.graph.model([]*Run{maker}); model.Type != "" {
				out[port] = model.Type
			}
		}
	}
	return out
}

func byKind(runs []*Run) map[string][]*Run {
	out := map[string][]*Run{}
	for _, r := range runs {
		if r.measures() {
			out[r.Kind] = append(out[r.Kind], r)
		}
	}
	return out
}

// differing are the names whose values are not the same in all runs, sorted.
func differing(runs []*Run, of func(*Run) map[string]string) []string {
	names := map[string]bool{}
	for _, r := range runs {
		for _, other := range runs {
			a, b := of(r), of(other)
			for name, value := range a {
				if b[name] != value {
					names[name] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// texts are params as people write them: strings without quotes, the rest as JSON.
func texts(params map[string]any) map[string]string {
	out := map[string]string{}
	for name, v := range params {
		if s, ok := v.(string); ok {
			out[name] = s
			continue
		}
		if b, err := json.Marshal(v); err == nil {
			out[name] = string(b)
		}
	}
	return out
}
