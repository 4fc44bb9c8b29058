package main

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
)

// aim is what a row shall reach, and how that is read from what was measured.
type aim struct {
	Text string
	// Reached gives the figure, and whether it is enough; no figure where something of it was not measured.
	Reached func(all results, row string) (figure string, enough bool)
}

// median gives a figure of a tool in a row; false where it was not measured.
func (all results) median(row, tool string, of func([]sample) spread[time.Duration]) (time.Duration, bool) {
	m, ok := all.Rows[row][tool]
	if !ok || len(m.Samples) == 0 {
		return 0, false
	}
	return of(m.Samples).Median, true
}

// ratio of two medians.
func (all results) ratio(rowA, toolA, rowB, toolB string, of func([]sample) spread[time.Duration]) (float64, bool) {
	a, okA := all.median(rowA, toolA, of)
	b, okB := all.median(rowB, toolB, of)
	return float64(a) / float64(max(b, 1)), okA && okB
}

// beside marks a ratio of figures that were not measured in one run.
func (all results) beside(row, tool string) string {
	if all.Rows[row]["tinfra"].Run == all.Rows[row][tool].Run {
		return tool
	}
	return tool + " †"
}

func within(factor float64, tool string) aim {
	return aim{fmt.Sprintf("at most %g × %s", factor, tool), func(all results, row string) (string, bool) {
		r, ok := all.ratio(row, "tinfra", row, tool, wallOf)
		return figure(ok, "%.2f × %s", r, all.beside(row, tool)), r <= factor
	}}
}

func withinRow(factor float64, other string) aim {
	return aim{fmt.Sprintf("at most %g × the own %s", factor, other), func(all results, row string) (string, bool) {
		r, ok := all.ratio(row, "tinfra", other, "tinfra", wallOf)
		return figure(ok, "%.2f × the own %s", r, other), r <= factor
	}}
}

func faster(factor float64, tool string) aim {
	return aim{fmt.Sprintf("at least %g × faster than %s", factor, tool), func(all results, row string) (string, bool) {
		r, ok := all.ratio(row, tool, row, "tinfra", wallOf)
		return figure(ok, "%.1f × faster than %s", r, all.beside(row, tool)), r >= factor
	}}
}

func lessCPU(factor float64, tool string) aim {
	return aim{fmt.Sprintf("at least %g × less CPU than %s", factor, tool), func(all results, row string) (string, bool) {
		r, ok := all.ratio(row, tool, row, "tinfra", cpuOf)
		return figure(ok, "%.1f × less CPU than %s", r, all.beside(row, tool)), r >= factor
	}}
}

// over is what something takes beyond the same without it.
func over(d time.Duration, without string) aim {
	return aim{fmt.Sprintf("at most %s over %s", short(d), without), func(all results, row string) (string, bool) {
		with, ok := all.median(row, "tinfra", wallOf)
		bare, ok2 := all.median(row, without, wallOf)
		return figure(ok && ok2, "%s over %s", short(with-bare), without), with-bare <= d
	}}
}

// sideBySide is more CPU than time: several files at once.
func sideBySide(factor float64) aim {
	return aim{"files are hashed side by side", func(all results, row string) (string, bool) {
		wall, ok := all.median(row, "tinfra", wallOf)
		cpu, _ := all.median(row, "tinfra", cpuOf)
		r := float64(cpu) / float64(max(wall, 1))
		return figure(ok, "%.1f cores busy", r), r >= factor
	}}
}

// touchedOnly compares the CPU with that of the row in which all were touched.
func touchedOnly(share float64, other string) aim {
	return aim{"hashes only what was touched", func(all results, row string) (string, bool) {
		r, ok := all.ratio(row, "tinfra", other, "tinfra", cpuOf)
		return figure(ok, "%.2f of the CPU of all", r), r <= share
	}}
}

func wallBelow(d time.Duration) aim {
	return aim{"at most " + short(d), func(all results, row string) (string, bool) {
		got, ok := all.median(row, "tinfra", wallOf)
		return figure(ok, "%s", short(got)), got <= d
	}}
}

func cpuBelow(d time.Duration) aim {
	return aim{fmt.Sprintf("at most %s of CPU", short(d)), func(all results, row string) (string, bool) {
		got, ok := all.median(row, "tinfra", cpuOf)
		return figure(ok, "%s of CPU", short(got)), got <= d
	}}
}

func perStage(d time.Duration) aim {
	return aim{fmt.Sprintf("at most %s a stage", fine(d)), func(all results, row string) (string, bool) {
		got, ok := all.median(row, "tinfra", wallOf)
		got /= time.Duration(max(1, all.Stages[row]))
		return figure(ok, "%s a stage", fine(got)), got <= d
	}}
}

func memoryBelow(mib int64) aim {
	return aim{fmt.Sprintf("at most %d MiB", mib), func(all results, row string) (string, bool) {
		m := all.Rows[row]["tinfra"]
		if len(m.Samples) == 0 {
			return "", false
		}
		got := memoryOf(m.Samples).Median
		return humanize.IBytes(uint64(got)), got <= mib<<20
	}}
}

// runsNothing needs no figure: a build that runs something ends the measurement.
var runsNothing = aim{"no command runs", func(all results, row string) (string, bool) {
	_, ok := all.median(row, "tinfra", wallOf)
	return figure(ok, "none ran"), true
}}

// readsNothing is told from the time that hashing what is there would take on top of the start.
func readsNothing(bytes float64) aim {
	const fastest, start = 4e9, 0.1 // bytes a second, more than two cores hash; seconds
	return aim{"reads none of them", func(all results, row string) (string, bool) {
		got, ok := all.median(row, "tinfra", cpuOf)
		return figure(ok, "%s of CPU", short(got)), got.Seconds() < start+bytes/fastest/10
	}}
}

func figure(measured bool, format string, args ...any) string {
	if !measured {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// fine is for a share of a whole.
func fine(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }
