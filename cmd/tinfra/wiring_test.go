package main

import (
	"encoding/json"
	"testing"

	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
)

func TestWhatWorkersAreToldOfTheProject(t *testing.T) {
	for want, p := range map[string]recipe.Project{
		`{}`: {Jobs: 3},
		`{"allowed_hosts":["huggingface.co"],"endpoint":"https://mirror.example.org"}`: {
			AllowedHosts: []string{"huggingface.co"}, Endpoint: "https://mirror.example.org",
		},
	} {
		if text, err := json.Marshal(settings(&p)); err != nil || string(text) != want {
			t.Errorf("%s, %v; want %s", text, err, want)
		}
	}
}
