package run_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/Ruihan11/tiny-infra/artifacts"
	"github.com/Ruihan11/tiny-infra/pipeline/event"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

const goneReason = "its files are gone from the shared cache"

func TestWhatIsLostIsMadeAgainInTheSameBuild(t *testing.T) {
	dir := t.TempDir()
	before := `
stage "first" "a" {}
stage "next" "b" { text = first.a.files }
`
	b, d, far := joined(t, dir, passing(dir), before, before+`stage "third" "c" { text = next.b.files }`)
	s := &sharer{cache: b.cache}
	b.options.Share = s
	got := b.ok()
	b.states(map[string]artifacts.State{"first.a": "ran", "next.b": "ran", "third.c": "ran"}, got)
	if b.ran() != "first next third" {
		t.Errorf("ran %q", b.ran())
	}
	for _, address := range []string{"first.a", "next.b"} {
		if got[address].Reason != goneReason || got[address].Key != far[address].Key || got[address].Record == far[address].Record {
			t.Errorf("%s is %+v", address, got[address])
		}
		if states := b.told(address); !slices.Equal(states, []string{"hit", "ran"}) {
			t.Errorf("%s was told to be %q", address, states)
		}
		if !slices.Contains(s.called(), "record "+got[address].Record.Short()) {
			t.Errorf("%s was not shared: %q", address, s.called())
		}
	}
	if want := []artifacts.Key{got["next.b"].Key, got["first.a"].Key}; !slices.Equal(d.asks, want) {
		t.Errorf("forgot %v, want %v", d.asks, want)
	}
	events, _ := b.seen.all()
	if !slices.ContainsFunc(events, func(e event.Event) bool {
		return e.Type == event.Planned && e.Stage == "first.a" && e.State == "run" && e.Reason == goneReason
	}) || !slices.ContainsFunc(events, func(e event.Event) bool {
		return e.Type == event.Problem && e.Stage == "first.a" && e.Level == "warning" && strings.HasPrefix(e.Message, goneReason)
	}) {
		t.Errorf("it was not told: %s", b.seen.text())
	}
	b.states(map[string]artifacts.State{"first.a": "hit", "next.b": "hit", "third.c": "hit"}, b.ok())
}

// Of other bytes than were promised, all that was settled by these is settled again, hits too; what comes out the same is not told twice.
func TestWhatIsMadeAgainHasOtherBytes(t *testing.T) {
	dir := t.TempDir()
	before := `
stage "dice" "a" {}
stage "next" "b" { text = dice.a.files }
stage "third" "c" { text = next.b.files }
stage "same" "d" { text = dice.a.files }
stage "third" "e" { text = same.d.files }
`
	b, _, far := joined(t, dir, passing(dir), before, before+`stage "third" "f" { text = dice.a.files }`)
	got := b.ok()
	b.states(map[string]artifacts.State{"dice.a": "ran", "next.b": "ran", "third.c": "ran", "same.d": "ran", "third.e": "hit", "third.f": "ran"}, got)
	for _, pair := range [][2]string{{"next.b", "dice.a"}, {"third.c", "next.b"}, {"same.d", "dice.a"}, {"third.e", "same.d"}, {"third.f", "dice.a"}} {
		if !b.standsOn(got, pair[0], "text", pair[1], "files") {
			t.Errorf("%s is not made of what %s has made", pair[0], pair[1])
		}
	}
	if e := got["third.e"]; e.Record != far["third.e"].Record || e.Reason != "in the cache" || e.Log != far["third.e"].Log {
		t.Errorf("nothing has changed for third.e: %+v, was %+v", e, far["third.e"])
	}
	if states := b.told("third.e"); !slices.Equal(states, []string{"hit"}) {
		t.Errorf("third.e was told to be %q", states)
	}
	if d := b.record(got["dice.a"]).Observed["diverged_from"]; d != far["dice.a"].Record.String() {
		t.Errorf("diverged from %q", d)
	}
	again := b.ok()
	for address, step := range again {
		if step.State != artifacts.Hit || step.Record != got[address].Record {
			t.Errorf("%s is %+v in the next build", address, step)
		}
	}
}

