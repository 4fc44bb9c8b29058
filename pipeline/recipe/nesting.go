package recipe

import (
	"bytes"
	"regexp"
	"unicode"
	"unicode/utf8"
)

// Limits on what reaches the parser. Parser and evaluator recurse once for each open bracket and for each operator of an
// expression; with both bounded a stack stays below a few tens of MiB whatever the file says.
const (
	maxNesting   = 256
	maxOperators = 8192
)

// Limits on a number: its digits, and those of its exponent.
const (
	maxDigits         = 1000
	maxExponentDigits = 3
)

var leadingNumber = regexp.MustCompile(`^[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?0*([0-9]*))?`)

// frame is one open bracket, string or heredoc; operators counts what the recursion may add inside it.
type frame struct {
	kind      byte // '{' '[' '(' of code, '$' of code where a newline ends nothing, '"' of a string, 'h' of a heredoc
	fresh     bool // nothing but space and comments was seen inside yet
	marker    []byte
	operators int
}

// nesting walks the text once, far more simply than the lexer: it only has to know code from strings and comments.
type nesting struct {
	src   []byte
	pos   int
	stack []frame
	total int // operators of all open frames
	huge  int // where the first number stands that is too long or too large; -1 for none
}

func newNesting(src []byte) *nesting {
	return &nesting{src: src, stack: []frame{{kind: '{'}}, huge: -1}
}

func (n *nesting) step() {
	if k := n.top().kind; k == '"' || k == 'h' {
		n.template()
	} else {
		n.code()
	}
}

// limits reports the offset at which the text is nested too deeply, else that of a number which the evaluator would take minutes and
// gigabytes to write down; -1 for none.
func limits(src []byte) (deep, huge int) {
	n := newNesting(src)
	for n.pos < len(src) {
		n.step()
		if len(n.stack) > maxNesting || n.total > maxOperators {
			return min(n.pos, len(src)-1), -1
		}
	}
	return -1, n.huge
}

func (n *nesting) top() *frame { return &n.stack[len(n.stack)-1] }

func (n *nesting) push(f frame) { n.stack = append(n.stack, f) }

func (n *nesting) pop() {
	if len(n.stack) > 1 {
		n.total -= n.top().operators
		n.stack = n.stack[:len(n.stack)-1]
	}
}

// shut ignores a bracket that closes nothing of its kind: counting too much only refuses broken text earlier.
func (n *nesting) shut(c byte) {
	switch k := n.top().kind; {
	case c == ')' && k == '(', c == ']' && k == '[', c == '}' && (k == '{' || k == '$'):
		n.pop()
	}
}

func (n *nesting) operator() {
	n.top().operators++
	n.total++
}

// separate ends an expression of the innermost frame: what follows does not nest in what came before.
func (n *nesting) separate() {
	n.total -= n.top().operators
	n.top().operators = 0
}

func (n *nesting) code() {
	rest := n.src[n.pos:]
	c := rest[0]
	n.pos++
	if f := n.top(); f.fresh && !bytes.ContainsRune([]byte(" \t\r\n#/"), rune(c)) {
		f.fresh = false
		if f.kind == '{' && bytes.HasPrefix(rest, []byte("for")) {
			f.kind = '$'
		}
	}
	switch c {
	case '#':
		n.skipLine()
	case '/':
		switch {
		case bytes.HasPrefix(rest, []byte("//")):
			n.skipLine()
		case bytes.HasPrefix(rest, []byte("/*")):
			if end := bytes.Index(rest[2:], []byte("*/")); end >= 0 {
				n.pos += end + 3
			} else {
				n.pos = len(n.src)
			}
		default:
			n.operator()
		}
	case '(', '[', '{':
		n.operator()
		n.push(frame{kind: c, fresh: true})
	case ')', ']', '}':
		n.shut(c)
	case '"':
		n.push(frame{kind: '"'})
	case ',':
		n.separate()
	case '\n':
		if n.top().kind == '{' {
			n.separate()
		}
	case '<':
		n.operator()
		n.heredoc(rest)
	case '!', '-', '+', '*', '%', '>', '=', '&', '|', '?', '.':
		n.operator()
	default:
		n.word(rest)
	}
}

// word passes over a name or a number.
func (n *nesting) word(rest []byte) {
	length := wordLength(rest)
	if length == 0 {
		return
	}
	if rest[0] < '0' || rest[0] > '9' {
		n.pos += length - 1
		return
	}
	number := leadingNumber.FindSubmatch(rest)
	n.pos += len(number[0]) - 1
	if n.huge < 0 && (len(number[0]) > maxDigits || len(number[1]) > maxExponentDigits) {
		n.huge = n.pos - len(number[0])
	}
}

// wordLength is how many bytes of letters, digits and underscores b begins with. Most of a recipe is words: a regular expression
// took as long over them as the lexer.
func wordLength(b []byte) int {
	n := 0
	for n < len(b) {
		r, size := rune(b[n]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(b[n:])
		}
		if r != '_' && (r < '0' || r > '9') && !unicode.IsLetter(r) {
			return n
		}
		n += size
	}
	return n
}

func (n *nesting) skipLine() {
	if end := bytes.IndexByte(n.src[n.pos:], '\n'); end >= 0 {
		n.pos += end // the newline itself still ends the expression
	} else {
		n.pos = len(n.src)
	}
}

func (n *nesting) heredoc(rest []byte) {
	if !bytes.HasPrefix(rest, []byte("<<")) {
		return
	}
	line, _, found := bytes.Cut(rest, []byte("\n"))
	marker := bytes.TrimSpace(bytes.TrimPrefix(line[2:], []byte("-")))
	if !found || len(marker) == 0 || bytes.ContainsAny(marker, " \t\"({[") {
		return
	}
	n.pos += len(line)
	n.push(frame{kind: 'h', marker: marker})
}

func (n *nesting) template() {
	rest := n.src[n.pos:]
	f := n.top()
	switch {
	case bytes.HasPrefix(rest, []byte("$${")), bytes.HasPrefix(rest, []byte("%%{")):
		n.pos += 3
	case bytes.HasPrefix(rest, []byte("${")):
		n.pos += 2
		n.push(frame{kind: '$'})
	case bytes.HasPrefix(rest, []byte("%{")):
		n.pos += 2
		n.operator() // an if or for may stay open behind its braces
		n.push(frame{kind: '$'})
	case f.kind == '"' && rest[0] == '\\':
		n.pos += 2
	case f.kind == '"' && (rest[0] == '"' || rest[0] == '\n'):
		n.pos++
		n.pop()
	case f.kind == 'h' && rest[0] == '\n':
		n.pos++
		line, _, _ := bytes.Cut(n.src[n.pos:], []byte("\n"))
		if bytes.Equal(bytes.TrimSpace(line), f.marker) {
			n.pos += len(line)
			n.pop()
		}
	default:
		n.pos++
	}
}
