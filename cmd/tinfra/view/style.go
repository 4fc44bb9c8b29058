package view

import (
	"io"
	"os"

	"golang.org/x/term"

	"github.com/Ruihan11/tiny-infra/pipeline/event"
)

// Terminal says what a stream can show. Its zero value is a file or a pipe.
type Terminal struct {
	Is    bool
	Color bool
	fd    int
}

// TerminalOf looks at w. NO_COLOR (any value but the empty one) and TERM=dumb switch colours off.
func TerminalOf(w io.Writer) Terminal {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return Terminal{}
	}
	dumb := os.Getenv("TERM") == "dumb"
	return Terminal{Is: !dumb, Color: !dumb && os.Getenv("NO_COLOR") == "", fd: int(f.Fd())}
}

// Size is the terminal's size now; 80 by 24 where it will not say.
func (t Terminal) Size() (width, height int) {
	if !t.Is {
		return 80, 24
	}
	w, h, err := term.GetSize(t.fd)
	if err != nil || w <= 0 || h <= 0 {
		return 80, 24
	}
	return w, h
}

// style colours words, or leaves them alone.
type style bool

func (s style) paint(code, word string) string {
	if !s || word == "" {
		return word
	}
	return "\x1b[" + code + "m" + word + "\x1b[0m"
}

func (s style) good(w string) string   { return s.paint("32", w) }
func (s style) bad(w string) string    { return s.paint("31", w) }
func (s style) warn(w string) string   { return s.paint("33", w) }
func (s style) faint(w string) string  { return s.paint("2", w) }
func (s style) strong(w string) string { return s.paint("1", w) }

// state colours a word by what it means.
func (s style) state(word, state string) string {
	switch state {
	case "hit", "ran":
		return s.good(word)
	case "failed":
		return s.bad(word)
	case "blocked", event.Interrupted:
		return s.warn(word)
	default:
		return word
	}
}
