package artifacts

import (
	"encoding/hex"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// encoder writes an object by RFC 8785 in one go, where whoever calls it gives the members in their order. It vouches for
// what is common only: all else makes it odd, and the text is then made from what encoding/json says, which is slow and
// knows every case.
type encoder struct {
	b   []byte
	odd bool
}

// next begins a member or an element. Only what was just opened ends in a bracket: strings end in a quote.
func (e *encoder) next() {
	if last := e.b[len(e.b)-1]; last != '{' && last != '[' {
		e.b = append(e.b, ',')
	}
}

func (e *encoder) open(bracket byte)  { e.b = append(e.b, bracket) }
func (e *encoder) close(bracket byte) { e.b = append(e.b, bracket) }

// member begins one whose name needs no escape.
func (e *encoder) member(name string) {
	e.next()
	e.b = append(append(append(e.b, '"'), name...), `":`...)
}

const lowerHex = "0123456789abcdef"

// escapes are the letters of the short ones.
var escapes = [utf8.RuneSelf]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

func (e *encoder) text(s string) {
	e.b = append(e.b, '"')
	from, wide := 0, false
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			wide = true
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		e.b = append(e.b, s[from:i]...)
		from = i + 1
		if short := escapes[c]; short != 0 {
			e.b = append(e.b, '\\', short)
		} else {
			e.b = append(e.b, '\\', 'u', '0', '0', lowerHex[c>>4], lowerHex[c&15])
		}
	}
	e.b = append(append(e.b, s[from:]...), '"')
	if wide && !utf8.ValidString(s) {
		e.odd = true // encoding/json puts a mark in place of each such byte
	}
}

func (e *encoder) texts(all []string) {
	e.open('[')
	for _, s := range all {
		e.next()
		e.text(s)
	}
	e.close(']')
}

func (e *encoder) digest(d Digest) {
	e.b = append(e.b, `"`+digestPrefix...)
	e.b = append(hex.AppendEncode(e.b, d[:]), '"')
}

// optionalText and optionalDigest leave out what is empty.
func (e *encoder) optionalText(name, s string) {
	if s != "" {
		e.member(name)
		e.text(s)
	}
}

func (e *encoder) optionalDigest(name string, d Digest) {
	if !d.IsZero() {
		e.member(name)
		e.digest(d)
	}
}

func (e *encoder) integer(n int64) {
	if n > maxInteger || n < -maxInteger {
		e.odd = true
	}
	e.b = strconv.AppendInt(e.b, n, 10)
}

func (e *encoder) float(v float64) { e.b = appendFloat(e.b, v) }

// appendFloat is what ECMAScript makes of a finite number.
func appendFloat(b []byte, v float64) []byte {
	size := math.Abs(v)
	switch {
	case v == 0: // -0 too
		return append(b, '0')
	case size >= 1e-6 && size < 1e21:
		return strconv.AppendFloat(b, v, 'f', -1, 64)
	}
	b = strconv.AppendFloat(b, v, 'e', -1, 64)
	if n := len(b); b[n-2] == '0' && (b[n-3] == '-' || b[n-3] == '+') { // e-07 is e-7
		b[n-2] = b[n-1]
		b = b[:n-1]
	}
	return b
}

func (e *encoder) time(t time.Time) {
	b, err := stored(t).AppendText(append(e.b, '"'))
	if err != nil {
		e.odd = true
		return
	}
	e.b = append(b, '"')
}

// sortsByUnits is below the first byte of all characters whose order by UTF-8 is another than by UTF-16, which RFC 8785 wants.
const sortsByUnits = 0xee

func plainOrder[S string | []byte](name S) bool {
	for i := range len(name) {
		if name[i] >= sortsByUnits {
			return false
		}
	}
	return true
}

func encodeMap[V any](e *encoder, m map[string]V, value func(V)) {
	e.open('{')
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !plainOrder(name) {
			e.odd = true
		}
		e.next()
		e.text(name)
		e.b = append(e.b, ':')
		value(m[name])
	}
	e.close('}')
}
