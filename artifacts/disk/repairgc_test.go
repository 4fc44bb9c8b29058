package disk_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// A key that a repair sets beside a collection keeps its files.
func TestRepairBesideACollection(t *testing.T) {
	p := planOne(t)
	var going artifacts.Result
	for _, r := range p.found.Results {
		if r.Need == "" {
			going = r
		}
	}
	s, c := p.another(t)
	name := "keys/" + going.Key.Hex()
	artifacts.Crash = func(at string) {
		if at != artifacts.StepCollectKeys {
			return
		}
		artifacts.Crash = nil
		// It is damaged, by the time that it would have been repaired.
		must(t, os.WriteFile(filepath.Join(s.Dir(), name), []byte("sha256:"+artifacts.Sum([]byte("x")).Hex()), 0o644))
		did, err := c.Repair(t.Context(), s, artifacts.Problem{Name: name, Kind: artifacts.Dangling})
		t.Log(did, err)
	}
	defer func() { artifacts.Crash = nil }()
	p.collect(t)
	if _, _, err := s.Get(t.Context(), name); err != nil {
		return
	}
	if _, _, err := c.Lookup(t.Context(), going.Key); err != nil {
		t.Errorf("the key that was made again dangles: %v", err)
	}
}
