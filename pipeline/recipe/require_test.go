package recipe

import (
	"strings"
	"testing"
)

func TestRequireEnabled(t *testing.T) {
	const text = base + `
variable "quality" { type = bool }
stage "perplexity" "ref" {
  for_each  = var.quality ? { it = 1 } : {}
  model     = download.base.model
  tokenizer = download.base.tokenizer
  text      = download.base.files
}
stage "perplexity" "v" {
  for_each  = { a = true, b = false }
  model     = download.base.model
  tokenizer = download.base.tokenizer
  text      = download.base.files
  require {
    enabled   = var.quality && each.value
    condition = metrics.perplexity < perplexity.ref["it"].metrics.perplexity + 1
    message   = "lost ${metrics.perplexity - perplexity.ref["it"].metrics.perplexity}"
  }
  require {
    enabled   = !var.quality || each.key == "b"
    condition = metrics.tokens > 0
  }
}
`
	for quality, want := range map[string]string{
		"true":  "a: perplexity.ref[\"it\"].perplexity b: .tokens",
		"false": "a: .tokens b: .tokens",
	} {
		r, diags := Load(write(t, "r.hcl", text), Options{Catalog: testCatalog(), Vars: map[string]string{"quality": quality}})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		var got []string
		for _, key := range []string{"a", "b"} {
			got = append(got, key+":")
			for _, q := range r.Stage(`perplexity.v["` + key + `"]`).Requires {
				for _, m := range q.Reads {
					if m.Address != "" || m.Name != "perplexity" { // the first reads its own too
						got = append(got, m.Address+"."+m.Name)
					}
				}
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("quality %s: %v, want %s", quality, got, want)
		}
	}
}
