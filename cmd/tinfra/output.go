package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/Ruihan11/tiny-infra/cmd/tinfra/view"
)

// heeded remembers that something could not be written: a verb that prints many lines does not ask after each.
type heeded struct {
	io.Writer
	err error
}

func (h *heeded) Write(p []byte) (int, error) {
	n, err := h.Writer.Write(p)
	if err != nil && h.err == nil {
		h.err = err
	}
	return n, err
}

// heed lets no verb end well whose answer did not get out, on a full disk for one. told is its verdict on how the verb
// ended. Where the reader had enough, nothing more is said to anyone. A terminal stays what it is, since views ask for its
// width and colours.
func (a *app) heed() (told func(error) error) {
	if view.TerminalOf(a.stdout).Is {
		return func(err error) error { return err }
	}
	h := &heeded{Writer: a.stdout}
	a.stdout = h
	return func(err error) error {
		unread := errors.Is(h.err, syscall.EPIPE)
		switch {
		case unread && (err == nil || errors.Is(err, syscall.EPIPE) || errors.Is(err, errInterrupted)):
			return &failure{code: exitUnread, err: h.err, silent: true}
		case err == nil && h.err != nil:
			return fmt.Errorf("writing the answer: %w", h.err)
		}
		return err
	}
}

// writeJSON writes a result for programs, indented for the person who looks at it all the same.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return nil
}
