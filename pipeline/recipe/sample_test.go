package recipe

import (
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
)

func show(r *Recipe, diags hcl.Diagnostics) string {
	var b strings.Builder
	_ = hcl.NewDiagnosticTextWriter(&b, r.Files, 0, false).WriteDiagnostics(diags)
	return b.String()
}

func TestSampleOfTheDesign(t *testing.T) {
	r, diags := Load("testdata/llama3-int4.hcl", Options{Catalog: testCatalog()})
	if len(diags) > 0 {
		t.Fatal(show(r, diags))
	}
	var got []string
	for _, s := range r.Stages {
		got = append(got, s.Address)
	}
	want := []string{
		"download.base", "download.c4", "download.wikitext", "calibrate.c4",
		`gptq.int4["g128"]`, `gptq.int4["g32"]`, `onnx.int4["g128"]`, `onnx.int4["g32"]`,
		`tensorrt.int4["g128"]`, `tensorrt.int4["g32"]`, "perplexity.base", `perplexity.int4["g128"]`, `perplexity.int4["g32"]`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("stages %q, want %q", got, want)
	}
	if ref := r.Stage(`onnx.int4["g32"]`).Inputs["model"].Ref; *ref != (Ref{`gptq.int4["g32"]`, "model", "model/hf"}) {
		t.Errorf("the chained instance refers to %+v", ref)
	}
	q := r.Stage(`perplexity.int4["g32"]`).Requires[0]
	if want := []MetricRef{{"", "perplexity"}, {"perplexity.base", "perplexity"}}; !slices.Equal(q.Reads, want) {
		t.Errorf("the require reads %v, want %v", q.Reads, want)
	}
	if o := r.Outputs[0]; o.Ref == nil || o.Ref.Address != `tensorrt.int4["g128"]` || o.Ref.Port != "engine" {
		t.Errorf("output %+v", o)
	}
	for _, c := range []struct {
		own     float64
		ok      bool
		message string
	}{{16.4, true, ""}, {16.5, false, "INT4 lost too much: 16.5 against 16"}} {
		ok, message, diags := q.Check(func(m MetricRef) (float64, bool) {
			if m.Address == "" {
				return c.own, true
			}
			return 16, m == MetricRef{"perplexity.base", "perplexity"}
		})
		if ok != c.ok || message != c.message || len(diags) > 0 {
			t.Errorf("at %v: %v %q %v", c.own, ok, message, diags)
		}
	}
}
