package lineage_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/lineage"
)

func TestRunsHoldWhatRecordsAndActionsSay(t *testing.T) {
	w := newWorld(t)
	c := w.chain()
	runs, err := w.index().Runs(t.Context(), lineage.Filter{Build: c.second.ID})
	w.must(err)
	if got, want := records(runs), digests(c.base, c.three, c.scoreThree); !slices.Equal(got, want) {
		t.Fatalf("the second build has the runs %v, want %v", got, want)
	}
	r := runs[1]
	if r.Key != c.three.Key || r.Kind != "gptq" || r.Address != "gptq.int4" || r.BuildID != c.second.ID || r.State != artifacts.Ran {
		t.Errorf("run is %+v", r)
	}
	if runs[0].State != artifacts.Hit {
		t.Errorf("download.base is %q in the second build", runs[0].State)
	}
	want := map[string]any{"bits": 3.0, "group": map[string]any{"size": 64.0}}
	if !reflect.DeepEqual(r.Params, want) {
		t.Errorf("params are %v", r.Params)
	}
	if r.Metrics["bits_per_weight"] != 3.5 || r.Inputs["model"] != c.base.Outputs["model"] || r.Outputs["model"] != c.three.Outputs["model"] {
		t.Errorf("metrics %v, inputs %v, outputs %v", r.Metrics, r.Inputs, r.Outputs)
	}
	if r.Labels["scheme"] != "gptq" || r.OutputBytes != int64(len("bits 3")) || r.PeakMemory != 1<<30 || r.Seconds() != 100 {
		t.Errorf("labels %v, %d bytes, peak %d, %v s", r.Labels, r.OutputBytes, r.PeakMemory, r.Seconds())
	}
	if !r.Started.Equal(c.three.Started) || !r.Ended.Equal(c.three.Ended) || runs[2].Facts["gpu.arch"] != "sm_90" {
		t.Errorf("times %v %v, facts %v", r.Started, r.Ended, runs[2].Facts)
	}
}

func TestRunsAreChosenAndSorted(t *testing.T) {
	w := newWorld(t)
	c := w.chain()
	x := w.index()
	for name, test := range map[string]struct {
		filter lineage.Filter
		want   []*ran
	}{
		"all":            {lineage.Filter{}, []*ran{c.scoreThree, c.three, c.scoreFour, c.four, c.base}},
		"kind":           {lineage.Filter{Kind: "gptq"}, []*ran{c.three, c.four}},
		"address":        {lineage.Filter{Address: "gptq.int4"}, []*ran{c.three, c.four}},
		"in a build":     {lineage.Filter{Address: "gptq.int4", Build: c.first.ID}, []*ran{c.four}},
		"no such":        {lineage.Filter{Address: "gptq.int"}, nil},
		"recipe":         {lineage.Filter{RecipePath: "/r/a.hcl", Kind: "download"}, []*ran{c.base}},
		"another recipe": {lineage.Filter{RecipePath: "/r/b.hcl"}, nil},
		"records":        {lineage.Filter{Records: digests(c.four, c.base)}, []*ran{c.four, c.base}},
		"no records":     {lineage.Filter{Records: []artifacts.Digest{}}, nil},
		"sorted":         {lineage.Filter{Sort: "perplexity"}, []*ran{c.scoreFour, c.scoreThree, c.three, c.four, c.base}},
		"descending":     {lineage.Filter{Sort: "metrics.perplexity", Descending: true, Limit: 3}, []*ran{c.scoreThree, c.scoreFour, c.three}},
		"by seconds":     {lineage.Filter{Sort: "seconds", Limit: 2}, []*ran{c.base, c.scoreThree}},
		"limit":          {lineage.Filter{Limit: 2}, []*ran{c.scoreThree, c.three}},
	} {
		runs, err := x.Runs(t.Context(), test.filter)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got, want := records(runs), digests(test.want...); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestBuildsHoldFailedSteps(t *testing.T) {
	w := newWorld(t)
	c := w.chain()
	x := w.index()
	b, err := x.Build(t.Context(), c.second.ID)
	w.must(err)
	if !reflect.DeepEqual(b, mustDecode(t, c.second)) {
		t.Errorf("got  %+v\nwant %+v", b, c.second)
	}
	all, err := x.Builds(t.Context(), "/r/a.hcl")
	w.must(err)
	if len(all) != 2 || all[0].ID != c.first.ID || len(all[1].Steps) != 4 {
		t.Errorf("builds are %+v", all)
	}
	if _, err := x.Build(t.Context(), "nonsense"); err == nil {
		t.Error("a build that is not there was found")
	}
}

// mustDecode gives a build as it is read, its empty maps included.
func mustDecode(t *testing.T, b *artifacts.Build) *artifacts.Build {
	t.Helper()
	raw, _, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	out, err := artifacts.DecodeBuild(raw)
	if err != nil {
		t.Fatal(err)
	}
	out.Variables, out.Targets = map[string]string{}, []string{}
	return out
}

func TestAncestorsAndDescendants(t *testing.T) {
	w := newWorld(t)
	c := w.chain()
	x := w.index()
	up, err := x.Ancestors(t.Context(), c.scoreFour.Outputs["result"])
	w.must(err)
	if got, want := records(up.Runs), digests(c.scoreFour, c.four, c.base); !slices.Equal(got, want) {
		t.Errorf("ancestors %v, want %v", got, want)
	}
	if len(up.Artifacts) != 3 || up.Artifacts[c.base.Outputs["model"]].Bytes != 4 {
		t.Errorf("artifacts %v", up.Artifacts)
	}
	if m := up.Makers(c.four.Outputs["model"]); len(m) != 1 || m[0].Record != c.four.digest {
		t.Errorf("makers %v", m)
	}
	down, err := x.Descendants(t.Context(), c.base.Outputs["model"])
	w.must(err)
	if got, want := records(down.Runs), digests(c.scoreThree, c.three, c.scoreFour, c.four); !slices.Equal(got, want) {
		t.Errorf("descendants %v, want %v", got, want)
	}
	if u := down.Users(c.base.Outputs["model"]); len(u) != 2 {
		t.Errorf("users %v", u)
	}
	none, err := x.Ancestors(t.Context(), artifacts.Sum([]byte("unheard of")))
	w.must(err)
	if len(none.Artifacts)+len(none.Runs) != 0 {
		t.Errorf("an artifact that is not there has ancestors: %v", none)
	}
}

func TestForecast(t *testing.T) {
	w := newWorld(t)
	w.chain()
	costs, err := w.index().Forecast(t.Context(), []lineage.Want{
		{Address: "gptq.int4", Kind: "gptq", RecipePath: "/r/a.hcl"},
		{Address: "perplexity.other", Kind: "perplexity", RecipePath: "/r/b.hcl"},
		{Address: "awq.new", Kind: "awq", RecipePath: "/r/a.hcl"},
	})
	w.must(err)
	if costs[0].Seconds != 100 || costs[0].PeakMemory != 1<<30 || costs[0].OutputBytes != 6 || costs[0].From == "" {
		t.Errorf("the same address: %+v", costs[0])
	}
	if costs[1].Seconds != 30 || costs[1].From != "the median of 2 runs of perplexity" {
		t.Errorf("the median of the kind: %+v", costs[1])
	}
	if costs[2] != (lineage.Cost{}) {
		t.Errorf("nothing is known of awq, but: %+v", costs[2])
	}
}
