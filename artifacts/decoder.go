package artifacts

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"time"
)

// decoder reads what encoder writes, in the same order. The first byte that is another makes it bad: then what is wrong, if
// anything, is for encoding/json to say. It checks no more than it needs to go on, since what was read is encoded again and
// compared.
type decoder struct {
	b   []byte
	at  int
	bad bool
}

// readPlain says that raw is what write makes of what read has read, without a doubt.
func readPlain(raw []byte, read func(*decoder), write func(*encoder)) bool {
	d := decoder{b: raw}
	if read(&d); d.bad || d.at != len(raw) {
		return false
	}
	e := encoder{b: make([]byte, 0, len(raw))}
	write(&e)
	return !e.odd && bytes.Equal(e.b, raw)
}

func (d *decoder) has(text string) bool {
	if d.bad || len(d.b)-d.at < len(text) || string(d.b[d.at:d.at+len(text)]) != text {
		return false
	}
	d.at += len(text)
	return true
}

func (d *decoder) want(text string) {
	if !d.has(text) {
		d.bad = true
	}
}

// more is false at the end of an object or a list, which it takes.
func (d *decoder) more(end string) bool {
	if d.bad || d.has(end) {
		return false
	}
	d.next()
	return !d.bad
}

func (d *decoder) next() {
	if last := d.b[d.at-1]; last != '{' && last != '[' {
		d.want(",")
	}
}

// optional takes the beginning of a member of that name, if it is the next one.
func (d *decoder) optional(name string) bool {
	from := d.at
	if !d.bad && d.at > 0 && d.b[d.at-1] != '{' && !d.has(",") {
		return false
	}
	if d.has(`"`) && d.has(name) && d.has(`":`) {
		return true
	}
	d.at = from
	return false
}

func (d *decoder) member(name string) {
	if !d.optional(name) {
		d.bad = true
	}
}

// quoted gives what stands between two quotes, if there is no escape in it.
func (d *decoder) quoted() []byte {
	d.want(`"`)
	if d.bad {
		return nil
	}
	n := bytes.IndexByte(d.b[d.at:], '"')
	if n < 0 || bytes.IndexByte(d.b[d.at:d.at+n], '\\') >= 0 {
		d.bad = true
		return nil
	}
	s := d.b[d.at : d.at+n]
	d.at += n + 1
	return s
}

func (d *decoder) text() string {
	from := d.at
	s := d.quoted()
	if d.bad && d.at == from+1 { // it was a text
		d.bad = false
		return d.escaped()
	}
	return string(s)
}

// escaped is text with escapes in it; at stands behind the first quote.
func (d *decoder) escaped() string {
	var s []byte
	for d.at < len(d.b) {
		c := d.b[d.at]
		d.at++
		switch {
		case c == '"':
			return string(s)
		case c == '\\':
			s = append(s, d.escape())
		default:
			s = append(s, c)
		}
	}
	d.bad = true
	return ""
}

// escape gives the character that an escape stands for; all that encoder writes are of one byte.
func (d *decoder) escape() byte {
	if d.at < len(d.b) {
		letter := d.b[d.at]
		d.at++
		for c, short := range escapes {
			if short == letter && short != 0 {
				return byte(c)
			}
		}
		if letter == 'u' && len(d.b)-d.at >= 4 {
			n, err := strconv.ParseUint(string(d.b[d.at:d.at+4]), 16, 8)
			d.at += 4
			d.bad = d.bad || err != nil
			return byte(n)
		}
	}
	d.bad = true
	return 0
}

func (d *decoder) texts() []string {
	var all []string
	for d.want("["); d.more("]"); {
		all = append(all, d.text())
	}
	return all
}

func (d *decoder) digest() Digest {
	var out Digest
	d.want(`"` + digestPrefix)
	if n := hex.EncodedLen(len(out)); !d.bad && len(d.b)-d.at > n {
		_, err := hex.Decode(out[:], d.b[d.at:d.at+n])
		d.at += n
		d.bad = err != nil
	}
	d.want(`"`)
	return out
}

func (d *decoder) optionalText(name string) string {
	if !d.optional(name) {
		return ""
	}
	return d.text()
}

func (d *decoder) optionalDigest(name string) Digest {
	if !d.optional(name) {
		return Digest{}
	}
	return d.digest()
}

func (d *decoder) number() string {
	from := d.at
	for d.at < len(d.b) && d.b[d.at] != ',' && d.b[d.at] != '}' {
		d.at++
	}
	return string(d.b[from:d.at])
}

func (d *decoder) integer() int64 {
	n, err := strconv.ParseInt(d.number(), 10, 64)
	d.bad = d.bad || err != nil
	return n
}

func (d *decoder) float() float64 {
	v, err := strconv.ParseFloat(d.number(), 64)
	d.bad = d.bad || err != nil
	return v
}

// plain is a value of any kind in the form of RFC 8785.
func (d *decoder) plain() []byte {
	p := plainText{b: d.b, at: d.at}
	if d.bad = d.bad || !p.value(); d.bad {
		return nil
	}
	from := d.at
	d.at = p.at
	return bytes.Clone(d.b[from:d.at])
}

func (d *decoder) time() time.Time {
	var t time.Time
	if s := d.quoted(); !d.bad {
		d.bad = t.UnmarshalText(s) != nil
	}
	return t
}

func decodeMap[V any](d *decoder, value func() V) map[string]V {
	m := map[string]V{}
	for d.want("{"); d.more("}"); {
		name := d.text()
		d.want(":")
		m[name] = value()
	}
	return m
}
