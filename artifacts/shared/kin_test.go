package shared_test

import (
	"context"
	"testing"
)

// TestPiecesAreShared: of a tree that has a large file in common with another, only the rest is sent.
func TestPiecesAreShared(t *testing.T) {
	w := newWorld(t)
	m := w.machine(t)
	large := noise(4, 5<<20)
	m.mustShare(m.make("x", "w.bin="+large, "a=a"))
	before := m.stored("packs/")
	made := m.make("y", "w.bin="+large, "a=another")
	m.mustShare(made)
	if grown := m.stored("packs/") - before; grown > 1<<10 {
		t.Errorf("packs have grown by %d bytes", grown)
	}
	other := w.machine(t)
	if err := other.remote.Fetch(context.Background(), made.out, nil); err != nil {
		t.Fatal(err)
	}
	other.has(made.out)
}

// TestPiecesOfKinAreShared: another process, which has sent nothing yet, builds upon the pieces of a stage's inputs, and of what the last build's
// stages of its kind have made.
func TestPiecesOfKinAreShared(t *testing.T) {
	ctx := context.Background()
	model := weights(80, 12<<20)
	edited := model[:3<<20] + weights(81, 64<<10) + model[3<<20+64<<10:]
	for name, prepare := range map[string]func(m *machine, first result){
		"input":      func(m *machine, first result) { m.input = first.manifest },
		"last build": func(m *machine, _ result) { must[int](t)(0, m.remote.Begin(ctx, "r.hcl")) },
		"neither":    func(*machine, result) {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.machine(t)
			first := m.make("x", "m.safetensors="+tensor("BF16", model))
			if err := m.remote.ShareBuild(ctx, m.build("r.hcl", 1, first)); err != nil {
				t.Fatal(err)
			}
			before := m.stored("packs/")
			m.again()
			prepare(m, first)
			second := m.make("y", "m.safetensors="+tensor("BF16", edited))
			m.mustShare(second)
			grown, limit := m.stored("packs/")-before, int64(4<<20)
			if few := grown <= limit; few != (name != "neither") {
				t.Errorf("packs have grown by %d bytes", grown)
			}
			w.whole(t, second, true)
		})
	}
}

func (m *machine) stored(prefix string) (n int64) {
	m.t.Helper()
	for o, err := range m.world.Walk(context.Background(), prefix, "") {
		if err != nil {
			m.t.Fatal(err)
		}
		n += o.Size
	}
	return n
}
