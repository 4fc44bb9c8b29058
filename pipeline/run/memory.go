package run

import (
	"fmt"
	"math"
)

// outOfMemory says of a worker that the kernel killed what it held, what its stage asks for, what there is, and what to
// do about it. asks and has are in GiB, 0 where nothing is said or known.
func outOfMemory(asks, has float64, e Exit) string {
	who := "the kernel killed it when its"
	if e.Code != killedCode {
		who = "its"
	}
	held := float64(e.MaxRSS) / (1 << 30)
	more := math.Ceil(held) + 1 // it did not get all that it wanted
	advice := fmt.Sprintf("say `needs { memory_gib = %g }` or more, so that nothing runs beside it that leaves it too little, or ask less of it", more)
	switch {
	case has > 0 && more > has:
		advice = "this machine is too small for it: ask less of it, or run it elsewhere"
	case asks >= more:
		advice = "others took the memory that it was granted: stages that use more than they ask for, or programs beside tinfra; build again with --jobs 1, or ask less of it"
	}
	return fmt.Sprintf("%s largest process held %s; %s; %s", who, gib(e.MaxRSS), asked(asks, has), advice)
}

// killedCode is how a process ends that a SIGKILL ended, and what a shell says of one that it ran.
const killedCode = 128 + 9

func asked(asks, has float64) string {
	text := "the stage does not say how much it needs"
	if asks > 0 {
		text = fmt.Sprintf("the stage asks for %g GiB", asks)
	}
	if has > 0 {
		text += fmt.Sprintf(", this machine has %g GiB", has)
	}
	return text
}

func gib(bytes int64) string {
	const mib = 1 << 20
	if bytes < 1<<30 {
		return fmt.Sprintf("%d MiB", (bytes+mib/2)/mib)
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}
