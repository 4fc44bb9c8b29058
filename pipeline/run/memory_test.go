package run

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/Ruihan11/tiny-infra/pipeline/recipe"
	"github.com/Ruihan11/tiny-infra/stages"
	"github.com/Ruihan11/tiny-infra/stages/protocol"
)

func TestAWorkerThatRanOutOfMemorySaysWhatItNeeded(t *testing.T) {
	shot := Exit{Code: 137, Signal: "SIGKILL", OOMKilled: true, MaxRSS: 5<<30 + 800<<20}
	with := func(change func(*Exit)) Exit { e := shot; change(&e); return e }
	said := []protocol.Event{{Type: protocol.Problem, Message: "no room for the batch", Hint: "say batch = 1"}}
	for name, c := range map[string]struct {
		asks, has float64
		exit      Exit
		problems  []protocol.Event
		says      string
	}{
		"asked for too little": {4, 23.4, shot, nil, "it ran out of memory: the kernel killed it when its largest process held 5.8 GiB; the stage asks for 4 GiB, " +
			"this machine has 23.4 GiB; say `needs { memory_gib = 7 }` or more, so that nothing runs beside it that leaves it too little, or ask less of it"},
		"asked for nothing": {0, 23.4, shot, nil, "5.8 GiB; the stage does not say how much it needs, this machine has 23.4 GiB; say `needs { memory_gib = 7 }`"},
		"got what it asked": {8, 23.4, shot, nil, "the stage asks for 8 GiB, this machine has 23.4 GiB; others took the memory"},
		"a small machine":   {4, 6, shot, nil, "this machine has 6 GiB; this machine is too small for it"},
		"unknown machine":   {4, 0, shot, nil, "the stage asks for 4 GiB; say `needs { memory_gib = 7 }`"},
		"a child was hit": {4, 23.4, with(func(e *Exit) { e.Code, e.Signal = 1, "" }), nil,
			"the worker crashed with exit code 1; while it ran, the kernel killed a process for memory, perhaps one of its own: its largest process held 5.8 GiB"},
		"a crash beside": {4, 23.4, with(func(e *Exit) { e.Code, e.Signal = 139, "SIGSEGV" }), said,
			"the worker was ended by SIGSEGV: no room for the batch (say batch = 1); while it ran, the kernel killed a process for memory"},
		"a shell between": {4, 23.4, with(func(e *Exit) { e.Signal = "" }), nil, "the kernel killed it when"},
		"small":           {0, 23.4, with(func(e *Exit) { e.MaxRSS = 100 << 20 }), nil, "held 100 MiB"},
		"its own word":    {4, 23.4, with(func(e *Exit) { e.Code = protocol.ExitMachine }), nil, "this machine is not what its facts say"},
		"another attempt": {4, 23.4, with(func(e *Exit) { e.Code = protocol.ExitTransient }), nil, "a passing trouble"},
		"it noticed itself": {4, 23.4, Exit{Code: protocol.ExitResources, MaxRSS: 3 << 30}, said,
			"it ran out of memory or disk: no room for the batch (say batch = 1); its largest process held 3.0 GiB, the stage asks for 4 GiB, this machine has 23.4 GiB"},
		"killed by others": {4, 23.4, with(func(e *Exit) { e.OOMKilled = false }), nil, "the worker was ended by SIGKILL"},
	} {
		st := &recipe.Stage{Needs: stages.Needs{MemoryGiB: c.asks}}
		err := judge(st, capacity{memoryGiB: c.has}, c.exit, c.problems)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: it says\n%v\nand not\n%s", name, err, c.says)
		}
	}
}

// TestAWorkerThatRanOutOfDiskSaysWhatIsLeft cannot tell how much that is; a story has a disk that is full.
func TestAWorkerThatRanOutOfDiskSaysWhatIsLeft(t *testing.T) {
	failed := errors.New("it ran out of memory or disk")
	for name, c := range map[string]struct {
		exit  Exit
		tells bool
	}{
		"its own word":      {Exit{Code: protocol.ExitResources}, true},
		"killed for memory": {Exit{Code: protocol.ExitResources, OOMKilled: true}, false},
		"a crash":           {Exit{Code: 1}, false},
	} {
		err := crowded(t.TempDir(), c.exit, failed)
		if !errors.Is(err, failed) || regexp.MustCompile(`; its disk has [0-9.]+ [GM]iB left$`).MatchString(err.Error()) != c.tells {
			t.Errorf("%s: %v", name, err)
		}
	}
}
