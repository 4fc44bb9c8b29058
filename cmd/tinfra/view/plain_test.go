package view

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

func TestPlainWritesOneLineAHappening(t *testing.T) {
	var out bytes.Buffer
	p := NewPlain(&out, false, nil, false)
	for _, e := range []event.Event{
		{Time: at(0), Type: event.Planned, Stage: "download.base", State: "hit"},
		{Time: at(0), Type: event.Planned, Stage: "gptq.int4", State: "run", Reason: "params.bits changed: 4 → 2"},
		{Time: at(0), Type: event.Planned, Stage: "perplexity.int4", State: "pending"},
		{Time: at(0.1), Type: event.Finished, Stage: "download.base", State: "hit"},
		{Time: at(0.2), Type: event.Started, Stage: "gptq.int4", Attempt: 1},
		{Time: at(1), Type: event.Log, Stage: "gptq.int4", Stream: "stdout", Message: "torch says"},
		{Time: at(80), Type: event.Finished, Stage: "gptq.int4", State: "ran", Bytes: 1 << 20, Seconds: 79.8,
			Metrics: map[string]float64{"b": 2, "a": 1.23456789, "size_bytes": 3 << 20}, Labels: map[string]string{"synthetic": "seed 1"}},
		{Time: at(81), Type: event.Finished, Stage: "perplexity.int4", State: "failed", Seconds: 1, Message: "it said no\nat length"},
	} {
		p.Event(e)
	}
	want := `3 stages: 1 cached, 1 to run, 1 pending
    0.1s  hit       download.base
    0.2s  start     gptq.int4        params.bits changed: 4 → 2
   80.0s  ran       gptq.int4        1m19s  1.0 MiB  a 1.2346  b 2  size_bytes 3.0 MiB  synthetic
   81.0s  failed    perplexity.int4  1.0s  it said no
`
	if got := out.String(); got != want {
		t.Errorf("wrote:\n%s\nwant:\n%s", got, want)
	}
}

func TestPlainProgressIsSparse(t *testing.T) {
	var out bytes.Buffer
	p := NewPlain(&out, false, nil, false)
	p.Event(event.Event{Time: at(0), Type: event.Planned, Stage: "a.b", State: "run"})
	p.Event(event.Event{Time: at(0), Type: event.Started, Stage: "a.b"})
	for i := range 1001 { // a minute of progress, seventeen times a second
		p.Event(event.Event{Time: at(float64(i) * 0.06), Type: event.Progress, Stage: "a.b", Done: float64(i), Total: 1000, Unit: "rows"})
	}
	n := strings.Count(out.String(), "progress")
	if n < 10 || n > 12 {
		t.Errorf("%d lines of progress, want one a tenth:\n%s", n, &out)
	}
	if !strings.Contains(out.String(), "1000/1000 rows  100%") {
		t.Errorf("the end is not there:\n%s", &out)
	}
}

func TestETAIsOfThePresentPiece(t *testing.T) {
	b := NewBoard(nil)
	for _, e := range []event.Event{
		{Time: at(0), Type: event.Started, Stage: "a.b"},
		{Time: at(1), Type: event.Progress, Stage: "a.b", Done: 90, Total: 100, What: "loading"},
		{Time: at(10), Type: event.Progress, Stage: "a.b", Done: 0, Total: 50, What: "quantizing"},
		{Time: at(20), Type: event.Progress, Stage: "a.b", Done: 10, Total: 50, What: "quantizing"},
	} {
		b.Apply(e)
	}
	got, ok := b.Stage("a.b").ETA(at(20))
	if want := 40 * time.Second; !ok || got != want {
		t.Errorf("ETA %v, %v; want %v", got, ok, want)
	}
}

func TestJSONIsOneObjectALine(t *testing.T) {
	var out bytes.Buffer
	j := NewJSON(&out)
	j.Event(event.Event{Time: at(0), Type: event.Log, Message: "two\nlines"})
	j.Event(event.Event{Time: at(1), Type: event.Finished, Exit: 3})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines, want 2", len(lines))
	}
	var e event.Event
	if err := json.Unmarshal([]byte(lines[0]), &e); err != nil || e.Message != "two\nlines" {
		t.Errorf("%v, %q", err, e.Message)
	}
}

func TestAmounts(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Duration(-time.Second), "0ms"}, {Duration(35 * time.Millisecond), "35ms"}, {Duration(1234 * time.Millisecond), "1.2s"}, {Duration(59900 * time.Millisecond), "59s"},
		{Duration(85 * time.Second), "1m25s"}, {Duration(2*time.Hour + 4*time.Minute), "2h04m"},
		{Bytes(0), "0 B"}, {Bytes(1536), "1.5 KiB"}, {Bytes(-3), "0 B"},
		{Number(4), "4"}, {Number(21.97912), "21.979"}, {Number(1e-9), "1e-09"},
		{Count(1, "stage"), "1 stage"}, {Count(0, "stage"), "0 stages"},
		{clip("gptq.int4", 6), "gptq.…"}, {clip("ab", 2), "ab"}, {clip("ab", 0), ""},
		{Printable("a\x1b[31mb\x07\tc"), "ab c"}, {Printable("one\r\ntwo"), "one two"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func TestSummaryAligns(t *testing.T) {
	var out bytes.Buffer
	err := Summary(&out, []Row{
		{Stage: "download.base", State: "hit", Seconds: 3, Size: 1 << 20},
		{Stage: "perplexity.int4", State: "failed", Seconds: 61, PeakBytes: 3 << 30, Note: "too much lost",
			Metrics: map[string]float64{"perplexity": 28.708}, Synthetic: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `STAGE            RESULT   TIME  PEAK MEMORY     SIZE  METRICS
download.base    hit      3.0s            –  1.0 MiB
perplexity.int4  failed  1m01s      3.0 GiB        –  perplexity 28.708  (synthetic)  too much lost
`
	if got := out.String(); got != want {
		t.Errorf("wrote:\n%s\nwant:\n%s", got, want)
	}
}