// An earlier result that nobody has cannot stay, so what a kind promises is no reason to fail. It is said, and written down.
func TestAnExactKindMakesOtherBytesThanWereLost(t *testing.T) {
	dir := t.TempDir()
	ks := passing(dir)
	ks["liar"] = kind{"", "cat /proc/sys/kernel/random/uuid > out/files/x\n" + done}
	before := `stage "liar" "a" {}
`
	b, _, far := joined(t, dir, ks, before, before+`stage "third" "b" { text = liar.a.files }`)
	got := b.ok()
	b.states(map[string]artifacts.State{"liar.a": "ran", "third.b": "ran"}, got)
	if d := b.record(got["liar.a"]).Observed["diverged_from"]; d != far["liar.a"].Record.String() {
		t.Errorf("diverged from %q", d)
	}
	if !strings.Contains(b.seen.text(), "kind liar is declared exact, but this run made other bytes than record "+far["liar.a"].Record.Short()) {
		t.Errorf("it was not said: %s", b.seen.text())
	}
}

// A stage that runs while another port of its producer turns out to be lost is run again if that one has other bytes by then.
func TestWhatRanMeanwhileIsSettledAgain(t *testing.T) {
	dir := t.TempDir()
	before := `stage "dice" "a" {}
`
	b, d, _ := joined(t, dir, passing(dir), before, before+`
stage "held" "b" { text = dice.a.files }
stage "third" "c" { text = dice.a.other }
stage "next" "e" { text = held.b.files }
`)
	if err := syscall.Mkfifo(b.path("gate"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.lost = func(m *artifacts.Manifest) bool {
		if m.Files[0].Path == "y" { // not before the other one runs
			eventually(t, "the other one's run", func() bool { return strings.Contains(b.read("ran"), "held") })
		}
		return m.Files[0].Path == "y"
	}
	var opened sync.WaitGroup
	opened.Go(func() {
		err := b.seen.await(t.Context(), func(e event.Event) bool { return e.Type == event.Finished && e.Stage == "dice.a" && e.State == "ran" })
		if err != nil {
			t.Error(err)
		}
		b.write("gate", "go\n")
	})
	got := b.ok()
	opened.Wait()
	if b.ran() != "held dice third held next" && b.ran() != "held dice held third next" {
		t.Errorf("ran %q", b.ran())
	}
	if !b.standsOn(got, "held.b", "text", "dice.a", "files") || !b.standsOn(got, "third.c", "text", "dice.a", "other") || !b.standsOn(got, "next.e", "text", "held.b", "files") {
		t.Errorf("not all is of one run: %+v", got)
	}
	if states := b.told("held.b"); !slices.Equal(states, []string{"ran"}) {
		t.Errorf("held.b was told to be %q", states)
	}
	b.states(map[string]artifacts.State{"dice.a": "hit", "held.b": "hit", "third.c": "hit", "next.e": "hit"}, b.ok())
}

func TestEqualStagesThatAreLostRunOnce(t *testing.T) {
	dir := t.TempDir()
	before := `
stage "dice" "a" {}
stage "dice" "b" {}
stage "next" "c" { text = dice.b.files }
`
	b, d, _ := joined(t, dir, passing(dir), before, before+`
stage "third" "d" { text = dice.a.files }
stage "third" "e" { text = dice.b.files }
stage "next" "f" { text = dice.a.files }
`)
	got := b.ok()
	b.states(map[string]artifacts.State{"dice.a": "ran", "dice.b": "hit", "next.c": "ran", "third.d": "ran", "third.e": "hit", "next.f": "hit"}, got)
	words := strings.Fields(b.ran())
	slices.Sort(words)
	if strings.Join(words, " ") != "dice next third" || len(d.asks) != 1 {
		t.Errorf("ran %q, forgot %d", b.ran(), len(d.asks))
	}
	for _, user := range []string{"next.c", "third.d", "third.e", "next.f"} {
		if !b.standsOn(got, user, "text", "dice.a", "files") {
			t.Errorf("%s is not made of what ran", user)
		}
	}
}

func TestRunsOfWhatIsLostAreCounted(t *testing.T) {
	dir := t.TempDir()
	before := `
stage "dice" "a" {}
stage "next" "b" { text = dice.a.files }
`
	b, _, _ := joined(t, dir, passing(dir), before, before+`stage "third" "c" { text = dice.a.files }`)
	most := 1
	b.options.MaxRuns = &most
	got := b.fails(run.ExitCache, "they are not there any more", "dice.a would have to run again, and --max-runs 1 allows no more")
	b.states(map[string]artifacts.State{"dice.a": "hit", "next.b": "hit", "third.c": "failed"}, got)
	if b.ran() != "" {
		t.Errorf("ran %q", b.ran())
	}
	most = 2
	b, _, far := joined(t, dir, passing(dir), before, before+`stage "third" "c" { text = dice.a.files }`)
	b.options.MaxRuns, b.options.Jobs = &most, 1
	got = b.fails(run.ExitCache, "next.b: it must run again (", "--max-runs 2 allows no more")
	if got["dice.a"].State != artifacts.Ran || got["dice.a"].Record == far["dice.a"].Record || strings.Contains(b.ran(), "next") {
		t.Errorf("ran %q: %+v", b.ran(), got)
	}
}

func TestWhatIsMadeAgainMayFail(t *testing.T) {
	dir := t.TempDir()
	before := `
stage "first" "a" {}
stage "bad" "b" { text = first.a.files }
stage "next" "c" { text = bad.b.files }
`
	b, _, _ := joined(t, dir, passing(dir), before, before+`
stage "third" "d" { text = bad.b.files }
stage "third" "e" { text = first.a.files }
`)
	b.write("broken", "")
	b.options.KeepGoing = true
	got := b.fails(run.ExitStage, "bad.b: the worker crashed")
	b.states(map[string]artifacts.State{"first.a": "ran", "bad.b": "failed", "next.c": "hit", "third.d": "blocked", "third.e": "ran"}, got)
	if got["third.d"].Reason != "bad.b failed" || !got["bad.b"].Record.IsZero() {
		t.Errorf("they are %+v", got)
	}
}

// A requirement that was met by the promised result is asked of the one that is made.
func TestRequirementsAreAskedOfWhatIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	before := `
stage "dice" "a" {}
stage "first" "g" {
  require {
    condition = dice.a.metrics.score < 5
    message   = "too high"
  }
}
`
	if err := os.WriteFile(filepath.Join(dir, "low"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b, _, _ := joined(t, dir, passing(dir), before, before+`stage "third" "c" { text = dice.a.files }`)
	if err := os.Remove(b.path("low")); err != nil {
		t.Fatal(err)
	}
	got := b.fails(run.ExitRequire, "too high")
	b.states(map[string]artifacts.State{"dice.a": "ran", "first.g": "failed"}, got)
	if states := b.told("first.g"); !slices.Equal(states, []string{"hit", "failed"}) {
		t.Errorf("first.g was told to be %q", states)
	}
}

func TestWhatIsLostForEverIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	before := `stage "first" "a" {}
`
	b, d, _ := joined(t, dir, passing(dir), before, before+`stage "third" "b" { text = first.a.files }`)
	b.options.Layer = forgetful{d}
	got := b.fails(run.ExitCache, "they are not there any more", "`tinfra build --force first.a` makes them again")
	b.states(map[string]artifacts.State{"first.a": "ran", "third.b": "failed"}, got)
	if b.ran() != "first" {
		t.Errorf("ran %q", b.ran())
	}
}

// Of two machines' results the second is as good; where that one is lost too, the stage runs.
func TestTheSecondMachinesResultIsLostToo(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprint(lost), func(t *testing.T) {
			dir := t.TempDir()
			before := `stage "dice" "a" {}
`
			b, first, _ := joined(t, dir, passing(dir), before, before+`stage "next" "b" { text = dice.a.files }`)
			far := newBench(t, passing(dir), before)
			theirs := far.ok()["dice.a"]
			b.write("ran", "")
			second := &distant{finder: finder{far.cache, first.here}, layer: first.layer, gone: map[artifacts.Key]artifacts.Digest{}}
			second.lost = func(*artifacts.Manifest) bool { return lost }
			b.cache = first.here.Beside(another{first, second})
			b.options.Cache = b.cache
			b.options.Forget = func(k artifacts.Key) {
				if first.forgotten(k) {
					second.Forget(k)
				} else {
					first.Forget(k)
				}
			}
			b.options.Layer = bothLayers{first, second}
			got := b.ok()
			b.states(map[string]artifacts.State{"dice.a": map[bool]artifacts.State{false: "hit", true: "ran"}[lost], "next.b": "ran"}, got)
			if ran := map[bool]string{false: "next", true: "dice next"}[lost]; b.ran() != ran {
				t.Errorf("ran %q, want %q", b.ran(), ran)
			}
			if !lost && got["dice.a"].Record != theirs.Record || !b.standsOn(got, "next.b", "text", "dice.a", "files") {
				t.Errorf("made %+v, the second machine %+v", got, theirs)
			}
		})
	}
}

