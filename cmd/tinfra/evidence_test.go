package main

import (
	"testing"

	"github.com/Ruihan11/tiny-infra/stages"
)

func TestSpeedIsOfOneModel(t *testing.T) {
	catalog, err := stages.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	kinds := kindsOf(catalog)
	for name, want := range map[string]bool{"benchmark": true, "contest_entry": true, "contest": false, "perplexity": false, "gptq": false} {
		if got := kinds[name].Measured; got != want {
			t.Errorf("%s measures the speed of one model: %v, want %v", name, got, want)
		}
	}
}
