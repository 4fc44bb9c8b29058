package report

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/lineage"
)

func columnIDs(cs []*Column) string {
	var ids []string
	for _, c := range cs {
		ids = append(ids, c.ID)
	}
	return strings.Join(ids, " ")
}

func figure(t *testing.T, r *Report, row, column string) *Figure {
	t.Helper()
	f := r.row(row).Figure(column)
	if f == nil {
		t.Fatalf("row %s has no %s; there is %s", row, column, columnIDs(r.Columns))
	}
	return f
}

func TestTwoStagesOfOneKindGiveTwoColumns(t *testing.T) {
	r := mustMake(t, fiveQuestion())
	one := figure(t, r, "gptq", "benchmark.decode_tokens_per_second[batch 1]")
	four := figure(t, r, "gptq", "benchmark.decode_tokens_per_second[batch 4]")
	if one.Stage != `benchmark.gptq["b1"]` || four.Stage != `benchmark.gptq["b4"]` || one.Value >= four.Value {
		t.Errorf("batch 1 is %+v, batch 4 is %+v", one, four)
	}
	if c := r.Column("benchmark.batch[batch 1]"); c != nil {
		t.Error("the batch is a column beside its own heading")
	}
	if c := r.Column("perplexity.perplexity"); c == nil || c.Variant != "" {
		t.Errorf("perplexity is there once in a row and needs no variant: %+v", c)
	}
}

func TestStagesWithEqualParamsAreToldApartByWhatTheyRead(t *testing.T) {
	c := newChain()
	c.add("gptq", "gptq.a", made{types: map[string]string{"model": "model/hf"}, bytes: 10, seconds: 1})
	c.add("onnx", "onnx.a", made{inputs: map[string]string{"model": "gptq.a.model"}, types: map[string]string{"model": "model/onnx"}, bytes: 20, seconds: 1})
	for _, from := range []string{"gptq", "onnx"} {
		c.add("perplexity", "perplexity."+from, made{inputs: map[string]string{"model": from + ".a.model"},
			types: map[string]string{"result": "result/perplexity"}, seconds: 1, metrics: map[string]float64{"perplexity": 2}})
	}
	r := mustMake(t, Question{Runs: c.runs, Kinds: fiveKinds, Rows: []Asked{{Name: "a", Runs: c.runs}}})
	for _, id := range []string{"perplexity.perplexity[HF]", "perplexity.perplexity[ONNX]"} {
		figure(t, r, "a", id)
	}
	if size := figure(t, r, "a", sizeColumn); size.Value != 20 || size.Stage != "onnx.a" {
		t.Errorf("the row is about its last model: %+v", size)
	}
}

// TestFiguresOfAContestBelongToTheirModels has a contest of a checkpoint and an engine; each entry of it names its model.
func TestFiguresOfAContestBelongToTheirModels(t *testing.T) {
	c := newChain()
	c.add("gptq", "gptq.a", made{types: map[string]string{"model": "model/hf"}, bytes: 10, seconds: 1})
	c.add("tensorrt", "tensorrt.a", made{inputs: map[string]string{"model": "gptq.a.model"}, bytes: 20, seconds: 1,
		types: map[string]string{"engine": "engine/tensorrt", "timing": "engine/timing", "report": "result/engine"}})
	c.add("contest", "contest.all", made{types: map[string]string{"result": "result/contest"}, seconds: 1, metrics: map[string]float64{"repeats": 5},
		inputs: map[string]string{"models[a]": "gptq.a.model", "models[trt]": "tensorrt.a.engine"}})
	for name, of := range map[string]string{"a": "gptq.a.model", "trt": "tensorrt.a.engine"} {
		c.add("contest_entry", "contest_entry."+name, made{types: map[string]string{"result": "result/benchmark"}, seconds: 1,
			metrics: map[string]float64{"decode_tokens_per_second": 100}, inputs: map[string]string{"contest": "contest.all.result", "model": of}})
	}
	kinds := map[string]Kind{"contest_entry": fiveKinds["benchmark"], "contest": {Metrics: []Metric{{Name: "repeats", Better: "higher"}}}}
	var got []string
	for _, row := range DefaultRows(c.runs, kinds) {
		for _, r := range row.Runs {
			got = append(got, row.Name+": "+r.Address)
		}
	}
	slices.Sort(got)
	want := []string{"gptq.a: contest_entry.a", "gptq.a: gptq.a", "tensorrt.a: contest_entry.trt", "tensorrt.a: tensorrt.a"}
	if !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	r := mustMake(t, Question{Runs: c.runs, Kinds: kinds, Rows: DefaultRows(c.runs, kinds)})
	if size := figure(t, r, "tensorrt.a", sizeColumn); size.Value != 20 {
		t.Errorf("the engine is the row's model: %+v", size)
	}
	if speed := r.Column("contest_entry.decode_tokens_per_second"); speed == nil || !speed.Headline {
		t.Errorf("an entry's speed stands in the first table: %+v", speed)
	}
}

