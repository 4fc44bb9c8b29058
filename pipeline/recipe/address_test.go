package recipe

import (
	"slices"
	"testing"
)

func TestCovers(t *testing.T) {
	const deep = `module.q["a.b"].module.in.gptq.int4["g]\"1"]`
	for _, c := range []struct {
		named, address string
		want           bool
	}{
		{"gptq.int4", "gptq.int4", true},
		{"gptq.int4", `gptq.int4["a"]`, true},
		{"gptq.int", "gptq.int4", false},
		{"gptq", "gptq.int4", false},
		{`gptq.int4["a"]`, "gptq.int4", false},
		{`gptq.int4["a"]`, `gptq.int4["b"]`, false},
		{"gptq.int4.model", "gptq.int4", false},
		{"module.q", "module.q.gptq.int4", true},
		{"module.q", "module.quick.gptq.int4", false},
		{"module.q.gptq.int4", "gptq.int4", false},
		{"module.q", deep, true},
		{`module.q["a.b"]`, deep, true},
		{`module.q["a"]`, deep, false},
		{"module.q.module.in", deep, true},
		{"module.q.module.in.gptq.int4", deep, true},
		{`module.q.module.in.gptq.int4["g]\"1"]`, deep, true},
		{"module.q.gptq.int4", deep, false},
		{deep, deep, true},
		{"gptq.int4", "gptq.int4.", false},
		{"gptq.int4.", "gptq.int4", false},
		{"", "", true},
		{"", deep, false},
	} {
		if got := Covers(c.named, c.address); got != c.want {
			t.Errorf("%s covers %s: %v", c.named, c.address, got)
		}
	}
}

func TestModulesOfAStage(t *testing.T) {
	s := &Stage{Module: `module.q["a.b"].module.in`}
	if got, want := s.Modules(), []string{"module.q", `module.q["a.b"]`, `module.q["a.b"].module.in`}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := (&Stage{}).Modules(); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func TestSplitAddress(t *testing.T) {
	for _, c := range []struct{ in, address, rest string }{
		{"gptq.int4", "gptq.int4", ""},
		{"gptq.int4.model", "gptq.int4", "model"},
		{`gptq.int4["a.b"].model`, `gptq.int4["a.b"]`, "model"},
		{"module.q.gptq.int4", "module.q.gptq.int4", ""},
		{`module.q["x"].gptq.int4["g64"].model`, `module.q["x"].gptq.int4["g64"]`, "model"},
		{"module.q.model", "module.q.model", ""},
		{"word", "word", ""},
		{"", "", ""},
	} {
		if address, rest := SplitAddress(c.in); address != c.address || rest != c.rest {
			t.Errorf("%s: %q and %q", c.in, address, rest)
		}
	}
}
