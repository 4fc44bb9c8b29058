package env

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// requirement is an entry of a lock.
type requirement struct {
	Name    string // without extras
	Version string
	Marker  string // the condition under which it is wanted
	Line    string // the entry without the condition
	Hashes  []string
}

// requirements reads what normalise wrote.
func requirements(lock []string) []requirement {
	all := make([]requirement, len(lock))
	for i, entry := range lock {
		words, hashes, _ := strings.Cut(entry, " --hash=sha256:")
		pin, marker, _ := strings.Cut(words, " ; ")
		name, version, _ := strings.Cut(pin, "==")
		name, _, _ = strings.Cut(name, "[")
		r := requirement{Name: name, Version: version, Marker: marker, Line: pin, Hashes: strings.Split(hashes, " --hash=sha256:")}
		for _, hash := range r.Hashes {
			r.Line += " --hash=sha256:" + hash
		}
		all[i] = r
	}
	return all
}

// evaluate runs where the package `packaging` is, which is what pip and uv understand conditions by.
const evaluate = `
import json, sys
from packaging.markers import Marker
asked = json.load(sys.stdin)
print(json.dumps([not text or Marker(text).evaluate(asked["markers"]) for text in asked["conditions"]]))`

// wanted are those whose condition holds on a machine. python is one of the environment `fetch`.
func wanted(ctx context.Context, python string, h *Hosted, all []requirement) ([]requirement, error) {
	conditions := make([]string, len(all))
	for i, r := range all {
		conditions[i] = r.Marker
	}
	asked, err := json.Marshal(map[string]any{"markers": h.Markers, "conditions": conditions})
	if err != nil {
		return nil, err
	}
	cmd := quiet(ctx, python, "-I", "-c", evaluate)
	cmd.Stdin = bytes.NewReader(asked)
	out, err := cmd.Output()
	var holds []bool
	if err == nil {
		err = json.Unmarshal(out, &holds)
	}
	if err != nil || len(holds) != len(all) {
		return nil, fmt.Errorf("asking which of the lock's conditions hold on the machine: %w", err)
	}
	var some []requirement
	for i, r := range all {
		if holds[i] {
			some = append(some, r)
		}
	}
	return some, nil
}