// TestColumnsOfOneKindStandInTheOrderOfTheirVariants has a first row that was measured at batch 8 only, and a second at all.
func TestColumnsOfOneKindStandInTheOrderOfTheirVariants(t *testing.T) {
	c := newChain()
	c.add("gptq", "gptq.a", made{types: map[string]string{"model": "model/hf"}, bytes: 10, seconds: 1})
	at := func(batch string) *Run {
		return c.add("contest_entry", "contest_entry.b"+batch, made{types: map[string]string{"result": "result/benchmark"}, seconds: 1,
			params: map[string]any{"batch": batch}, metrics: map[string]float64{"decode_tokens_per_second": 100}, inputs: map[string]string{"model": "gptq.a.model"}})
	}
	rows := []Asked{
		{Name: "one", Runs: []*Run{at("8")}},
		{Name: "all", Runs: []*Run{at("saturation"), at("32"), at("1"), at("8")}},
	}
	r := mustMake(t, Question{Runs: c.runs, Kinds: map[string]Kind{"contest_entry": fiveKinds["benchmark"]}, Rows: rows})
	var got []string
	for _, column := range r.Columns {
		if column.Metric == "decode_tokens_per_second" {
			got = append(got, column.Variant)
		}
	}
	if want := []string{"batch 1", "batch 8", "batch 32", "batch saturation"}; !slices.Equal(got, want) {
		t.Errorf("columns %q, want %q", got, want)
	}
}

// TestVariantsHaveOneOrder goes through all triples: numbers among words must not make a circle.
func TestVariantsHaveOneOrder(t *testing.T) {
	ordered := []string{"", "batch 1", "batch 2, hf", "batch 2, onnx", "batch 9", "batch 10", "batch 1a", "batch saturation", "prompt 3"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := compareVariants(a, b); got != cmp.Compare(i, j) {
				t.Errorf("%q and %q: %d", a, b, got)
			}
		}
	}
}

func TestIntervalsBelongToTheirFigure(t *testing.T) {
	r := mustMake(t, fiveQuestion())
	f := figure(t, r, "fp32", "perplexity.perplexity")
	if f.Low == nil || f.High == nil || *f.Low >= f.Value || *f.High <= f.Value {
		t.Errorf("perplexity without its interval: %+v", f)
	}
	if strings.Contains(columnIDs(r.Columns), "perplexity_low") {
		t.Error("the end of an interval is a column")
	}
	if c := r.Column("perplexity.perplexity"); !strings.Contains(c.Explained(), "Low end: Lower bound of the 95 % interval") {
		t.Errorf("nobody says what the interval is: %s", c.Explained())
	}
}

func TestBestGoesByTheDirection(t *testing.T) {
	r := mustMake(t, fiveQuestion())
	for column, want := range map[string]string{
		"perplexity.perplexity": "fp32", "compare.kl_mean": "gptq-asym", "compare.same_top1": "gptq-asym",
		"benchmark.decode_tokens_per_second[batch 1]": "awq", sizeColumn: "rtn gptq", "perplexity.tokens": "",
		"benchmark.peak_memory_bytes[batch 1]": "", // all are the same: none is best
	} {
		var best []string
		for _, row := range r.Rows {
			if f := row.Figure(column); f != nil && f.Best {
				best = append(best, row.Name)
			}
		}
		if got := strings.Join(best, " "); got != want {
			t.Errorf("%s: best is %q, want %q", column, got, want)
		}
	}
}

func TestEveryFigureHasItsRecord(t *testing.T) {
	q := fiveQuestion()
	r := mustMake(t, q)
	listed := map[artifacts.Digest]*Evidence{}
	for _, e := range r.Records {
		listed[e.Record] = e
	}
	for _, row := range r.Rows {
		for _, f := range row.Figures {
			if len(f.Records) == 0 {
				t.Errorf("%s of %s has no record", f.Column, row.Name)
			}
			for _, d := range f.Records {
				e := listed[d]
				if e == nil {
					t.Fatalf("%s of %s: record %s is not listed", f.Column, row.Name, d.Short())
				}
				if want := "tinfra show " + d.String(); e.Command != want {
					t.Errorf("command %q, want %q", e.Command, want)
				}
			}
			c := r.Column(f.Column)
			if e := listed[f.Record()]; c.Metric != sizeColumn && c.Metric != timeColumn && c.Metric != memoryColumn && e.Metrics[c.Metric] != f.Value {
				t.Errorf("%s of %s is %v, its record says %v", f.Column, row.Name, f.Value, e.Metrics[c.Metric])
			}
		}
	}
}

