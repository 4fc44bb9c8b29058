package main

import (
	"fmt"

	"github.com/dustin/go-humanize"
)

// count gives a median of what is counted of a tool in a row; false where it was not measured.
func (all results) count(row, tool string, of func([]sample) spread[int64]) (int64, bool) {
	m, ok := all.Rows[row][tool]
	if !ok || len(m.Samples) == 0 {
		return 0, false
	}
	n := of(m.Samples).Median
	return n, n > 0
}

func storedLess(tool string) aim {
	return aim{"fewer bytes stored than " + tool, func(all results, row string) (string, bool) {
		own, ok := all.count(row, "tinfra", storedOf)
		other, ok2 := all.count(row, tool, storedOf)
		return figure(ok && ok2, "%.2f × the bytes of %s", float64(own)/float64(max(other, 1)), all.beside(row, tool)), own < other
	}}
}

func storedWithin(factor float64, one string) aim {
	return aim{fmt.Sprintf("at most %g × the bytes of %s", factor, one), func(all results, row string) (string, bool) {
		own, ok := all.count(row, "tinfra", storedOf)
		other, ok2 := all.count(row, one, storedOf)
		r := float64(own) / float64(max(other, 1))
		return figure(ok && ok2, "%.2f × the bytes of %s", r, one), r <= factor
	}}
}

func storedBelow(bytes int64) aim {
	return aim{fmt.Sprintf("at most %s stored", humanize.IBytes(uint64(bytes))), func(all results, row string) (string, bool) {
		own, ok := all.count(row, "tinfra", storedOf)
		return figure(ok, "%s stored", humanize.IBytes(uint64(own))), own <= bytes
	}}
}

func requestsBelow(n int64) aim {
	return aim{fmt.Sprintf("at most %d requests", n), func(all results, row string) (string, bool) {
		own, ok := all.count(row, "tinfra", requestsOf)
		return figure(ok, "%d requests", own), own <= n
	}}
}

func noMoreCPU(tool string) aim {
	return aim{"no more CPU than " + tool, func(all results, row string) (string, bool) {
		r, ok := all.ratio(row, "tinfra", row, tool, cpuOf)
		return figure(ok, "%.2f × the CPU of %s", r, all.beside(row, tool)), r <= 1
	}}
}

func speedOf(factor float64, tool string) aim {
	return aim{fmt.Sprintf("at least %g × the speed of %s", factor, tool), func(all results, row string) (string, bool) {
		r, ok := all.ratio(row, tool, row, "tinfra", wallOf)
		return figure(ok, "%.2f × the speed of %s", r, all.beside(row, tool)), r >= factor
	}}
}
