package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func samplesOf(walls ...time.Duration) []sample {
	var all []sample
	for _, w := range walls {
		all = append(all, sample{Wall: w, CPU: w / 2, Memory: 10 << 20})
	}
	return all
}

// TestPageHasSeveralRuns: of each tool the last run counts, ratios over two runs are marked, and what falls short is said.
func TestPageHasSeveralRuns(t *testing.T) {
	keep := filepath.Join(t.TempDir(), "results.json")
	b := &bench{scale: 1}
	noop := b.rows()[2]
	if noop.Name != "no-op" {
		t.Fatalf("the third row is %q", noop.Name)
	}
	for _, r := range []struct {
		run     string
		samples map[string][]sample
	}{
		{"20260101T000000Z", map[string][]sample{"Snakemake": samplesOf(3 * time.Second), "ninja": samplesOf(time.Second)}},
		{"20260102T000000Z", map[string][]sample{
			"tinfra": samplesOf(30*time.Millisecond, 10*time.Millisecond, 20*time.Millisecond), "ninja": samplesOf(5 * time.Millisecond)}},
	} {
		all, err := readResults(keep)
		if err != nil {
			t.Fatal(err)
		}
		all.Runs[r.run] = circumstances{Scale: 1}
		all.add(noop, r.run, r.samples)
		if err := all.write(keep); err != nil {
			t.Fatal(err)
		}
	}
	all, err := readResults(keep)
	if err != nil {
		t.Fatal(err)
	}
	page := b.page(all)
	for _, want := range []string{
		"| no-op | 20 ms | at most 3 × ninja | 4.00 × ninja | falls short |",
		"| at least 100 × faster than Snakemake | 150.0 × faster than Snakemake † | yes |",
		"| at least 300 × faster than DVC | – |  |",
		"| tinfra | 20 ms (10 ms – 30 ms) | 1.00 |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

func TestSpread(t *testing.T) {
	for want, walls := range map[time.Duration][]time.Duration{2: {3, 1, 2}, 3: {5, 1, 2, 4}, 7: {7}} {
		if got := wallOf(samplesOf(walls...)).Median; got != want {
			t.Errorf("the median of %v is %v", walls, got)
		}
	}
}