func TestBuildTimeCountsWhatTheModelIsMadeFrom(t *testing.T) {
	r := mustMake(t, fiveQuestion())
	f := figure(t, r, "gptq", timeColumn)
	want := 1.6 + 21 + 0.9 + 1.6 + 174 // download, import, text, calibrate, gptq; no perplexity, no benchmark
	if diff := f.Value - want; diff > 1e-9 || diff < -1e-9 || len(f.Records) != 5 {
		t.Errorf("build time %v of %d runs, want %v of 5", f.Value, len(f.Records), want)
	}
	if m := figure(t, r, "gptq", memoryColumn); m.Value != 1800*mib {
		t.Errorf("peak memory %v", m.Value)
	}
}

func TestSavedTimeIsThatOfTheHits(t *testing.T) {
	b := mustMake(t, fiveQuestion()).Build
	if b.Hits != 3 || b.Ran != len(b.Steps)-3 {
		t.Errorf("%d hits, %d ran", b.Hits, b.Ran)
	}
	if want := 1.6 + 21 + 0.9; b.SavedSecs < want-1e-9 || b.SavedSecs > want+1e-9 {
		t.Errorf("saved %v s, want %v", b.SavedSecs, want)
	}
}

func TestEqualStagesSaveOnce(t *testing.T) {
	c := newChain()
	run := c.add("make", "make.a", made{types: map[string]string{"files": "files"}, seconds: 5, hit: true})
	c.build.Steps = append(c.build.Steps, artifacts.Step{Address: "make.b", Kind: "make", Record: run.Record, State: artifacts.Hit})
	if b := newBuild(c.build, c.runs); b.SavedSecs != 5 {
		t.Errorf("one run was saved for two stages: %v s, want 5", b.SavedSecs)
	}
}

func TestSyntheticIsSaidEverywhere(t *testing.T) {
	q := fiveQuestion()
	for _, r := range q.Runs {
		for port, a := range r.Outputs {
			a.Labels = map[string]string{"synthetic": "made up"}
			r.Outputs[port] = a
		}
	}
	r := mustMake(t, q)
	if !r.Synthetic || !r.Rows[0].Synthetic() {
		t.Fatal("the label is lost")
	}
	for form := range renderers {
		if text := strings.ToLower(render(t, r, form)); !strings.Contains(text, "synthetic") {
			t.Errorf("%s does not say so", form)
		}
	}
}

func TestFrontKeepsWhatIsNotBeaten(t *testing.T) {
	r := mustMake(t, fiveQuestion())
	want := map[string]string{
		sizeColumn: "gptq awq gptq-asym fp32", "benchmark.decode_tokens_per_second[batch 1]": "fp32 gptq-asym awq",
	}
	for _, f := range r.Fronts {
		if w, ok := want[f.X]; ok && strings.Join(f.Rows, " ") != w {
			t.Errorf("front over %s: %v, want %s", f.X, f.Rows, w)
		}
		delete(want, f.X)
	}
	if len(want) > 0 {
		t.Errorf("no front over %v", want)
	}
}

func TestDefaultRowsAreOneForEachModel(t *testing.T) {
	c := fiveSchemes()
	rows := DefaultRows(c.runs, fiveKinds)
	var names []string
	for _, row := range rows {
		names = append(names, row.Name)
	}
	want := []string{"import_gguf.base", "rtn.rtn", "gptq.gptq", "awq.awq", "gptq.gptq-asym"}
	if !slices.Equal(names, want) {
		t.Fatalf("rows %v, want %v", names, want)
	}
	var stages []string
	for _, r := range rows[1].Runs {
		stages = append(stages, r.Address)
	}
	if got, want := strings.Join(stages, " "), `rtn.rtn perplexity.rtn compare.rtn benchmark.rtn["b1"] benchmark.rtn["b4"]`; got != want {
		t.Errorf("stages %s, want %s", got, want)
	}
}

func TestWhatCannotBeAskedIsRefused(t *testing.T) {
	q := fiveQuestion()
	q.Baseline = "unheard"
	if _, err := Make(q); err == nil || !strings.Contains(err.Error(), "unheard") {
		t.Errorf("a baseline that is no row: %v", err)
	}
	q = fiveQuestion()
	q.Rows[1].Name = q.Rows[0].Name
	if _, err := Make(q); err == nil {
		t.Error("two rows of one name passed")
	}
	if _, err := Make(Question{}); err == nil {
		t.Error("a report of nothing passed")
	}
}

