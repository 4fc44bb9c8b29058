package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// victim is a recipe of one stage a kind, so that runs.log tells the stages apart; a download and a lock are among them.
var victim = map[string]string{
	"data.txt": "some data\n",
	"recipe.hcl": `
stage "pinned" "data" {
  source = "file:data.txt"
}
stage "upper" "loud" {
  text = pinned.data.files
}
stage "make" "hello" {
  text = "hello"
}
`,
}

var victimKinds = []string{"pinned", "upper", "make"}

// soak is set where the long forms of tests shall run.
var soak = os.Getenv("TINFRA_SOAK") != ""

// undisturbed is what a build leaves that nobody kills.
func undisturbed(t *testing.T, files map[string]string) []string {
	t.Helper()
	s := newScene(t, files)
	s.start(nil, "build").well()
	tree := s.tree()
	for _, line := range tree {
		if strings.HasPrefix(line, "left: ") {
			t.Fatalf("an undisturbed build: %s", line)
		}
	}
	return tree
}

// eachTime strikes at a step: the first time that a build comes there, and in the long form each time. Every step must
// be reached once.
func eachTime(t *testing.T, strike func(t *testing.T, at string) bool) {
	for _, step := range slices.Concat(artifacts.Steps, artifacts.WorkSteps) {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			for nth := 1; nth == 1 || soak; nth++ {
				reached := true
				t.Run(fmt.Sprint(nth), func(t *testing.T) { reached = strike(t, fmt.Sprintf("%s:%d", step, nth)) })
				if !reached && nth == 1 {
					t.Error("no build comes here")
				}
				if !reached || t.Failed() {
					return
				}
			}
		})
	}
}

// Nothing lost, nothing run twice, nothing to clean up: killed at any named step of publishing, a build is taken up by
// the next one, which leaves the very cache of an undisturbed build.
func TestSoakKilledAtEachStep(t *testing.T) {
	whole := undisturbed(t, victim)
	eachTime(t, func(t *testing.T, at string) bool {
		s := newScene(t, victim)
		first := s.start([]string{"TINFRA_TEST_CRASH=" + at}, "build")
		died := first.killed()
		if died {
			s.sound()
		} else {
			first.well()
		}
		s.start(nil, "build").well()
		s.same(whole)
		s.ranOnce(victimKinds...)
		again := s.start(nil, "build")
		again.well()
		if !strings.Contains(again.said(), "3 hit") {
			t.Errorf("a third build says\n%s", again.said())
		}
		s.ranOnce(victimKinds...)
		return died
	})
}

// What is large is moved out of the worker's workspace rather than read into memory: the points at which it is, once more.
func TestKilledWhileALargeOutputIsMoved(t *testing.T) {
	files := map[string]string{
		"data.txt":   strings.Repeat("some data\n", 30_000),
		"recipe.hcl": "stage \"pinned\" \"data\" {\n  source = \"file:data.txt\"\n}\n",
	}
	whole := undisturbed(t, files)
	for _, step := range []string{
		artifacts.StepAdoptTaken, artifacts.StepAdoptHashed, artifacts.StepAdoptNamed, artifacts.StepAdoptKept, artifacts.StepWorkNoted,
	} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, files)
			if first := s.start([]string{"TINFRA_TEST_CRASH=" + step + ":1"}, "build"); !first.killed() {
				t.Fatalf("it did not die: %v", first.ProcessState)
			}
			s.sound()
			s.start(nil, "build").well()
			s.same(whole)
			s.ranOnce("pinned")
		})
	}
}

// Each step under two builds: one stands at it until the other has come as far as it gets, and is killed then. The
// other goes on alone and cleans up.
func TestSoakKilledAtEachStepBesideAnother(t *testing.T) {
	whole := undisturbed(t, victim)
	eachTime(t, func(t *testing.T, at string) bool {
		s := newScene(t, victim)
		first := s.start([]string{"TINFRA_TEST_STOP=" + at}, "build")
		until(t, "the first build stands", func() bool { return first.stopped() || first.hasEnded() })
		if first.hasEnded() {
			first.well()
			return false
		}
		second := s.start(nil, "build", "--json")
		until(t, "the second build waits", func() bool {
			return second.hasEnded() || strings.Contains(second.said(), "which makes it")
		})
		waited := !second.hasEnded()
		first.kill()
		second.well()
		s.ranOnce(victimKinds...)
		if waited {
			second.cleaned()
		}
		s.start(nil, "build").well()
		s.same(whole)
		s.ranOnce(victimKinds...)
		return true
	})
}

// A build waits for a stage, and the one that makes it dies when it has published it and before it has cleaned up: the
// one that waited finds a hit, and cleans up.
func TestKilledAfterPublishingWhileAnotherWaits(t *testing.T) {
	for kill, recipe := range map[string]string{
		artifacts.StepKeys:       "stage \"make\" \"hello\" {\n  text = \"hello\"\n}\n",
		artifacts.StepWorkPinned: "stage \"pinned\" \"data\" {\n  source = \"file:data.txt\"\n}\n",
	} {
		t.Run(kill, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{"recipe.hcl": recipe, "data.txt": "some data\n"}
			whole := undisturbed(t, files)
			s := newScene(t, files)
			first := s.start([]string{"TINFRA_TEST_STOP=" + artifacts.StepRecords, "TINFRA_TEST_CRASH=" + kill}, "build")
			until(t, "the first build stands", first.stopped)
			second := s.start(nil, "build", "--json")
			until(t, "the second build waits", func() bool { return strings.Contains(second.said(), "which makes it") })
			must(t, first.Process.Signal(syscall.SIGCONT))
			if !first.killed() {
				t.Fatalf("the first build did not die: %v", first.ProcessState)
			}
			second.well()
			s.same(whole)
			if len(s.runs()) != 1 || s.runs()[s.published()[0]] != 1 {
				t.Errorf("the workers ran %v", s.runs())
			}
		})
	}
}

// cleaned fails for what a build should have cleaned up after one that died while it waited. It was done with a stage
// that it found in the cache: what the other still had in the workspace of that one is left to the build after it.
func (p *process) cleaned() {
	p.s.t.Helper()
	done := map[string]bool{} // keys
	for _, e := range p.events() {
		if e.Type == event.Finished && e.State == string(artifacts.Hit) && e.Reason != "another build made it" {
			done[strings.TrimPrefix(e.Key, "sha256:")] = true
			done[pinnedPlace] = done[pinnedPlace] || e.Kind == "pinned"
		}
	}
	left, err := leftovers(p.s.cache())
	must(p.s.t, err)
	work := filepath.Join(p.s.cache(), "work") + "/"
	for _, line := range left {
		rest, ok := strings.CutPrefix(strings.TrimPrefix(line, "left: "), work)
		key, _, _ := strings.Cut(rest, "/")
		if !ok || !done[key] && (!done[pinnedPlace] || p.s.isKey(key)) {
			p.s.t.Errorf("the build that waited did not clean up: %s", line)
		}
	}
}

// pinnedPlace stands for the place of a download before it was locked, which is no key.
const pinnedPlace = "pinned"

func (s *scene) isKey(hex string) bool {
	_, err := os.Lstat(filepath.Join(s.cache(), "keys", hex))
	return err == nil
}
