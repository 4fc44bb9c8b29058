package main

import (
	"fmt"
	"time"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
)

// passingLine is a line on a terminal that is written over until it ends; without a terminal nothing is said.
type passingLine struct {
	app  *app
	last time.Time
}

// passingEvery is how often it changes.
const passingEvery = 100 * time.Millisecond

func (a *app) passing() *passingLine { return &passingLine{app: a} }

func (p *passingLine) say(text string) {
	if now := time.Now(); view.TerminalOf(p.app.stderr).Is && now.Sub(p.last) >= passingEvery {
		p.last = now
		fmt.Fprintf(p.app.stderr, "\r%s\x1b[K", text)
	}
}

func (p *passingLine) end() {
	if !p.last.IsZero() {
		fmt.Fprint(p.app.stderr, "\r\x1b[K")
	}
}
