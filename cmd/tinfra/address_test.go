package main

import "testing"

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ in, address, port string }{
		{"gptq.int4", "gptq.int4", ""},
		{"gptq.int4.model", "gptq.int4", "model"},
		{`gptq.int4["g128"]`, `gptq.int4["g128"]`, ""},
		{`gptq.int4["g128"].model`, `gptq.int4["g128"]`, "model"},
		{"gptq.int4[g128].model", `gptq.int4["g128"]`, "model"},
		{"gptq.int4['a.b'].model", `gptq.int4["a.b"]`, "model"},
		{"gptq.int4[a.b]", `gptq.int4["a.b"]`, ""},
		{"gptq.int4[a]b].model", `gptq.int4["a]b"]`, "model"},
		{`gptq.int4["a].b"].model`, `gptq.int4["a].b"]`, "model"},
		{`gptq.int4["a\"].b"].model`, `gptq.int4["a\"].b"]`, "model"},
		{"module.q.gptq.int4", "module.q.gptq.int4", ""},
		{"module.q.gptq.int4.model", "module.q.gptq.int4", "model"},
		{"module.q[x].module.r.gptq.int4[g128].model", `module.q["x"].module.r.gptq.int4["g128"]`, "model"},
		{"module.q[x].module.r['y']", `module.q["x"].module.r["y"]`, ""},
		{"module.q", "module.q", ""},
		{"word", "word", ""},
		{"word[", "word[", ""},
		{"word[]", `word[""]`, ""},
		{"", "", ""},
	} {
		address, port := splitPort(c.in)
		if address != c.address || port != c.port {
			t.Errorf("%q: %q, %q; want %q, %q", c.in, address, port, c.address, c.port)
		}
	}
}

// A shell eats the quotes of --set's instance keys too; what is given as the value stays as it is.
func TestSetsWithoutQuotes(t *testing.T) {
	for in, want := range map[string]string{
		"gptq.int4.bits=2":                     "gptq.int4.bits=2",
		"module.q[a].gptq.int4[g=1].bits=[x]":  `module.q["a"].gptq.int4["g=1"].bits=[x]`,
		`module.q["a]=b"].sizes={ a = [1] }`:   `module.q["a]=b"].sizes={ a = [1] }`,
		`gptq.int4["g128"].ignore=["a", "b"]`:  `gptq.int4["g128"].ignore=["a", "b"]`,
		"gptq.int4['g128'].ignore=['a'].x=b[c": `gptq.int4["g128"].ignore=['a'].x=b[c`,
		"gptq.int4[g128.bits":                  "gptq.int4[g128.bits",
	} {
		if got := canonicalSet(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
