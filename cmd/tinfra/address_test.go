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
