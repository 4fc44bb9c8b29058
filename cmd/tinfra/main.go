// Command tinfra builds model artifacts from recipes. It knows flags, exit codes and where things are: it calls the
// packages and hands what they say to view. It must not know how anything is decided, run or stored.
package main

import (
	"io"
	"os"
	"runtime"

	"github.com/Ruihan11/tiny-infra/pipeline/run/local"
)

// ballast is never touched, so it takes no memory; the collector counts it, and lets the heap of a verb that ends in milliseconds
// alone until it has as much.
var ballast = make([]byte, 32<<20)

func main() {
	code := tinfra(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	runtime.KeepAlive(ballast)
	os.Exit(code)
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
