package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

const crowd = 10 // builds at once

// gated is a recipe whose middle stage waits at a gate, so that a crowd of builds has to wait for it.
var gated = map[string]string{
	"data.txt": "some data\n",
	"recipe.hcl": `
stage "pinned" "data" {
  source = "file:data.txt"
}
stage "trial" "slow" {
  mode = "gated"
  text = pinned.data.files
}
stage "upper" "loud" {
  text = trial.slow.files
}
stage "make" "hello" {
  text = "hello"
}
stage "join" "all" {
  parts = { a = make.hello.files, b = upper.loud.text }
}
`,
}

var sharedKinds = []string{"pinned", "trial", "upper", "make", "join"}

// crowded is ten builds of one recipe, nine of which wait for the gated stage of the tenth.
type crowded struct {
	*scene
	open   func() // the gate
	holder *process
	others []*process
}

const gatedStage = "trial.slow"

func newCrowd(t *testing.T) *crowded {
	c := &crowded{scene: newScene(t, gated)}
	c.open = c.gate()
	all := make([]*process, crowd)
	for i := range all {
		all[i] = c.start(nil, "build", "--json")
	}
	until(t, "one build works and the others wait for it and show its progress", func() bool {
		c.holder, c.others = nil, nil
		for _, p := range all {
			if p.hasEnded() {
				p.well()
				t.Fatal("a build ended before the gate was open")
			}
			switch {
			case p.saw(gatedStage, event.Started, "") > 0:
				c.holder = p
			case p.saw(gatedStage, event.Queued, "which makes it") > 0 && p.saw(gatedStage, event.Progress, "at the gate") > 0:
				c.others = append(c.others, p)
			}
		}
		return c.holder != nil && len(c.others) == crowd-1
	})
	for _, p := range c.others {
		if p.saw(gatedStage, event.Queued, "waits for build "+c.holder.id()+" ") == 0 {
			t.Errorf("a build does not say whom it waits for:\n%s", p.said())
		}
	}
	return c
}

// saw gives the number of the first event of a type that says something of a stage, from 1; 0 where there is none.
func (p *process) saw(stage string, typ event.Type, text string) int {
	return slices.IndexFunc(p.events(), func(e event.Event) bool {
		return e.Stage == stage && e.Type == typ && strings.Contains(e.Message+e.What, text)
	}) + 1
}

// id is that of the build.
func (p *process) id() string {
	all := p.events()
	if len(all) == 0 {
		return "none"
	}
	return all[0].Build
}

// finish opens the gate; every build that lives must end well.
func (c *crowded) finish() {
	c.t.Helper()
	c.open()
	for _, p := range append(c.others, c.holder) {
		if !p.killed() {
			p.well()
		}
	}
	c.sound()
	left, err := leftovers(c.cache())
	must(c.t, err)
	if len(left) > 0 {
		c.t.Errorf("left over: %q", left)
	}
}

// successor waits for the one build that takes over from the dead holder, and sees that the eight others wait for it.
func (c *crowded) successor() *process {
	c.t.Helper()
	var next *process
	until(c.t, "one build takes over and the others wait for it", func() bool {
		waiting := 0
		next = nil
		for _, p := range c.others {
			if p.saw(gatedStage, event.Started, "") > 0 {
				next = p
			}
		}
		for _, p := range c.others {
			if next != nil && p != next && p.saw(gatedStage, event.Queued, "waits for build "+next.id()+" ") > 0 {
				waiting++
			}
		}
		return waiting == crowd-2
	})
	// It goes straight from waiting to work: nothing else, such as a pause or a failed attempt, comes in between.
	begun := next.saw(gatedStage, event.Started, "")
	for _, e := range next.events()[next.saw(gatedStage, event.Queued, "which makes it"):begun] {
		if e.Stage == gatedStage && !slices.Contains([]event.Type{event.Queued, event.Progress, event.Started}, e.Type) {
			c.t.Errorf("between waiting and work it says %+v", e)
		}
	}
	return next
}

func TestTenBuildsOfOneRecipe(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	c.finish()
	c.ranOnce(sharedKinds...)
}

// A dead build's worker goes on, and one of those who wait takes it over; nothing is repeated.
func TestTenBuildsWhoseHolderDies(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	c.holder.kill()
	next := c.successor()
	if next.saw(gatedStage, event.Started, "an earlier build started it") == 0 {
		t.Errorf("it was not taken over but begun anew:\n%s", next.said())
	}
	c.finish()
	c.ranOnce(sharedKinds...)
}

// A build that dies with its supervisor and its worker leaves nothing to take over: another one begins anew, at once.
func TestTenBuildsWhoseHolderDiesWithItsWorker(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	workers := c.workers()
	if len(workers) < 2 {
		t.Fatalf("the processes %v are no supervisor and worker", workers)
	}
	for _, pid := range append(workers, c.holder.Process.Pid) {
		must(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	c.successor()
	c.finish()
	times := c.runs()
	for _, kind := range sharedKinds {
		want := 1
		if kind == "trial" {
			want = 2
		}
		if times[kind] != want {
			t.Errorf("%s was run %d times, want %d", kind, times[kind], want)
		}
	}
}

// Ten builds of ten recipes that share stages: each has others, none has all.
func TestTenBuildsOfOverlappingRecipes(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil)
	texts := []string{"a", "b", "c", "d", "e"}
	runs := map[string]int{"make": len(texts), "upper": len(texts), "join": crowd}
	var all []*process
	for i := range crowd {
		var recipe, parts strings.Builder
		for j, text := range texts {
			if (i+j)%len(texts) >= 3 && i != 0 { // three of five each, and one that has all
				continue
			}
			fmt.Fprintf(&recipe, "stage \"make\" \"n%d\" {\n  text = %q\n}\nstage \"upper\" \"loud%d\" {\n  text = make.n%d.files\n}\n", j, text, j, j)
			fmt.Fprintf(&parts, "p%d_%d = upper.loud%d.text, ", i, j, j)
		}
		fmt.Fprintf(&recipe, "stage \"join\" \"all\" {\n  parts = { %s }\n}\n", strings.TrimSuffix(parts.String(), ", "))
		name := fmt.Sprintf("r%d.hcl", i)
		s.write(name, recipe.String())
		all = append(all, s.start(nil, "build", name))
	}
	for _, p := range all {
		p.well()
	}
	times := s.runs()
	for kind, want := range runs {
		if times[kind] != want {
			t.Errorf("%s was run %d times, want %d", kind, times[kind], want)
		}
	}
	s.sound()
	left, err := leftovers(s.cache())
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}
