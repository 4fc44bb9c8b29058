package main

import "fmt"

// count gives a median of what is counted of a tool in a row; false where it was not measured.
func (all results) count(row, tool string, of func([]sample) spread[int64]) (int64, bool) {
	m, ok := all.Rows[row][tool]
	if !ok || len(m.Samples) == 0 {
		return 0, false
	}
	n := of(m.Samples).Median
	return n, n > 0
}

func requestsBelow(n int64) aim {
	return aim{fmt.Sprintf("at most %d requests", n), func(all results, row string) (string, bool) {
		own, ok := all.count(row, "tinfra", requestsOf)
		return figure(ok, "%d requests", own), own <= n
	}}
}

func speedOf(factor float64, tool string) aim {
	return aim{fmt.Sprintf("at least %g × the speed of %s", factor, tool), func(all results, row string) (string, bool) {
		r, ok := all.ratio(row, tool, row, "tinfra", wallOf)
		return figure(ok, "%.2f × the speed of %s", r, all.beside(row, tool)), r >= factor
	}}
}
