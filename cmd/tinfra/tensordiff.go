package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/Ruihan11/tiny-infra/artifacts/numbers"
	"github.com/Ruihan11/tiny-infra/artifacts/tensor"
	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
)

// tensorDiff is how `diff` was asked to tell of two models.
type tensorDiff struct {
	limit           int
	asJSON, offline bool
}

// shownTensors is how many tensors a table has unless a person asks for more.
const shownTensors = 50

// sideJSON is one of two models that were compared.
type sideJSON struct {
	Name    string `json:"name"`
	Files   int    `json:"files"`
	Tensors int    `json:"tensors"`
	Bytes   int64  `json:"bytes"` // of the tensors
}

// modelsJSON is how two models differ, as diff writes it.
type modelsJSON struct {
	A sideJSON `json:"a"`
	B sideJSON `json:"b"`
	*numbers.Difference
}

func (a *app) diffTensors(ctx context.Context, names [2]string, s lookup, t *tensorDiff) error {
	var h *house
	var models [2]*numbers.Model
	result := &modelsJSON{}
	for i, side := range []*sideJSON{&result.A, &result.B} {
		var from *source
		var err error
		if onDisk(names[i]) {
			from, err = modelAt(names[i])
		} else {
			if h == nil { // two paths need no cache
				if h, err = a.openHouse(s.recipe); err != nil {
					return err
				}
				h.asks = !t.offline
			}
			from, err = h.modelNamed(ctx, names[i], s)
		}
		if err != nil {
			return err
		}
		defer from.end()
		if models[i], err = numbers.Read(from.files); err != nil {
			return asUsage(err)
		}
		*side = sideJSON{names[i], len(from.files), models[i].Count(), models[i].Bytes}
	}
	var err error
	if result.Difference, err = a.compareModels(ctx, models); err != nil {
		return err
	}
	if t.asJSON {
		return writeJSON(a.stdout, result)
	}
	return result.write(a.stdout, t.limit)
}

// asUsage: another file is to be named than one that cannot be compared.
func asUsage(err error) error {
	if errors.Is(err, tensor.ErrGGUF) || errors.Is(err, tensor.ErrSafetensors) || errors.Is(err, numbers.ErrTwice) {
		return usage("%w", err)
	}
	return err
}

func (a *app) compareModels(ctx context.Context, models [2]*numbers.Model) (*numbers.Difference, error) {
	line := a.passing()
	defer line.end()
	return numbers.Compare(ctx, models[0], models[1], func(done, total int64) {
		line.say(fmt.Sprintf("comparing: %s of %s", view.Bytes(done), view.Bytes(total)))
	})
}

func (m *modelsJSON) write(w io.Writer, limit int) error {
	var sides [][]string
	for i, s := range []sideJSON{m.A, m.B} {
		sides = append(sides, []string{string(rune('A' + i)), s.Name, view.Count(s.Files, "file"), view.Count(s.Tensors, "tensor"), view.Bytes(s.Bytes)})
	}
	if err := view.Table(w, []string{"", "MODEL", "FILES", "TENSORS", "SIZE"}, sides); err != nil {
		return err
	}
	if err := limited(w, []string{"TENSOR", "A", "B"}, m.unlike(), limit); err != nil {
		return err
	}
	if err := limited(w, []string{"TENSOR", "DTYPE", "SHAPE", "DIFFER", "LARGEST", "MEAN", "RELATIVE", "NOTE"}, m.changes(), limit); err != nil {
		return err
	}
	fmt.Fprintln(w)
	var counts []string
	for _, c := range []struct {
		n    int
		what string
	}{{len(m.Changed), "differ"}, {len(m.Other), "of another type or shape"}, {len(m.OnlyA), "only in A"}, {len(m.OnlyB), "only in B"}} {
		if c.n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if len(counts) == 0 {
		counts = []string{"none differs"}
	}
	_, err := fmt.Fprintf(w, "%s equal; %s.\n", view.Count(m.Equal, "tensor"), strings.Join(counts, ", "))
	return err
}

// limited writes a table's first rows, and how many more there are. One without rows is left out.
func limited(w io.Writer, head []string, rows [][]string, limit int) error {
	if len(rows) == 0 {
		return nil
	}
	more := 0
	if limit > 0 && len(rows) > limit {
		more = len(rows) - limit
		rows = rows[:limit]
	}
	fmt.Fprintln(w)
	if err := view.Table(w, head, rows); err != nil {
		return err
	}
	if more > 0 {
		fmt.Fprintf(w, "and %d more; --limit 0 shows all\n", more)
	}
	return nil
}

// unlike are the tensors whose numbers cannot be compared, by name.
func (m *modelsJSON) unlike() [][]string {
	var rows [][]string
	for _, o := range m.Other {
		was, now := layout(o.A), layout(o.B)
		if was == now {
			was, now = was+", "+view.Bytes(o.A.Bytes), now+", "+view.Bytes(o.B.Bytes)
		}
		rows = append(rows, []string{quoted(o.Name), was, now})
	}
	for _, t := range m.OnlyA {
		rows = append(rows, []string{quoted(t.Name), layout(t.Tensor), "-"})
	}
	for _, t := range m.OnlyB {
		rows = append(rows, []string{quoted(t.Name), "-", layout(t.Tensor)})
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	return rows
}

func layout(t numbers.Tensor) string { return t.DType + " " + shapeText(t.Shape) }

func (m *modelsJSON) changes() [][]string {
	rows := make([][]string, 0, len(m.Changed))
	for _, c := range m.Changed {
		row := []string{quoted(c.Name), c.DType, shapeText(c.Shape), fmt.Sprintf("%d of %d", c.Differ, c.Of), "-", "-", "-", ""}
		if c.Figures == nil {
			row[3] += " bytes"
			row[7] = "bytes only: what they mean is not known here"
		} else {
			row[4], row[5] = view.Number(c.Largest), view.Number(c.Mean)
			if c.Relative != nil {
				row[6] = strconv.FormatFloat(*c.Relative, 'g', 4, 64)
			}
			row[7] = notFinite(c.Figures)
		}
		rows = append(rows, row)
	}
	return rows
}

// notFinite words how many numbers are none: "NaN 0 → 1".
func notFinite(f *numbers.Figures) string {
	var notes []string
	for _, n := range []struct {
		what string
		a, b int64
	}{{"NaN", f.A.NaN, f.B.NaN}, {"Inf", f.A.Inf, f.B.Inf}} {
		if n.a+n.b > 0 {
			notes = append(notes, fmt.Sprintf("%s %d → %d", n.what, n.a, n.b))
		}
	}
	return strings.Join(notes, ", ")
}
