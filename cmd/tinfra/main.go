// Command tinfra builds model artifacts from recipes. It knows flags, exit codes and where things are: it calls the
// packages and hands what they say to view. It must not know how anything is decided, run or stored.
package main

import (
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"github.com/Ruihan11/tiny-infra/pipeline/run/local"
)

func main() {
	wasteFirst()
	os.Exit(tinfra(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// leeway is how much the heap may grow before the collector is to look at it.
const leeway = 32 << 20

// ballast is never touched, so it takes no memory; the collector counts it, and lets the heap grow by as much more.
var ballast atomic.Pointer[[leeway]byte]

// wasteFirst keeps the collector away from a verb that ends in milliseconds. The ballast alone would not: so large a thing cannot
// be made without a collection, which takes a fifth of the time that such a verb has. So it comes after the first one.
func wasteFirst() {
	const least = 4 << 20 // of a heap that is collected, as the runtime has it for 100 percent
	usual := debug.SetGCPercent(100 * leeway / least)
	if usual != 100 { // somebody has set GOGC
		debug.SetGCPercent(usual)
		return
	}
	runtime.AddCleanup(new([16]byte), func(usual int) { // called after the first collection
		ballast.Store(new([leeway]byte))
		debug.SetGCPercent(usual)
	}, usual)
}

// tinfra is main with its surroundings given; it returns the exit code.
func tinfra(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 2 && args[0] == local.Verb {
		// A supervisor handles signals by itself and must be the whole process, so it is no verb like the others.
		return local.Supervise(args[1])
	}
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	defer a.close()
	told := a.heed()
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(a.stdout)
	root.SetErr(stderr)
	verb, err := root.ExecuteContextC(a.interruptible())
	if err = told(err); err == nil {
		return exitOK
	}
	return a.report(verb, err)
}
