package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/Ruihan11/tiny-infra/artifacts/disk"
	"github.com/Ruihan11/tiny-infra/pipeline/reading"
	"github.com/Ruihan11/tiny-infra/pipeline/run"
)

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = run.ErrInterrupted

// app is what every verb is given.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	cacheDir       string // --cache
	remote         string // --remote
	singleWriter   bool   // --single-writer
	closers        []func() error
	stores         map[string]*disk.Store // that are open, by folder
	reads          *reading.Log           // where a build takes down what it is made from; nil: nowhere

	ctx      context.Context // ended by the first signal
	killed   context.Context // ended by the second
	stop     func()
	watching sync.WaitGroup
	notice   atomic.Pointer[func(string)] // of the view that has the terminal; nil: none has
}

// say tells the person something at once, through the view that has the terminal where one has.
func (a *app) say(text string) {
	if notice := a.notice.Load(); notice != nil {
		(*notice)(text)
		return
	}
	fmt.Fprintln(a.stderr, "tinfra: "+text)
}

// interruptible gives the context of the verb. The first SIGINT, SIGTERM or SIGHUP ends it, so that stages are asked
// to stop; the second ends app.killed, so that they are made to.
func (a *app) interruptible() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	killed, kill := context.WithCancelCause(context.Background())
	a.ctx, a.killed = ctx, killed
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	quit := make(chan struct{})
	a.watching.Go(func() {
		for asked := false; ; {
			var s os.Signal
			select {
			case <-quit:
				return
			case s = <-signals:
			}
			switch {
			case s == syscall.SIGPIPE:
				// Where nobody reads what we say any more, each further line sends the signal again. A connection to a server
				// that went away sends it too, and is tried again by whoever wrote to it.
				if unread(1) || unread(2) {
					cancel(errInterrupted)
				}
			case !asked:
				asked = true
				a.say("stopping; once more kills what runs")
				cancel(errInterrupted)
			default:
				kill(errInterrupted)
			}
		}
	})
	a.stop = sync.OnceFunc(func() {
		signal.Stop(signals)
		close(quit)
		a.watching.Wait()
		cancel(nil)
		kill(nil)
	})
	return ctx
}

// unread tells that the other end of what a file descriptor writes to is closed: of a pipe, or a terminal.
func unread(fd int32) bool {
	fds := []unix.PollFd{{Fd: fd}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}

// close gives back what the verb opened, and signals to the system.
func (a *app) close() {
	for _, f := range a.closers {
		if err := f(); err != nil {
			fmt.Fprintln(a.stderr, "tinfra: closing the cache:", err)
		}
	}
	if a.stop != nil {
		a.stop()
	}
}
