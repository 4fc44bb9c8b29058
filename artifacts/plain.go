package artifacts

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// plainText looks at a JSON text whether it is in the form of RFC 8785 already, as most are that encoding/json made of maps.
// It may not see that a text is; it never says so of one that is not.
type plainText struct {
	b     []byte
	at    int
	depth int
	nulls bool // one was there
	loose bool // a text was there that may not be in Unicode normal form C
}

// maxPlainDepth bounds the recursion. Deeper ones are for others.
const maxPlainDepth = 100

// isPlain says of a whole text that JCS would give it back as it is.
func isPlain(b []byte) bool {
	p := plainText{b: b}
	return p.value() && p.at == len(b)
}

func (p *plainText) has(c byte) bool {
	if p.at < len(p.b) && p.b[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *plainText) value() bool {
	if p.at >= len(p.b) {
		return false
	}
	switch c := p.b[p.at]; c {
	case '{', '[':
		if p.depth++; p.depth > maxPlainDepth {
			return false
		}
		p.at++
		ok := c == '{' && p.members() || c == '[' && p.elements()
		p.depth--
		return ok
	case '"':
		_, ok := p.text()
		return ok
	case 't':
		return p.word("true")
	case 'f':
		return p.word("false")
	case 'n':
		p.nulls = true
		return p.word("null")
	default:
		return p.number()
	}
}

func (p *plainText) word(w string) bool {
	if !bytes.HasPrefix(p.b[p.at:], []byte(w)) {
		return false
	}
	p.at += len(w)
	return true
}

// members must be sorted, and none there twice.
func (p *plainText) members() bool {
	if p.has('}') {
		return true
	}
	var last []byte
	for first := true; ; first = false {
		name, ok := p.text()
		if !ok || bytes.IndexByte(name, '\\') >= 0 || !plainOrder(name) || !first && bytes.Compare(last, name) >= 0 {
			return false
		}
		last = name
		if !p.has(':') || !p.value() {
			return false
		}
		if p.has('}') {
			return true
		}
		if !p.has(',') {
			return false
		}
	}
}

func (p *plainText) elements() bool {
	if p.has(']') {
		return true
	}
	for p.value() {
		if p.has(']') {
			return true
		}
		if !p.has(',') {
			return false
		}
	}
	return false
}

// text gives what stands between the quotes, in which only the escapes may stand that RFC 8785 wants.
func (p *plainText) text() ([]byte, bool) {
	if !p.has('"') {
		return nil, false
	}
	from, wide, escaped := p.at, false, false
	for p.at < len(p.b) {
		c := p.b[p.at]
		p.at++
		switch {
		case c == '"':
			s := p.b[from : p.at-1]
			if wide {
				p.loose = p.loose || escaped || !norm.NFC.IsNormal(s)
			}
			return s, !wide || utf8.Valid(s)
		case c == '\\':
			if escaped = true; !p.escape() {
				return nil, false
			}
		case c < ' ':
			return nil, false
		case c >= utf8.RuneSelf:
			wide = true
		}
	}
	return nil, false
}

func (p *plainText) escape() bool {
	if p.at >= len(p.b) {
		return false
	}
	letter := p.b[p.at]
	p.at++
	if letter != 'u' {
		return strings.IndexByte(`"\bfnrt`, letter) >= 0
	}
	rest := p.b[p.at:]
	if len(rest) < 4 || rest[0] != '0' || rest[1] != '0' || rest[2] > '1' || rest[2] < '0' {
		return false
	}
	digit := strings.IndexByte(lowerHex, rest[3])
	if digit < 0 || escapes[int(rest[2]-'0')<<4|digit] != 0 { // that one has a short form
		return false
	}
	p.at += 4
	return true
}

// safeDigits is how long an integer may be that is not beyond ±2^53 for sure.
const safeDigits = 15

func (p *plainText) number() bool {
	from := p.at
	whole := true
	for p.at < len(p.b) && strings.IndexByte("+-.0123456789eE", p.b[p.at]) >= 0 {
		whole = whole && p.b[p.at] != '.' && p.b[p.at]|0x20 != 'e'
		p.at++
	}
	s := p.b[from:p.at]
	if whole && len(s) > safeDigits {
		return false
	}
	v, err := strconv.ParseFloat(string(s), 64)
	var buffer [32]byte
	return err == nil && bytes.Equal(appendFloat(buffer[:0], v), s)
}
