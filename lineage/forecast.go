package lineage

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
)

// Want is a stage whose cost shall be forecast.
type Want struct {
	Address    string
	Kind       string
	Params     map[string]any
	RecipePath string
}

// Cost is what a run can be expected to take. Where nothing is known From is "" and the rest zero.
type Cost struct {
	Seconds     float64
	PeakMemory  int64 // bytes
	OutputBytes int64
	From        string // for people: the last run of the address, or the median of the kind
}

// medianOf bounds how many of a kind's last runs are looked at.
const medianOf = 50

// Forecast says what each stage can be expected to take: what the last run at the same address of the same recipe took,
// else the last one at that address of any recipe with the same kind, else the median of the kind's last runs.
func (x *Index) Forecast(ctx context.Context, wants []Want) ([]Cost, error) {
	out := make([]Cost, len(wants))
	kinds := map[string]Cost{}
	for i, w := range wants {
		c, err := x.lastCost(ctx, w)
		if err != nil {
			return nil, err
		}
		if c.From == "" {
			var ok bool
			if c, ok = kinds[w.Kind]; !ok {
				if c, err = x.kindCost(ctx, w.Kind); err != nil {
					return nil, err
				}
				kinds[w.Kind] = c
			}
		}
		out[i] = c
	}
	return out, nil
}

const costColumns = `SELECT r.seconds, coalesce(r.peak_memory_bytes, 0),
	coalesce((SELECT sum(t.bytes) FROM _output o JOIN _artifact t ON t.id = o.artifact WHERE o.run = r.id), 0)`

func (x *Index) lastCost(ctx context.Context, w Want) (Cost, error) {
	var c Cost
	err := x.ask(ctx, func(row scanner) error {
		var build sql.NullString
		err := row.Scan(&c.Seconds, &c.PeakMemory, &c.OutputBytes, &build)
		c.From = fmt.Sprintf("%s in build %s", w.Address, build.String)
		return err
	}, costColumns+`, s.last FROM _step s JOIN _run r ON r.record = s.record
		WHERE s.address = ? AND s.kind = ? ORDER BY s.recipe_path = ? DESC, s.last DESC LIMIT 1`, w.Address, w.Kind, w.RecipePath)
	return c, err
}

func (x *Index) kindCost(ctx context.Context, kind string) (Cost, error) {
	var seconds []float64
	var peaks, sizes []int64
	err := x.ask(ctx, func(row scanner) error {
		var s float64
		var peak, size int64
		err := row.Scan(&s, &peak, &size)
		seconds, sizes = append(seconds, s), append(sizes, size)
		if peak > 0 {
			peaks = append(peaks, peak)
		}
		return err
	}, costColumns+` FROM _run r JOIN _action a ON a.id = r.action WHERE a.kind = ? ORDER BY r.ended DESC LIMIT ?`, kind, medianOf)
	if err != nil || len(seconds) == 0 {
		return Cost{}, err
	}
	from := fmt.Sprintf("the median of %d runs of %s", len(seconds), kind)
	if len(seconds) == 1 {
		from = "the only run of " + kind
	}
	return Cost{median(seconds), median(peaks), median(sizes), from}, nil
}

// median is the upper one of two in the middle; 0 of none.
func median[N int64 | float64](all []N) N {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}
