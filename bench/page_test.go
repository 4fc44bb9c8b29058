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

// TestPageTellsWhatIsStored: a row has the columns that its tools have figures for, and aims are read from them.
func TestPageTellsWhatIsStored(t *testing.T) {
	all, err := readResults("")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{scale: 1}
	told := map[string]row{}
	for _, r := range b.rows() {
		told[r.Name] = r
	}
	of := func(wall time.Duration, stored, requests int64) []sample {
		return []sample{{Wall: wall, CPU: wall, Memory: 100 << 20, Stored: stored, Requests: requests}}
	}
	run := "20260101T000000Z"
	all.Runs[run] = circumstances{Scale: 1}
	all.add(told["share, models"], run, map[string][]sample{"tinfra": of(3*time.Second, 600<<20, 0), "hf_xet": of(2*time.Second, 800<<20, 0), "restic": of(time.Second, 600<<20, 0)})
	all.add(told["share, variants"], run, map[string][]sample{"tinfra": of(time.Second, 500<<20, 0), oneVariant: of(time.Second, 200<<20, 0)})
	all.add(told["push, large"], run, map[string][]sample{"tinfra": of(10*time.Second, 0, 0), "minio-go": of(8*time.Second, 0, 0)})
	all.add(told["warm plan"], run, map[string][]sample{"tinfra": of(time.Second, 0, 31)})
	page := b.page(all)
	for _, want := range []string{
		"| share, models | 3.00 s | fewer bytes stored than hf_xet | 0.75 × the bytes of hf_xet | yes |",
		"|  |  | fewer bytes stored than restic | 1.00 × the bytes of restic | falls short |",
		"|  |  | no more CPU than hf_xet | 1.50 × the CPU of hf_xet | falls short |",
		"| share, Gaussian | not measured | at most 850 MiB stored | – |  |",
		"at most 2.5 × the bytes of the model alone | 2.50 × the bytes of the model alone | yes |",
		"at least 0.9 × the speed of minio-go | 0.80 × the speed of minio-go | falls short |",
		"at most 30 requests | 31 requests | falls short |",
		"| memory | rounds | stored |\n", "| memory | rounds | requests |\n", "| 1 | 600 MiB |\n", "| 1 | 31 |\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

// TestPageSaysWhatWasLeftOut: a row without room has its reason on the page, until it is measured.
func TestPageSaysWhatWasLeftOut(t *testing.T) {
	all, err := readResults("")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{scale: 1}
	noop := b.rows()[2]
	all.Left[noop.Name] = tooFull{20 << 30, 16 << 30}.Error()
	all.add(noop, "20260101T000000Z", nil)
	const want = "Not measured: it takes up to 20 GiB, and of 16 GiB that are free 15 GiB shall stay."
	if page := b.page(all); !strings.Contains(page, want) {
		t.Errorf("the page lacks %q:\n%s", want, page)
	}
	all.add(noop, "20260102T000000Z", map[string][]sample{"ninja": samplesOf(time.Second)})
	if page := b.page(all); strings.Contains(page, want) {
		t.Error("a row that was measured is said to be left out")
	}
}
