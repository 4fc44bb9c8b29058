package report

import (
	"slices"
	"strings"
)

// headline are the metrics that a reader looks for first, in the order of the first table. Other metrics stand in the
// tables below it; of a kind that has none of these, the first one whose direction is known stands with the rest.
var headline = []string{
	sizeColumn, "bits_per_weight", "perplexity", "nll_difference", "kl_mean", "same_top1", "decode_tokens_per_second",
	"prefill_tokens_per_second", "peak_memory_bytes", timeColumn,
}

// spared are left to the tables below where the first one gets too wide, in this order.
var spared = []string{"prefill_tokens_per_second", "peak_memory_bytes", "same_top1"}

const mostHeadline = 11

const perSecond = "_per_second"

// choose marks the columns of the first table: of speeds, one for each variant; of all else, one.
func (r *Report) choose(kinds map[string]Kind) {
	measured := func(c *Column) bool {
		return slices.ContainsFunc(c.Kinds, func(k string) bool { return kinds[k].Measured })
	}
	for _, name := range headline {
		var one *Column
		for _, c := range r.Columns {
			switch {
			case c.Metric != name || c.Group != modelGroup && !c.Quality && !measured(c):
			case measured(c) && strings.HasSuffix(name, perSecond):
				c.Headline = true
			case one == nil || len(r.figures(c)) >= len(r.figures(one)): // the later one is about what is handed out
				one = c
			}
		}
		if one != nil {
			one.Headline = true
		}
	}
	r.chooseStrangers(measured)
	for _, name := range spared {
		if len(r.Headline()) > mostHeadline {
			r.drop(name)
		}
	}
}

// chooseStrangers marks a column of each kind whose metrics nobody here has heard of.
func (r *Report) chooseStrangers(measured func(*Column) bool) {
	shown := map[string]bool{}
	for _, c := range r.Columns {
		for _, k := range c.Kinds {
			shown[k] = shown[k] || c.Headline
		}
	}
	for _, c := range r.Columns {
		if c.Better == "" || c.Group == modelGroup || !c.Quality && !measured(c) || shown[c.Kinds[0]] {
			continue
		}
		shown[c.Kinds[0]] = true
		c.Headline = true
	}
}

func (r *Report) drop(metric string) {
	for _, c := range r.Columns {
		if c.Metric == metric {
			c.Headline = false
		}
	}
}

// Headline are the columns of the first table, in the order in which a reader looks for them.
func (r *Report) Headline() []*Column {
	rank := func(c *Column) int {
		if i := slices.Index(headline, c.Metric); i >= 0 {
			return i
		}
		return slices.Index(headline, "decode_tokens_per_second") // a stranger stands where the measurements do
	}
	var out []*Column
	for _, c := range r.Columns {
		if c.Headline {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b *Column) int { return rank(a) - rank(b) })
	return out
}
