package lineage_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/lineage"
)

func TestConditionsChooseRuns(t *testing.T) {
	w := newWorld(t)
	c := w.chain()
	x := w.index()
	for text, want := range map[string][]*ran{
		`kind == "gptq"`:                                           {c.three, c.four},
		`"gptq" == kind && params.bits == 4`:                       {c.four},
		`params.group.size == 64 && kind != "download"`:            {c.three, c.four},
		`metrics.perplexity < 30`:                                  {c.scoreFour},
		`metrics.perplexity != 40`:                                 {c.scoreFour},
		`!(metrics.perplexity < 30)`:                               {c.scoreThree},
		`kind == "gptq" && metrics.perplexity < 30`:                nil,
		`kind == "download" || metrics.perplexity < 30`:            {c.scoreFour, c.base},
		`metrics["bits_per_weight"] > 4`:                           {c.four},
		`facts["gpu.arch"] == "sm_90" && seconds == 30`:            {c.scoreThree, c.scoreFour},
		`labels.scheme == "gptq" && peak_memory >= 1073741824`:     {c.three, c.four},
		`startswith(address, "perplexity.") && size > 2`:           {c.scoreFour},
		`state == "hit"`:                                           {c.base},
		`(kind == "gptq")`:                                         {c.three, c.four},
		`metrics.perplexity == 22.5 && metrics.perplexity <= 22.5`: {c.scoreFour},
		`metrics.nll == 0.1 && 0.1 >= metrics.nll`:                 {c.scoreThree},
		`metrics.nll > 0.1`:                                        nil,
		`20 < metrics.perplexity && (metrics.nll < 0.2)`:           {c.scoreThree},
		`!(metrics.nll != 0.1) && metrics.nll < 1e400`:             {c.scoreThree},
		`kind == "gptq" ? params.bits < 4 : kind == "download"`:    {c.three, c.base},
		`contains([3, 4], params.bits) && abs(params.bits) == 3`:   {c.three},
	} {
		condition, err := lineage.ParseCondition(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		runs, err := x.Runs(t.Context(), lineage.Filter{Where: condition})
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got, want := records(runs), digests(want...); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

func TestWrongConditionsSayWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	w.chain()
	x := w.index()
	for text, want := range map[string]string{
		``:                                      "Missing expression",
		`kind = "gptq"`:                         "Extra characters",
		`kind ==`:                               "expression",
		`knid == "gptq"`:                        "Did you mean kind?",
		`perplexity < 30`:                       `no "perplexity"`,
		`metrics.perplexty < 30`:                "Did you mean perplexity?",
		`metrics["perplexty"] < 30`:             "Did you mean perplexity?",
		`params.bit == 4`:                       "Did you mean bits?",
		`labels.nothing == "x"`:                 `No run has the label "nothing"`,
		`metrics.perplexity`:                    "this is number",
		`kind`:                                  "this is string",
		`metrics.perplexity < "thirty"`:         "number",
		`strlen(kind) == 4`:                     "strlen",
		`kind == "${file("/etc/passwd")}"`:      "file",
		`params.group < 3`:                      "number",
		`length(params.bits) == 3`:              "length",
		`kind == "${1e99999999}"`:               "Number too large",
		strings.Repeat("(", 5000):               "too long",
		strings.Repeat("!", 1000) + "kind.kind": "attribute",
	} {
		condition, err := lineage.ParseCondition(text)
		if err == nil {
			_, err = x.Runs(t.Context(), lineage.Filter{Where: condition})
		}
		var wrong *lineage.ConditionError
		if !errors.As(err, &wrong) || len(wrong.Diagnostics) == 0 {
			t.Errorf("%.60s: error %v is no ConditionError", text, err)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: error %q does not say %q", text, err, want)
		}
	}
}

func TestConditionOnAnEmptyIndexMatchesNothing(t *testing.T) {
	condition, err := lineage.ParseCondition(`metrics.perplexity < 30`)
	if err != nil {
		t.Fatal(err)
	}
	runs, err := newWorld(t).index().Runs(t.Context(), lineage.Filter{Where: condition})
	if err != nil || len(runs) != 0 {
		t.Errorf("got %v, %v", runs, err)
	}
}

// FuzzCondition: whatever is typed, the answer is a set of runs or a ConditionError with a place, and no run both fulfils
// a condition and its opposite.
func FuzzCondition(f *testing.F) {
	for _, text := range []string{
		`kind == "gptq" && metrics.perplexity < 30`, `metrics["perplexity"] != null`, `params.pins[0].path == "f"`, `params.pins[*].size == [4]`,
		`[for m in metrics : m if m > 3] == []`, `{for k, v in params : k => v} == {}`, `facts["gpu.arch"] == "sm_${90}"`, `metrics[kind] > 1`,
		`!(state == "hit") || size / seconds > 1e3 % 7`, `kind == <<EOT
gptq
EOT`, `min(params.bits, 1) < max(2, -3)`, "\x00", `${kind}`, `1/0 == 1`, `params.group["size"].x == 1`, `contains(params, 1)`,
		`null`, `kind == null`, `metrics == params`, `length(metrics) == 1`,
	} {
		f.Add(text)
	}
	w := newWorld(f)
	w.chain()
	x := w.index()
	f.Fuzz(func(t *testing.T, text string) {
		condition, err := lineage.ParseCondition(text)
		var wrong *lineage.ConditionError
		if err != nil {
			if !errors.As(err, &wrong) {
				t.Fatalf("%q: %v is no ConditionError", text, err)
			}
			for _, d := range wrong.Diagnostics {
				if d.Subject == nil {
					t.Fatalf("%q: no place: %v", text, d)
				}
			}
			return
		}
		runs, err := x.Runs(t.Context(), lineage.Filter{Where: condition})
		if err != nil && !errors.As(err, &wrong) {
			t.Fatalf("%q: %v is no ConditionError", text, err)
		}
		if len(runs) > 5 {
			t.Fatalf("%q: more runs than there are", text)
		}
		opposite, wrongOpposite := lineage.ParseCondition("!(" + text + "\n)")
		if err != nil || wrongOpposite != nil {
			return // a comment, or a value that is no bool for some run
		}
		others, err := x.Runs(t.Context(), lineage.Filter{Where: opposite})
		if err != nil && !errors.As(err, &wrong) {
			t.Fatalf("not %q: %v is no ConditionError", text, err)
		}
		for _, r := range others {
			if slices.Contains(records(runs), r.Record) {
				t.Fatalf("%s fulfils both %q and its opposite", r.Record, text)
			}
		}
	})
}