func TestProducersComeFirst(t *testing.T) {
	c := fiveSchemes()
	backwards := slices.Clone(c.runs)
	slices.Reverse(backwards)
	seen := map[artifacts.Digest]bool{}
	ordered := inOrder(backwards)
	for _, r := range ordered {
		for _, d := range r.Inputs {
			if from := newGraph(ordered).maker[d]; from != nil && !seen[from.Record] {
				t.Errorf("%s stands before %s", r.Address, from.Address)
			}
		}
		seen[r.Record] = true
	}
	if len(ordered) != len(c.runs) {
		t.Errorf("%d runs became %d", len(c.runs), len(ordered))
	}
}

func TestTwoStagesOfOneRecordBothStay(t *testing.T) {
	c := fiveSchemes()
	twin := *c.runs[len(c.runs)-1]
	twin.Address = "twin.of"
	all := append(slices.Clone(c.runs), &twin)
	if ordered := inOrder(all); len(ordered) != len(all) || !slices.Contains(ordered, &twin) {
		t.Errorf("%d runs became %d, or the twin is not among them", len(all), len(ordered))
	}
}

func TestNothingRanIsDrawnByWhatItOnceTook(t *testing.T) {
	c := newChain()
	c.add("make", "make.a", made{types: map[string]string{"files": "files"}, seconds: 5, hit: true})
	c.add("score", "score.a", made{inputs: map[string]string{"text": "make.a.files"}, types: map[string]string{"result": "result"}, seconds: 10, hit: true, metrics: map[string]float64{"score": 1}})
	c.build.Ended = c.build.Started.Add(200 * time.Millisecond)
	r := mustMake(t, Question{Runs: c.runs, Build: c.build, Rows: []Asked{{Name: "a", Runs: c.runs}}})
	tl := r.Timeline()
	if !tl.Reused || tl.Bars[0].Width != 50 || tl.Bars[1].Width != 100 || tl.Bars[1].Left != 0 {
		t.Errorf("%+v", tl.Bars)
	}
}

func TestTimelineOfARun(t *testing.T) {
	r := mustMake(t, fiveQuestion())
	bars := map[string]Bar{}
	for _, b := range r.Timeline().Bars {
		bars[b.Address] = b
		if b.Left < 0 || b.Left+b.Width > 100.01 {
			t.Errorf("%s leaves the drawing: %+v", b.Address, b)
		}
	}
	if hit := bars["import_gguf.base"]; !hit.Mark || hit.Left != 0 || hit.Width != 0 || hit.Said() != "reused" {
		t.Errorf("a hit: %+v", hit)
	}
	a, b := bars["gptq.gptq"], bars["perplexity.gptq"]
	if a.Mark || a.Width <= 0 || b.Left < a.Left+a.Width-0.02 {
		t.Errorf("gptq %+v, then its perplexity %+v", a, b)
	}
}

func TestWhatFailedHasNoBar(t *testing.T) {
	c := newChain()
	c.add("make", "make.a", made{types: map[string]string{"files": "files"}, seconds: 5})
	c.build.Steps = append(c.build.Steps, artifacts.Step{Address: "score.a", Kind: "score", State: artifacts.Failed, Reason: "it crashed"},
		artifacts.Step{Address: "score.b", Kind: "score", State: artifacts.Blocked})
	c.build.Exit, c.build.Problem = 3, "one stage failed"
	r := mustMake(t, Question{Title: "t", Runs: c.runs, Build: c.build, Rows: []Asked{{Name: "a", Runs: c.runs}}})
	for _, b := range r.Timeline().Bars[1:] {
		if b.Mark || b.Width != 0 {
			t.Errorf("%+v", b)
		}
	}
	page := render(t, r, "html")
	for _, said := range []string{"1 failed", "1 not run", "one stage failed"} {
		if !strings.Contains(page, said) {
			t.Errorf("the page does not say %q", said)
		}
	}
}

func TestOneModelTypeIsEnough(t *testing.T) {
	run := &Run{Run: lineage.Run{Kind: "score", Address: "score.a", Record: artifacts.Sum([]byte("x")), Metrics: map[string]float64{"score": 3}},
		Outputs: map[string]lineage.Artifact{"result": {Type: "result", Digest: artifacts.Sum([]byte("y"))}}}
	r := mustMake(t, Question{Title: "t", Runs: []*Run{run}, Rows: []Asked{{Name: "a", Runs: []*Run{run}}}})
	if got := columnIDs(r.Columns); got != "score.score" {
		t.Errorf("columns %s", got)
	}
	for form := range renderers { // without build, kinds, baseline
		render(t, r, form)
	}
}