// A build that dies while it makes again what was lost leaves its worker to the next one, for which the stage is a hit at first.
func TestKilledWhileItIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	ks := passing(dir)
	ks["slow"] = slow(dir)
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := `stage "slow" "a" {}
`
	b, _, _ := joined(t, dir, ks, before, before)
	if err := os.Remove(b.path("go")); err != nil {
		t.Fatal(err)
	}
	b.orphan()
	b.recipe += `stage "third" "b" { text = slow.a.files }`
	b.options.Executor = watched{b.options.Executor, func() { b.write("go", "") }}
	got := b.ok()
	b.states(map[string]artifacts.State{"slow.a": "ran", "third.b": "ran"}, got)
	if b.ran() != "ran third" || b.record(got["slow.a"]).Observed["reattached"] != "true" {
		t.Errorf("ran %q, observed %v", b.ran(), b.record(got["slow.a"]).Observed)
	}
}

// Where its files are there, nobody needs what the dead build has left.
func TestWhatAKilledBuildLeftOfAHitIsRemoved(t *testing.T) {
	dir := t.TempDir()
	ks := kinds{"slow": slow(dir)}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	text := `stage "slow" "a" {}`
	b, _, _ := joined(t, dir, ks, text, text)
	if err := os.Remove(b.path("go")); err != nil {
		t.Fatal(err)
	}
	b.orphan()
	b.states(map[string]artifacts.State{"slow.a": "hit"}, b.ok()) // which leaves no workspace
}

func TestInterruptedWhileItIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	before := `stage "first" "a" {}
`
	b, _, _ := joined(t, dir, passing(dir), before, before+`stage "next" "b" { text = first.a.files }`)
	ctx, cancel := context.WithCancelCause(t.Context())
	forget := b.options.Forget
	b.options.Forget = func(k artifacts.Key) { forget(k); cancel(run.ErrInterrupted) }
	made, err := b.build(ctx)
	if made.Exit != run.ExitInterrupted || !errors.Is(err, run.ErrInterrupted) {
		t.Errorf("ended with %v, exit %d", err, made.Exit)
	}
	b.states(map[string]artifacts.State{"first.a": "blocked", "next.b": "blocked"}, steps(made))
	b.options.Forget = forget
	b.states(map[string]artifacts.State{"first.a": "ran", "next.b": "ran"}, b.ok())
}

func TestWhatIsLostNeedsALargerMachine(t *testing.T) {
	dir := t.TempDir()
	ks := passing(dir)
	ks["large"] = kind{"needs {\n memory_gib = 64 \n}\n", hello}
	before := `stage "large" "a" {}
`
	far := newBench(t, ks, before)
	far.facts["memory_gib"] = "128"
	made := far.ok()
	b := benchAt(t, dir, ks, before+`stage "next" "b" { text = large.a.files }`)
	d := &distant{finder: finder{far.cache, b.cache}, layer: b.options.Layer, lost: all, gone: map[artifacts.Key]artifacts.Digest{}}
	b.cache = b.cache.Beside(d)
	b.options.Cache, b.options.Layer, b.options.Forget = b.cache, d, d.Forget
	got := b.fails(run.ExitCache, "they are not there any more", "large.a needs 64 GiB of memory, this machine has 8")
	if got["large.a"].State != artifacts.Hit || got["large.a"].Record != made["large.a"].Record {
		t.Errorf("the hit is %+v", got["large.a"])
	}
}
